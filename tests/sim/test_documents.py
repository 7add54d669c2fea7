"""Documents over crashes: a write happens once wherever the worker dies, and what was read stays what was read."""

import copy
from typing import Any

import pytest
from tests.sim.tapes import TENANT, Tape, comings_and_goings, cut, open_on

from penstock import Run, agent
from penstock.adapters.memory import MemoryJournal
from penstock.adapters.memory.documents import MemoryDocuments
from penstock.events import DocumentIntent, DocumentRead, DocumentWritten
from penstock.kernel.errors import DocumentConflict, JournalUnavailable
from penstock.ports.documents import Write, Written
from penstock.runs.replaying.replay import replay


class Watched(MemoryDocuments):
    """Keeps what there was after each write. ``loses``: numbers of writes whose answer is lost, once."""

    def __init__(self, of: MemoryDocuments, loses: tuple[int, ...] = ()) -> None:
        super().__init__(of._store, of._clock)
        self.states = [self.state]
        self.asked = 0
        self._loses = loses

    @property
    def state(self) -> Any:
        return copy.deepcopy((self._entries, self._writes))

    async def put(self, write: Write, keep: int) -> Written:
        self.asked += 1
        written = await super().put(write, keep)
        if self.asked in self._loses:
            raise JournalUnavailable("the answer was lost")
        self.states.append(self.state)
        return written


def watch(journal: MemoryJournal, loses: tuple[int, ...] = ()) -> Watched:
    watched = Watched(journal.documents, loses)
    journal.documents = watched
    return watched


def grown(value: Any) -> list[int]:
    return [*(value or []), len(value or [])]


@agent("keeper", version="1")
async def keeper(run: Run, value: int) -> list[Any]:
    told: list[Any] = [await run.session.get()]
    told.append(await run.session.put({"n": 1}))
    told.append(await run.session.put({"n": 2}))
    shared = run.document("list")
    told += await run.gather(*(run.document("list").update(grown) for _ in range(3)))
    told.append(await shared.get())
    try:
        await shared.put("late", expected_version=1)
    except DocumentConflict as conflict:
        told.append(conflict.fields["version"])
    told.append(await run.session.get())
    return told


async def live(loses: tuple[int, ...] = ()) -> tuple[Tape, Watched]:
    journal = MemoryJournal()
    watched = watch(journal, loses)
    async with open_on(journal, [keeper]) as platform:
        run = await platform.submit(keeper, 0, session="s")
        await platform.result(run, timeout_seconds=20)
    return Tape(run, journal), watched


async def history(journal: MemoryJournal) -> list[tuple[int, str]]:
    versions = await journal.documents.history(TENANT, "shared", "list", 0, 100)
    return sorted((version.version, version.path) for version in versions)


@pytest.mark.parametrize("happened", [True, False])
async def test_from_every_crash_it_ends_alike_and_writes_once(happened: bool) -> None:
    """``happened``: whether the write that had an intent and no outcome was made before the worker died."""
    tape, watched = await live()
    assert tape.end.outcome == "succeeded", tape.end
    output = tape.output()[3]
    assert output[:3] == [None, 1, 2]
    assert output[-1] == {"n": 2}
    assert output[-2] == 3
    assert sorted(len(each) for each in output[3:6]) == [1, 2, 3]
    tried = 0
    for count in range(1, len(tape.rows)):
        events = tape.events[:count]
        ended = [event.path for event in events if isinstance(event, DocumentWritten)]
        begun = [event.path for event in events if isinstance(event, DocumentIntent)]
        doubts = [path for path in begun if path not in ended]
        if len(doubts) > 1:
            continue  # which of several were made cannot be told from the states that were kept
        tried += 1
        journal = cut(tape, count)
        again = watch(journal)
        state = watched.states[min(len(ended) + (happened and bool(doubts)), len(watched.states) - 1)]
        again._entries, again._writes = copy.deepcopy(state)
        async with open_on(journal, [keeper]) as platform:
            await platform.result(tape.run, timeout_seconds=20)
        went_on = Tape(tape.run, journal)
        here = f"after event {count}, {type(events[-1]).__name__}"
        assert went_on.verify() == 1
        outcome, _, _, told = went_on.output()
        assert outcome == "succeeded", here
        assert (told[:3], told[6:]) == (output[:3], output[6:]), here
        assert sorted(map(len, told[3:6])) == [1, 2, 3], here
        assert [number for number, _ in await history(journal)] == [1, 2, 3], here
        assert len({path for _, path in await history(journal)}) == 3, here
    assert tried > 20


async def test_a_write_whose_answer_was_lost_is_found_and_not_made_again() -> None:
    tape, watched = await live(loses=(1, 3))
    assert tape.end.outcome == "succeeded", tape.end
    written = [event.version for event in tape.events if isinstance(event, DocumentWritten) and event.of == "session"]
    assert written == [1, 2]
    assert watched.asked == sum(isinstance(event, DocumentWritten) for event in tape.events) + 2


async def test_replay_gives_what_was_read_and_writes_nothing() -> None:
    tape, watched = await live()
    before = watched.state
    reads = [event for event in tape.events if isinstance(event, DocumentRead)]
    assert {event.status for event in reads} == {"absent", "ok"}
    await watched.erase(TENANT, "shared", "list")
    asked = watched.asked
    async with open_on(tape.journal, [], person=None) as platform:
        row = await tape.journal.get_run(TENANT, tape.run)
        assert row is not None
        replayed = await replay(platform.services, row, [keeper])
    assert replayed.same, replayed.divergence
    assert watched.asked == asked
    assert before[0].keys() == watched.state[0].keys()


async def test_a_zombie_cannot_write() -> None:
    """Its intent is durable, then it stalls; the run has another holder when it comes to the store."""
    tape, watched = await live()
    run = tape.journal._store.runs[TENANT, tape.run]
    stale = next(event for event in comings_and_goings(tape.events) if isinstance(event, DocumentIntent))
    known = await watched.get(TENANT, "session", "s")
    assert known is not None
    assert known.latest.content is not None
    write = Write(TENANT, "session", "s", 2, known.latest.content, tape.run, f"{stale.path}9", run.epoch)
    assert (await watched.put(write, 5)).answer == "fenced"
