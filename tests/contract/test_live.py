"""Live words: heard by those who look, in this process and in others; never kept, never in the way."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from uuid import UUID, uuid4

import pytest

from penstock import agent
from penstock.adapters.memory import MemoryJournal
from penstock.adapters.postgres import live as postgres_live
from penstock.adapters.postgres.database import ConnectionSettings
from penstock.adapters.postgres.journal import PostgresJournal, open_journal
from penstock.agents.run import Run
from penstock.ports.journal import Journal
from penstock.ports.live import Piece
from penstock.settings import Settings
from penstock.wiring import assemble

LONG = 20.0


@agent("echo", version="1")
async def echo(run: Run, value: object) -> object:
    return value


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(LONG):
        while not holds():
            await asyncio.sleep(0.01)


def pieces(run: UUID, *texts: str, path: str = "1") -> list[Piece]:
    made, offset = [], 0
    for text in texts:
        made.append(Piece(run, path, 1, offset, text))
        offset += len(text)
    return made


@pytest.fixture
async def two(
    journal_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[PostgresJournal, PostgresJournal]]:
    """One that looks and one that speaks, as two processes would be."""
    monkeypatch.setattr(postgres_live, "RENEW_SECONDS", 0.1)
    async with AsyncExitStack() as stack:
        made = []
        for _ in range(2):
            made.append(await open_journal(ConnectionSettings(journal_dsn)))
            stack.push_async_callback(made[-1].close)
        # A worker listens from its first wait on.
        await asyncio.gather(*(journal.wait_for_work(0.01) for journal in made))
        yield made[0], made[1]


@pytest.mark.parametrize("kind", ["memory", "postgres"])
async def test_inside_one_process(kind: str, journal_dsn: str) -> None:
    dsn = ConnectionSettings(journal_dsn)
    journal: Journal = MemoryJournal() if kind == "memory" else await open_journal(dsn)
    async with assemble(journal, Settings()) as platform:
        live = platform.journal.live
        heard: list[Piece] = []
        live.hear(heard.append)
        run = await platform.submit(echo, "x")
        assert not live.is_watched(run)
        said = pieces(run, "one ", "two")
        live.say(said[0])
        live.look_at([run])
        assert live.is_watched(run)
        for piece in said:
            live.say(piece)
        assert heard == said
        live.look_at([])
        assert not live.is_watched(run)
        assert await live.heads([("default", run), ("other", run), ("default", UUID(int=1))]) == {("default", run): 1}


async def test_between_processes(two: tuple[PostgresJournal, PostgresJournal]) -> None:
    looking, speaking = two
    run = uuid4()
    heard: list[Piece] = []
    looking.live.hear(heard.append)
    looking.live.look_at([run])
    await until(lambda: speaking.live.is_watched(run))
    words = [f"word {number}, " for number in range(50)]
    for piece in [*pieces(uuid4(), "nobody hears this"), *pieces(run, *words), *pieces(run, 'ä\n"', path="2")]:
        speaking.live.say(piece)
    await until(lambda: any(piece.path == "2" for piece in heard))
    assert "".join(piece.text for piece in heard if piece.path == "1") == "".join(words)
    assert [piece.text for piece in heard if piece.path == "2"] == ['ä\n"']
    assert len(heard) < 10, "pieces that follow each other go as one"


async def test_what_a_dead_process_looked_at_is_forgotten(
    two: tuple[PostgresJournal, PostgresJournal], monkeypatch: pytest.MonkeyPatch
) -> None:
    looking, speaking = two
    monkeypatch.setattr(postgres_live, "FORGET_SECONDS", 0.5)
    run = uuid4()
    looking.live.look_at([run])
    await until(lambda: speaking.live.is_watched(run))
    await looking.live.close()
    await until(lambda: not speaking.live.is_watched(run))


async def test_what_is_looked_at_for_long_is_said_again(
    two: tuple[PostgresJournal, PostgresJournal], monkeypatch: pytest.MonkeyPatch
) -> None:
    looking, speaking = two
    monkeypatch.setattr(postgres_live, "FORGET_SECONDS", 1.0)
    runs = [uuid4() for _ in range(400)]
    looking.live.look_at(runs)
    await until(lambda: all(speaking.live.is_watched(run) for run in runs))
    await asyncio.sleep(1.5)  # longer than it is remembered
    assert all(speaking.live.is_watched(run) for run in runs)


async def test_a_flood_is_dropped_and_not_kept(two: tuple[PostgresJournal, PostgresJournal]) -> None:
    looking, speaking = two
    run = uuid4()
    heard: list[Piece] = []
    looking.live.hear(heard.append)
    looking.live.look_at([run])
    await until(lambda: speaking.live.is_watched(run))
    for piece in pieces(run, *("x" * 5_000 for _ in range(200)), "y" * 50_000):
        speaking.live.say(piece)
    speaking.live.say(Piece(run, "9", 1, 0, "last"))
    await until(lambda: not speaking.live._waiting)
    speaking.live.say(Piece(run, "10", 1, 0, "after"))
    await until(lambda: bool(heard) and heard[-1].text == "after")
    assert 0 < len(heard) <= 1 + postgres_live.MESSAGES_A_FLUSH
