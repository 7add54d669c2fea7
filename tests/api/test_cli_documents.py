"""``penstock documents``: look, go back, release, erase; on a real database."""

import asyncio

import asyncpg
import pytest
from tests.api.conftest import CommandLine

from penstock import Run, agent
from penstock.adapters.postgres.database import ConnectionSettings
from penstock.adapters.postgres.journal import open_journal
from penstock.cli.exits import ExitCode
from penstock.settings import Settings
from penstock.wiring import assemble


@agent("writer", version="1")
async def writer(run: Run, value: int) -> None:
    """Two versions of its session, one of a shared document."""
    for number in range(2):
        await run.session.put({"n": value + number})
    await run.document("rates").update(lambda known: ["a"])


@pytest.fixture
def tenant(command_line: CommandLine, request: pytest.FixtureRequest) -> str:
    """A tenant of the test's own with a run's documents."""
    name = f"t{abs(hash(request.node.name)) % 10**9}"

    async def write() -> None:
        journal = await open_journal(ConnectionSettings(command_line.dsn))
        async with assemble(journal, Settings(tenant=name, poll_seconds=0.02), agents=[writer]) as platform:
            platform.start_worker(f"w-{name}")
            run = await platform.submit(writer, 1, session="s-1")
            assert (await platform.result(run, timeout_seconds=60)).outcome == "succeeded"

    asyncio.run(write())
    return name


def damage(command_line: CommandLine, tenant: str) -> None:
    async def break_it() -> None:
        connection = await asyncpg.connect(command_line.dsn)
        await connection.execute(
            "UPDATE penstock.document_versions SET data = 'x' WHERE tenant = $1 AND version = 2", tenant
        )
        await connection.execute(
            "UPDATE penstock.documents SET state = 'quarantined', reason = 'bad'"
            " WHERE tenant = $1 AND kind = 'session'",
            tenant,
        )
        await connection.close()

    asyncio.run(break_it())


def test_what_there_is(command_line: CommandLine, tenant: str) -> None:
    listed = command_line.quick("documents", "ls", "--tenant", tenant, "--json").document
    assert [(item["kind"], item["name"], item["version"], item["state"]) for item in listed] == [
        ("session", "s-1", 2, "ok"),
        ("shared", "rates", 1, "ok"),
    ]
    assert "writer, run " in command_line.quick("documents", "ls", "--kind", "shared", "--tenant", tenant).out
    shown = command_line.quick("documents", "show", "session", "s-1", "--tenant", tenant)
    assert '{"n": 2}' in shown.out or '"n": 2' in shown.out
    document = command_line.quick(
        "documents", "show", "session", "s-1", "--version", "1", "--tenant", tenant, "--json"
    ).document
    assert (document["value"], document["by"], document["problem"]) == ({"n": 1}, "writer", "")
    versions = command_line.quick("documents", "history", "session", "s-1", "--tenant", tenant, "--json").document
    assert [version["version"] for version in versions] == [2, 1]
    assert "CALL" in command_line.quick("documents", "history", "session", "s-1", "--tenant", tenant).out


def test_a_damaged_one_is_named_and_an_older_version_taken_back(command_line: CommandLine, tenant: str) -> None:
    damage(command_line, tenant)
    of = ("session", "s-1")
    [listed] = command_line.quick("documents", "ls", "--quarantined", "--tenant", tenant, "--json").document
    assert (listed["name"], listed["reason"]) == ("s-1", "bad")
    shown = command_line.quick("documents", "show", *of, "--tenant", tenant)
    assert shown.code == 0
    assert "quarantined: bad" in shown.out
    assert "version 2 of the session document s-1" in shown.out
    refused = command_line.quick("documents", "restore", *of, "2", "--tenant", tenant, "--json")
    assert (refused.code, refused.error["code"]) == (ExitCode.FAILED, "document_unreadable")
    made = command_line.quick("documents", "restore", *of, "1", "--actor", "ann", "--tenant", tenant, "--json")
    assert made.document == {"kind": "session", "name": "s-1", "version": 3, "restored": 1}
    document = command_line.quick("documents", "show", *of, "--tenant", tenant, "--json").document
    assert (document["value"], document["by"], document["state"], document["run"]) == ({"n": 1}, "ann", "ok", None)


def test_release_and_erase(command_line: CommandLine, tenant: str) -> None:
    damage(command_line, tenant)
    of = ("session", "s-1", "--tenant", tenant)
    assert command_line.quick("documents", "release", *of, "--json").document["released"] is True
    assert command_line.quick("documents", "release", *of, "--json").document["released"] is False
    assert "erased the content of 2 versions" in command_line.quick("documents", "erase", *of).out
    shown = command_line.quick("documents", "show", *of, "--json").document
    assert (shown["value"], shown["erased"], shown["bytes"]) == (None, True, None)
    gone = command_line.quick("documents", "restore", "session", "s-1", "1", "--tenant", tenant, "--json")
    assert (gone.code, gone.error["code"]) == (ExitCode.USAGE, "document_unknown")


@pytest.mark.parametrize("command", ["show", "history", "release", "erase"])
def test_what_there_is_not(command_line: CommandLine, command: str) -> None:
    done = command_line.quick("documents", command, "shared", "nothing", "--tenant", "nobody", "--json")
    assert (done.code, done.error["code"]) == (ExitCode.USAGE, "document_unknown")
    assert command_line.quick("documents", command, "diary", "nothing").code == ExitCode.USAGE
