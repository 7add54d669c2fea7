"""Requests that no author thought of, made from the API's own description: schemathesis against the real server."""

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import hypothesis
import pytest
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance
from tests.conftest import with_database
from tests.server.conftest import QUICK, Api
from tests.server.desk import AGENTS

from penstock import Settings
from penstock.adapters.memory import MemoryJournal
from penstock.adapters.postgres.journal import open_journal
from penstock.ports.journal import Journal
from penstock.runs.rollouts.signing import make_key
from penstock.server.app import create_app
from penstock.server.serving import Serving, address_of, bind
from penstock.wiring import assemble

# The server is in this process and draws random numbers while examples are made.
pytestmark = pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisDeprecationWarning")

EXAMPLES = 10
LEFT_OUT = {
    "runs_stream",  # goes on for ever; tests/server/test_streams.py
    "stream_topics",
    "sign_in_oidc",  # redirects to another site
    "sign_in_oidc_back",
    "keys_revoke",  # would take the tests' own key away
}
CHECKS: list[Any] = [not_a_server_error, response_schema_conformance, content_type_conformance]


class Background:
    """The server in a thread of its own."""

    def __init__(self, dsn: str, template: str, key_file: Path) -> None:
        self._key_file = key_file
        self._dsn = dsn
        self._template = template
        self.url = ""
        self.key = ""
        self.description: dict[str, Any] = {}
        self._up = threading.Event()
        self._stop: Callable[[], object] = lambda: None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    async def _serve(self) -> None:
        name = f"schema_{os.getpid()}"
        admin = await asyncpg.connect(self._dsn)
        try:
            await admin.execute(f"CREATE DATABASE {name} TEMPLATE {self._template} STRATEGY file_copy")
            await self._serve_on(await open_journal(with_database(self._dsn, name)))
            await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        finally:
            await admin.close()

    async def _serve_on(self, journal: Journal) -> None:
        make_key(self._key_file)
        # Clients here give up after 30 s.
        settings = Settings(**QUICK, http_wait_seconds=1.0, release_key_file=self._key_file)
        async with assemble(journal, settings, agents=AGENTS) as platform:
            platform.start_worker("of-tests")
            app = create_app(platform, log=lambda line: None)
            self.key = await Api(app, platform, []).make_key("admin")
            self.description = app.openapi()
            listener = bind("127.0.0.1", 0)
            serving = Serving(app, listener, settings)
            loop = asyncio.get_running_loop()
            self._stop = lambda: loop.call_soon_threadsafe(serving.stop)
            self.url = address_of(listener).rstrip("/")
            await serving.run(self._up.set)

    def __enter__(self) -> "Background":
        self._thread.start()
        assert self._up.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        self._thread.join(30)
        assert not self._thread.is_alive()


@pytest.fixture(scope="module")
def server(server_dsn: str, journal_template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Background]:
    """On PostgreSQL, which refuses more than memory does: numbers that are too large, texts that it cannot hold."""
    with Background(server_dsn, journal_template, tmp_path_factory.mktemp("keys") / "release.pem") as running:
        yield running


async def operations() -> list[str]:
    """The names of all operations, for the tests' own names."""
    async with assemble(MemoryJournal(), Settings(), agents=AGENTS) as platform:
        described = create_app(platform).openapi()
    return sorted(
        operation["operationId"]
        for item in described["paths"].values()
        for operation in item.values()
        if operation["operationId"] not in LEFT_OUT
    )


@pytest.mark.parametrize("name", asyncio.run(operations()))
def test_an_operation_answers_whatever_it_is_asked(server: Background, name: str) -> None:
    """Never an error of the server's own, and always an answer of the form that is described."""
    schema = schemathesis.openapi.from_dict(server.description)
    operation = schema.find_operation_by_id(name)

    @hypothesis.settings(max_examples=EXAMPLES, suppress_health_check=list(hypothesis.HealthCheck), deadline=None)
    @hypothesis.given(case=operation.as_strategy())
    def ask(case: Any) -> None:
        headers = {"Authorization": f"Bearer {server.key}"}
        case.call_and_validate(base_url=server.url, headers=headers, checks=CHECKS, timeout=30)

    ask()
