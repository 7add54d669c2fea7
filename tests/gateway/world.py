"""A gateway on a journal in memory or in PostgreSQL, over real HTTP, in front of a simulated provider."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from tests.gateway.upstream import Provider, provider

from penstock.adapters.memory import MemoryJournal
from penstock.adapters.prices import PriceList
from penstock.events import BudgetRecord, Event, decode
from penstock.integrations.gateway.config import GatewayConfig, ModelConfig, UpstreamConfig
from penstock.integrations.gateway.gateway import Gateway
from penstock.integrations.gateway.targets import Targets
from penstock.kernel.clock import SystemClock
from penstock.ports.gateway import KeyBinding
from penstock.ports.journal import Journal
from penstock.ports.model import Price
from penstock.ports.records import RunFilter, RunRow, Status
from penstock.runs.client import Penstock
from penstock.server.access.doorkeeper import Doorkeeper
from penstock.server.access.keys import make_key
from penstock.server.gateway.app import GatewayApp
from penstock.server.gateway.serving import GatewayServing
from penstock.settings import Settings
from penstock.wiring import assemble

TENANT = "default"
PRICES = {
    "openai:gpt-4o-mini": Price(150.0, 600.0),
    "openai:gpt-4o": Price(2500.0, 10_000.0),
    "openai:embed": Price(20.0, 0.0),
    "anthropic:claude-haiku": Price(1000.0, 5000.0, 100.0, 1250.0),
}


@dataclass
class World:
    """Attributes: ``url``, the gateway's; ``key``, one of an agent ``support`` of the customer ``acme``."""

    platform: Penstock
    gateway: Gateway
    provider: Provider
    url: str
    key: str

    @property
    def journal(self) -> Journal:
        return self.platform.journal

    async def add_key(
        self, name: str, *, agent: str = "support", budget: BudgetRecord | None = None, **tags: str
    ) -> str:
        made = await make_key(
            self.journal.access, SystemClock(), TENANT, name, ["gateway"], most=1000, created_by="test"
        )
        assert made is not None
        record, text = made
        await self.journal.gateway.bind(KeyBinding(TENANT, record.id, agent, tags, budget or BudgetRecord()))
        return text

    async def runs(self) -> list[RunRow]:
        return await self.journal.list_runs(TENANT, RunFilter(), 1000)

    async def ended(self, number: int = 1) -> list[RunRow]:
        """The runs, once so many have ended; newest first."""
        async with asyncio.timeout(10):
            while len(found := [row for row in await self.runs() if row.status is Status.ENDED]) < number:
                await asyncio.sleep(0.01)
        return found

    async def tape(self, run: UUID) -> list[Event]:
        return [decode(row.body) for row in await self.journal.tape(TENANT, run)]


def config_for(url: str, upstream_seconds: float = 5.0, **changes: object) -> GatewayConfig:
    """Both providers at one address; ``cheap`` stands for gpt-4o-mini and falls back to gpt-4o."""
    common = {"key_env": "TEST_KEY", "simulated": True, "timeout_seconds": upstream_seconds}
    upstreams = {
        "openai": UpstreamConfig("openai", f"{url}/v1", **common),  # type: ignore[arg-type]
        "anthropic": UpstreamConfig("anthropic", url, **common),  # type: ignore[arg-type]
    }
    return GatewayConfig(upstreams, {"falling": ModelConfig(name="gpt-4o-mini", fallback=("gpt-4o",))}, **changes)  # type: ignore[arg-type]


@asynccontextmanager
async def world(
    journal: Journal | None = None, settings: Settings | None = None, name: str = "gateway-test", **changes: object
) -> AsyncIterator[World]:
    """One that serves while the block runs."""
    settings = settings or Settings(poll_seconds=0.05, worker_concurrency=5000)
    async with provider() as simulated, assemble(journal or MemoryJournal(), settings) as platform:
        targets = Targets(
            config_for(simulated.url, **changes),  # type: ignore[arg-type]
            {"TEST_KEY": "sk-upstream"},
            PriceList(PRICES),
            lambda name: 128_000,
        )
        gateway = Gateway(platform, targets)
        await gateway.start(name)
        app = GatewayApp(gateway, Doorkeeper(platform.journal.access, SystemClock(), settings))
        listener = socket.create_server(("127.0.0.1", 0))
        serving = GatewayServing(app, listener, settings)
        up = asyncio.Event()
        task = asyncio.create_task(serving.run(up.set))
        await up.wait()
        made = World(platform, gateway, simulated, f"http://127.0.0.1:{listener.getsockname()[1]}", "")
        made.key = await made.add_key(name.replace("gateway-test", "support-bot"), customer="acme")
        try:
            yield made
        finally:
            serving.stop()
            await gateway.close()
            await task
