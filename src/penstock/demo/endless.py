"""The support desk at work for ever, for a console that is alive: simulated tickets at a gentle pace."""

import asyncio
import contextlib
import dataclasses
import itertools
from collections.abc import AsyncIterator, Iterator
from typing import Self

import asyncpg

from penstock.adapters.embeddings import WordLlamaEmbedder
from penstock.adapters.postgres.embedded import start_embedded
from penstock.adapters.simulated import NearestExamples, SimulatedModel, banking77
from penstock.demo.bank import Bank
from penstock.demo.support import SupportDesk, message
from penstock.demo.support_tools import BankTools
from penstock.demo.tickets import Ticket, packaged_tickets
from penstock.demo.world import found
from penstock.kernel.backoff import Backoff
from penstock.kernel.errors import JournalError, QueueFull
from penstock.kernel.randomness import jitter, seeded, token_bytes
from penstock.ports.retention import Action as RetentionAction
from penstock.ports.retention import Policy
from penstock.runs.client import Penstock
from penstock.runs.submit import Request
from penstock.settings import Settings

TENANT = "demo"
BATCH = 20
"""Tickets whose customers are made at a time."""
AT_ONCE = 12
"""Tickets at the start, so that there is something to see."""
PACE_SECONDS = (1.5, 4.0)
"""Between two tickets: from, to."""
LATENCY_SECONDS = 1.2
"""Of each answer of the simulated model: about as long as a real one takes."""
SPIRALS = 0.15
APPROVAL_SECONDS = 900.0
"""After this a question that nobody has answered counts as denied: the inbox stays as long as a real one."""
KEEP_SECONDS = 12 * 3600.0
"""How long the demo's runs are kept: it may go on for weeks."""
WORLD = "serve"
"""Told to the agent's release: it is the same each time the demo is started, so that its runs go on."""


def demo_settings(settings: Settings) -> Settings:
    """The settings of a demo: a tenant, an environment and, unless a server is named, a database of its own."""
    return dataclasses.replace(
        settings,
        tenant=TENANT,
        environment="demo",
        data_dir=settings.data_dir.with_name(f"{settings.data_dir.name}-demo"),
        approval_expiry_seconds=APPROVAL_SECONDS,
        oidc_tenant=TENANT if settings.oidc_issuer else settings.oidc_tenant,
    )


class DemoDesk:
    """The bank, the desk, and its customers. Made by `opened`."""

    def __init__(self, bank: Bank, examples: NearestExamples) -> None:
        self._bank = bank
        self._examples = examples
        self._seed = int.from_bytes(token_bytes(4), "big")
        model = SimulatedModel(7, spiral_rate=SPIRALS, latency_seconds=LATENCY_SECONDS, examples=examples)
        self.agent = SupportDesk(BankTools(bank), model, extra={"world": WORLD})

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls, settings: Settings) -> AsyncIterator[Self]:
        """The bank in the same database as the journal, which is up already."""
        async with contextlib.AsyncExitStack() as stack:
            dsn = settings.database_url
            if dsn is None:
                server = await start_embedded(settings.data_dir, start_seconds=settings.embedded_start_seconds)
                stack.push_async_callback(server.close)
                dsn = server.dsn
            bank = await Bank.open(dsn)
            stack.push_async_callback(bank.close)
            examples = NearestExamples(WordLlamaEmbedder())
            await asyncio.to_thread(examples.load)
            yield cls(bank, examples)

    async def work(self, platform: Penstock) -> None:
        """Hand tickets in until cancelled. While the database is away, or the queue full, it waits."""
        keep = int(KEEP_SECONDS * 1e6)
        await platform.journal.retention.put_policy(
            Policy(TENANT, self.agent.name, RetentionAction.PRUNE, keep, forget=keep, actor="demo")
        )
        backoff = Backoff(1.0, 30.0)
        first = True
        for batch in self._batches():
            requests: list[Request] = []
            while not requests:
                try:
                    requests = await self._requests(batch)
                except (JournalError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                    await asyncio.sleep(backoff.next_seconds())
            if first:
                await self._submit(platform, requests[:AT_ONCE])
                requests, first = requests[AT_ONCE:], False
            for request in requests:
                await asyncio.sleep(jitter(*PACE_SECONDS))
                await self._submit(platform, [request])

    def _batches(self) -> Iterator[list[Ticket]]:
        """All of the package's tickets in an order of this start's own, again and again."""
        everything = packaged_tickets(len(banking77("tickets")), self._seed)
        for again in itertools.count():
            shuffled = seeded("demo-endless", self._seed, again).sample(everything, len(everything))
            for at in range(0, len(shuffled), BATCH):
                yield shuffled[at : at + BATCH]

    async def _requests(self, tickets: list[Ticket]) -> list[Request]:
        world = await found(self._bank, token_bytes(3).hex(), tickets, self._seed, self._examples)
        tags = [{"feature": "demo", "customer": one.customer_id, "task_type": "ticket"} for one in world.situations]
        return [
            Request(self.agent, message(one.customer_id, ticket.text), tags=tag)
            for one, ticket, tag in zip(world.situations, tickets, tags, strict=True)
        ]

    async def _submit(self, platform: Penstock, requests: list[Request]) -> None:
        with contextlib.suppress(JournalError, QueueFull):  # a ticket more or less is no matter here
            await platform.submit_many(requests)
