"""The server as its tests see it: `api` on the journal in memory, `api_on_postgres` on PostgreSQL."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

import httpx2 as httpx
import pytest
from fastapi import FastAPI
from tests.server.desk import AGENTS

from penstock import Settings
from penstock.adapters.memory import MemoryJournal
from penstock.adapters.postgres.database import ConnectionSettings
from penstock.adapters.postgres.journal import open_journal
from penstock.kernel.ids import new_id
from penstock.ports.access import KeyRecord, NewKey
from penstock.ports.agents import AgentDef
from penstock.ports.journal import Journal
from penstock.runs.client import Penstock
from penstock.server.access.credentials import digest_of, key_text, new_handle, new_secret
from penstock.server.access.roles import ROLES
from penstock.server.app import create_app
from penstock.server.context import Server
from penstock.wiring import assemble

BASE = "http://penstock.test"
QUICK: dict[str, Any] = {"poll_seconds": 0.02, "start_allowance_seconds": 0.5}


class Api:
    """An application, with a key for every role of the tenant ``default``."""

    def __init__(self, app: FastAPI, platform: Penstock, log: list[dict[str, Any]]) -> None:
        self.app = app
        self.platform = platform
        self.log = log
        """Lines of the access log."""
        self.keys: dict[str, str] = {}
        self.ids: dict[str, UUID] = {}
        self._clients: list[httpx.AsyncClient] = []

    @property
    def server(self) -> Server:
        server: Server = self.app.state.server
        return server

    @property
    def journal(self) -> Journal:
        return self.platform.journal

    async def make_key(self, *roles: str, tenant: str = "default", name: str = "", **fields: Any) -> str:
        """The text of a new key."""
        handle, secret = new_handle(), new_secret()
        new = NewKey(
            tenant,
            new_id(self.platform.services.clock),
            handle,
            digest_of(secret),
            name or f"{tenant}-{'-'.join(roles)}",
            roles,
            fields.pop("permissions", None),
            "tests",
            **fields,
        )
        made = await self.journal.access.add_key(new)
        assert isinstance(made, KeyRecord)
        text = key_text(handle, secret)
        self.ids[text] = made.id
        return text

    def client(self, key: str = "", address: str = "10.1.1.1", base: str = BASE) -> httpx.AsyncClient:
        """A client with a cookie jar of its own; ``key`` is a role's name, a key, or '' for nobody."""
        headers = {"Authorization": f"Bearer {self.keys.get(key, key)}"} if key else {}
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False, client=(address, 40_000))
        client = httpx.AsyncClient(transport=transport, base_url=base, headers=headers)
        self._clients.append(client)
        return client

    async def ask(self, method: str, path: str, key: str = "operator", **fields: Any) -> httpx.Response:
        """One request of a role (or key)."""
        return await self.client(key).request(method, path, **fields)

    async def get(self, path: str, key: str = "operator", **fields: Any) -> httpx.Response:
        return await self.ask("GET", path, key, **fields)

    async def post(self, path: str, key: str = "operator", **fields: Any) -> httpx.Response:
        return await self.ask("POST", path, key, **fields)

    async def put(self, path: str, body: Any, key: str = "operator") -> httpx.Response:
        return await self.ask("PUT", path, key, json=body)

    async def delete(self, path: str, key: str = "admin", **fields: Any) -> httpx.Response:
        return await self.ask("DELETE", path, key, **fields)

    async def close(self) -> None:
        for client in self._clients:
            await client.aclose()


@contextlib.asynccontextmanager
async def served(
    journal: Journal,
    *,
    worker: bool = True,
    root_path: str = "",
    agents: Sequence[AgentDef] = AGENTS,
    **settings: Any,
) -> AsyncIterator[Api]:
    """The application on a journal, with a worker for the agents, by default those of `tests.server.desk`."""
    log: list[dict[str, Any]] = []
    chosen = Settings(**{**QUICK, **settings})
    async with assemble(journal, chosen, agents=agents) as platform:
        if worker:
            platform.start_worker("of-tests")
        app = create_app(platform, log=log.append, root_path=root_path)
        api = Api(app, platform, log)
        async with app.router.lifespan_context(app):
            for role in ROLES:
                api.keys[role] = await api.make_key(role)
            api.keys["stranger"] = await api.make_key("admin", tenant="strangers")
            yield api
            await api.close()


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    """On the journal in memory."""
    async with served(MemoryJournal()) as api:
        yield api


@pytest.fixture
async def api_on_postgres(journal_dsn: str) -> AsyncIterator[Api]:
    """On PostgreSQL."""
    async with served(await open_journal(ConnectionSettings(journal_dsn))) as api:
        yield api
