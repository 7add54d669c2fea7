"""Both stores pass the suite of signed releases."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest
from tests.contract.journal_world import World
from tests.contract.signed_releases_suite import AGENT, CLERK, TENANT, Forger, MoreOfSignedReleases, SignedReleasesSuite
from tests.contract.test_journal_memory import MemoryWorld
from tests.contract.test_journal_postgres import PostgresWorld

from penstock.adapters.memory.rollouts import MemoryRollouts
from penstock.adapters.postgres.database import ConnectionSettings
from penstock.adapters.postgres.journal import open_journal
from penstock.cli.releases.confirm import confirm
from penstock.cli.releases.ls import ls, show, verify
from penstock.cli.signing_checks import check_signatures
from penstock.kernel.errors import InputInvalid, ReleaseOwn
from penstock.ports.rollouts import Accepted, Move, Route, SignedStatement
from penstock.runs.rollouts.releasing import Releasing
from penstock.runs.rollouts.signing import Keyring, make_key
from penstock.settings import Settings


class MemoryForger:
    def __init__(self, world: World) -> None:
        assert isinstance(world.journal.rollouts, MemoryRollouts)
        self.store = world.journal.rollouts

    async def route(self, route: Route) -> None:
        self.store._routes[route.tenant, route.agent] = route
        self.store._version += 1

    async def no_route(self) -> None:
        del self.store._routes[TENANT, AGENT]
        self.store._version += 1

    async def state(self, release: str, state: str, approved_by: str = "eve") -> None:
        known = self.store._releases[TENANT, release]
        self.store._releases[TENANT, release] = replace(known, state=state, approved_by=approved_by)  # type: ignore[arg-type]
        self.store._version += 1

    async def manifest(self, release: str, manifest: bytes) -> None:
        known = self.store._releases[TENANT, release]
        self.store._releases[TENANT, release] = replace(known, manifest=manifest)
        self.store._version += 1

    async def statement(self, statement: SignedStatement) -> None:
        kept = self.store._statements.setdefault((statement.tenant, statement.agent), {})
        kept[statement.number] = statement
        self.store._version += 1

    async def drop_statements(self, after: int) -> None:
        kept = self.store._statements[TENANT, AGENT]
        self.store._statements[TENANT, AGENT] = {number: kept[number] for number in kept if number <= after}
        self.store._version += 1

    async def accepted(self, accepted: Accepted) -> None:
        self.store._accepted[accepted.tenant, accepted.tool, accepted.digest] = accepted
        self.store._version += 1


class PostgresForger:
    """Has the database's password."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection

    async def _do(self, sql: str, *args: object) -> None:
        await self.connection.execute(sql, *args)
        await self.connection.execute("UPDATE penstock.rollout_version SET version = version + 1")

    async def route(self, route: Route) -> None:
        await self._do(
            """
            INSERT INTO penstock.release_routes (tenant, agent, number, live, canary, share, previous)
            VALUES ($1, $2, $3, $4, $5, $6, $7)
            ON CONFLICT (tenant, agent) DO UPDATE SET number = $3, live = $4, canary = $5, share = $6, previous = $7""",
            route.tenant,
            route.agent,
            route.number,
            route.live,
            route.canary,
            route.share,
            route.previous,
        )

    async def no_route(self) -> None:
        await self._do("DELETE FROM penstock.release_routes WHERE tenant = $1", TENANT)

    async def state(self, release: str, state: str, approved_by: str = "eve") -> None:
        sql = "UPDATE penstock.managed_releases SET state = $3, approved_by = $4 WHERE tenant = $1 AND id = $2"
        await self._do(sql, TENANT, release, state, approved_by)

    async def manifest(self, release: str, manifest: bytes) -> None:
        sql = "UPDATE penstock.managed_releases SET manifest = $3 WHERE tenant = $1 AND id = $2"
        await self._do(sql, TENANT, release, manifest)

    async def statement(self, statement: SignedStatement) -> None:
        await self._do(
            """
            INSERT INTO penstock.release_statements (tenant, agent, number, body, key, signature)
            VALUES ($1, $2, $3, $4, $5, $6)
            ON CONFLICT (tenant, agent, number) DO UPDATE SET body = $4, key = $5, signature = $6""",
            statement.tenant,
            statement.agent,
            statement.number,
            statement.body,
            statement.key,
            statement.signature,
        )

    async def drop_statements(self, after: int) -> None:
        await self._do("DELETE FROM penstock.release_statements WHERE tenant = $1 AND number > $2", TENANT, after)

    async def accepted(self, accepted: Accepted) -> None:
        await self._do(
            """
            INSERT INTO penstock.accepted_tools (tenant, tool, digest, at, actor, reason, key, signature)
            VALUES ($1, $2, $3, penstock.from_us($4), $5, $6, $7, $8)
            ON CONFLICT (tenant, tool, digest) DO UPDATE
            SET at = excluded.at, actor = $5, reason = $6, key = $7, signature = $8""",
            accepted.tenant,
            accepted.tool,
            accepted.digest,
            accepted.at,
            accepted.actor,
            accepted.reason,
            accepted.key,
            accepted.signature,
        )


class TestInMemory(MoreOfSignedReleases):
    @pytest.fixture
    def world(self) -> World:
        return MemoryWorld()

    @pytest.fixture
    def forger(self, world: World) -> Forger:
        return MemoryForger(world)


class TestOnPostgres(SignedReleasesSuite):
    @pytest.fixture
    async def world(self, journal_dsn: str) -> AsyncIterator[World]:
        journal = await open_journal(ConnectionSettings(journal_dsn, seal_tries=5))
        yield PostgresWorld(journal)
        await journal.close()

    @pytest.fixture
    async def forger(self, world: World, journal_dsn: str) -> AsyncIterator[Forger]:
        connection = await asyncpg.connect(journal_dsn)
        yield PostgresForger(connection)
        await connection.close()


async def test_the_command_line_confirms_and_the_doctor_says_what_does_not_count(
    journal_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    key = tmp_path / "key.pem"
    make_key(key)
    for name, value in {"DATABASE_URL": journal_dsn, "RELEASE_KEY_FILE": str(key), "TENANT": TENANT}.items():
        monkeypatch.setenv(f"PENSTOCK_{name}", value)
    settings = Settings(database_url=journal_dsn, release_key_file=key, decision_key_file=key)
    journal = await open_journal(journal_dsn)
    releases = Releasing(journal, TENANT, Keyring.of(settings))
    made = await releases.draft(CLERK, "ann")
    moves = [Move(made.id, "draft", "live", "ben", approved_by="ben")]
    assert await journal.rollouts.change(Route(TENANT, AGENT, 1, live=made.id), moves)

    said = {line.name: line for line in await check_signatures(journal_dsn, settings)}
    assert (said["releases"].state, said["decisions"].state) == ("fail", "ok")
    assert "clerk of acme: the change 1 is not signed" in said["releases"].words
    assert await asyncio.to_thread(verify, None) == 1
    assert await asyncio.to_thread(show, made.id) == 0
    assert await asyncio.to_thread(confirm, AGENT) == 0
    assert await asyncio.to_thread(ls, limit=10) == 0
    told = capsys.readouterr()
    assert told.out.count(made.id[:12]) >= 3
    assert "approve it anew: penstock releases confirm clerk" in told.err
    assert "does not count here: the change 1 is not signed" in told.out + told.err
    with pytest.raises(InputInvalid):
        confirm(AGENT, [made.id], nothing=True)
    with pytest.raises(ReleaseOwn):
        await asyncio.to_thread(confirm, AGENT, [made.id[:12]], actor="ann")
    assert await asyncio.to_thread(confirm, AGENT, [made.id[:12]], actor="ben") == 0
    assert f"{AGENT}: new runs get {made.id[:12]}" in capsys.readouterr().out
    assert await asyncio.to_thread(verify, None) == 0
    assert await asyncio.to_thread(show, made.id) == 0
    assert "its steps are signed" in capsys.readouterr().out
    assert await asyncio.to_thread(confirm, AGENT, None, nothing=True, actor="cleo", as_json=True) == 0
    assert (await journal.rollouts.route(TENANT, AGENT)).live == ""

    key.chmod(0o644)
    said = {line.name: line for line in await check_signatures(journal_dsn, settings)}
    assert (said["releases"].state, said["signatures"].state) == ("ok", "warn")
    key.write_text("nothing")
    (line,) = await check_signatures(journal_dsn, settings)
    assert (line.state, "release_key_invalid" in line.words) == ("fail", True)
    assert await check_signatures(journal_dsn, Settings(database_url=journal_dsn)) == []
    await journal.close()
