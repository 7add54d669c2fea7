"""Reading and writing documents from an agent: what it gets, what stops it, and what happens to damage."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from penstock import Run, Settings, agent
from penstock.adapters.memory import MemoryJournal
from penstock.adapters.memory.documents import MemoryDocuments
from penstock.events import DocumentIntent, DocumentRead, DocumentWritten, RunEnded, decode
from penstock.journal.documents import pack
from penstock.kernel.errors import DocumentConflict, DocumentUnreadable, GateMisused, InputInvalid, InputTooLarge
from penstock.ports.controls import of_all
from penstock.ports.documents import Content, Document, Kind, Version, Write, Written
from penstock.ports.records import Stop
from penstock.runs.client import Penstock
from penstock.runs.replaying.replay import replay
from penstock.views.failing_calls import Stored, contributors
from penstock.views.lines import event_line
from penstock.views.trace import read_trace, walk
from penstock.wiring import assemble

QUICK = Settings(poll_seconds=0.02, document_max_bytes=2048, lease_seconds=2, loop_block_max_seconds=1)
T = "default"


@agent("counter", version="1")
async def counter(run: Run, times: int) -> Any:
    value = None
    for _ in range(times):
        value = await run.document("count").update(lambda known: (known or 0) + 1)
    return value


@agent("reader", version="1")
async def reader(run: Run, name: str) -> Any:
    document = run.document(name)
    return [await document.get(), document.version]


@agent("diary", version="1")
async def diary(run: Run, text: str) -> Any:
    known = await run.session.get() or []
    await run.session.put([*known, text])
    return known


@agent("blind", version="1")
async def blind(run: Run, text: str) -> int:
    return await run.session.put(text)


@agent("outside", version="1")
async def outside(run: Run, value: int) -> Any:
    return await run.session.get()


AGENTS = [counter, reader, diary, blind, outside]


class Faulty(MemoryDocuments):
    """Lets a test do something just before a write reaches the store."""

    journal: MemoryJournal

    async def _nothing(self, write: Write) -> None:
        pass

    before: Any = _nothing

    async def put(self, write: Write, keep: int) -> Written:
        await self.before(write)
        return await super().put(write, keep)


@pytest.fixture
async def documents() -> Faulty:
    journal = MemoryJournal()
    known = journal.documents
    assert isinstance(known, MemoryDocuments)
    journal.documents = faulty = Faulty(known._store, known._clock)
    journal._erase_from_documents = faulty.erase_subject
    faulty.journal = journal
    return faulty


@pytest.fixture
async def platform(documents: Faulty) -> AsyncIterator[Penstock]:
    async with assemble(documents.journal, QUICK, agents=AGENTS) as opened:
        opened.start_worker("w")
        yield opened


async def recorded(platform: Penstock, run: UUID) -> list[Any]:
    return [decode(row.body) for row in await platform.journal.tape(T, run)]


async def result_of(platform: Penstock, to: Any, value: Any, **options: Any) -> Any:
    """How the run ended; its record replays to the same events."""
    run = await platform.submit(to, value, **options)
    result = await platform.result(run, timeout_seconds=60)
    row = await platform.journal.get_run(T, run)
    assert row is not None
    if result.outcome not in ("killed", "cancelled"):
        replayed = await replay(platform.services, row, [*AGENTS, to])
        assert replayed.same, replayed.divergence
    return result


async def put(platform: Penstock, kind: Kind, name: str, content: Content | None, **fields: Any) -> None:
    """A first version, as the store holds it."""
    from penstock.adapters.memory.documents import _Entry

    version = Version(T, kind, name, 1, 0, content, **fields)
    platform.journal.documents._entries[T, kind, name] = _Entry({1: version}, 1)  # type: ignore[attr-defined]


async def test_side_by_side_each_update_counts_once(platform: Penstock) -> None:
    results = await asyncio.gather(*(result_of(platform, counter, 5) for _ in range(4)))
    assert max(result.output for result in results) == 20
    found = await platform.journal.documents.get(T, "shared", "count")
    assert found is not None
    assert found.latest.version == 20


async def test_runs_of_a_session_find_what_those_before_them_wrote(platform: Penstock) -> None:
    runs = [await platform.submit(diary, text, session="s") for text in "abc"]
    results = [await platform.result(run, timeout_seconds=60) for run in runs]
    assert [result.output for result in results] == [[], ["a"], ["a", "b"]]
    events = [event for run in runs for event in await recorded(platform, run)]
    assert all(event.status == "written" for event in events if isinstance(event, DocumentWritten))
    assert (await result_of(platform, diary, "z", session="t")).output == []


async def test_a_session_may_be_written_without_reading_it_first(platform: Penstock) -> None:
    for version in (1, 2):
        assert (await result_of(platform, blind, "x", session="s")).output == version


async def test_without_a_session_there_is_none(platform: Penstock) -> None:
    result = await result_of(platform, outside, 0)
    assert (result.outcome, result.code) == ("failed", GateMisused.code)


async def test_what_was_never_written_is_none_at_version_0(platform: Penstock) -> None:
    assert (await result_of(platform, reader, "nothing")).output == [None, 0]


async def test_what_was_erased_is_none_at_its_version(platform: Penstock) -> None:
    await result_of(platform, counter, 1)
    await platform.journal.documents.erase(T, "shared", "count")
    assert (await result_of(platform, reader, "count")).output == [None, 1]
    assert (await result_of(platform, counter, 1)).output == 1


async def test_the_session_of_a_person_is_erased_with_the_person(platform: Penstock) -> None:
    await result_of(platform, diary, "secret", session="s", subject="p-1")
    await platform.journal.erase_subject(T, "p-1")
    assert (await result_of(platform, diary, "new", session="s", subject="p-2")).output == []


async def test_a_conflict_says_which_version_stands_there(platform: Penstock) -> None:
    @agent("late", version="1")
    async def late(run: Run, value: int) -> Any:
        mine, other = run.document("d"), run.document("d")
        await mine.get()
        await other.get()
        await other.put("first")
        told = None
        try:
            await mine.put("second")
        except DocumentConflict as conflict:
            told = conflict.fields["version"]
        assert await mine.get() == "first"
        return [told, await mine.put("second"), await mine.put("third")]

    assert (await result_of(platform, late, 0)).output == [1, 2, 3]


async def test_branches_side_by_side_do_not_overwrite_each_other_unseen(platform: Penstock) -> None:
    """Each goes by what it read itself, else by what the code around it had read."""

    @agent("branching", version="1")
    async def branching(run: Run, value: int) -> Any:
        async def add(number: int, *, reads: bool) -> Any:
            known = await run.session.get() if reads else []
            try:
                return await run.session.put([*known, number])
            except DocumentConflict:
                return "conflict"

        await run.session.put([])
        told: list[Any] = [sorted(map(str, await run.gather(add(1, reads=True), add(2, reads=True))))]
        told.append(run.session.version)
        told.append(sorted(map(str, await run.gather(add(3, reads=False), add(4, reads=False)))))
        told.append(await add(5, reads=False))
        found, _ = await run.gather(run.document("d").get(), run.timeout(9, run.session.get()))
        shared = run.document("d")
        await run.gather(shared.get(), run.timeout(9, shared.get()))
        told.append([found, await shared.put("seen inside"), await add(6, reads=True)])
        return told

    result = await result_of(platform, branching, 0, session="s")
    assert result.output == [["2", "conflict"], 1, ["conflict", "conflict"], "conflict", [None, 1, 3]]


async def test_a_conflict_that_nobody_catches_names_the_document(platform: Penstock) -> None:
    @agent("careless", version="1")
    async def careless(run: Run, value: int) -> Any:
        return await run.document("d").put(1, expected_version=7)

    run = await platform.submit(careless, 0)
    result = await platform.result(run, timeout_seconds=60)
    assert (result.outcome, result.code) == ("failed", DocumentConflict.code)
    [cause] = contributors([Stored(event, event.at) for event in await recorded(platform, run)])
    assert (cause.kind, cause.name, cause.code) == ("document", "shared d", "document_conflict")


async def test_update_gives_up_after_its_attempts(platform: Penstock, documents: Faulty) -> None:
    @agent("unlucky", version="1")
    async def unlucky(run: Run, value: int) -> Any:
        try:
            await run.document("d").update(lambda known: "mine", attempts=3)
        except DocumentConflict as conflict:
            return conflict.fields["version"]

    async def somebody_else(write: Write) -> None:
        entry = documents._entries.get((T, "shared", "d"))
        if entry is None:
            await put(platform, "shared", "d", pack(b"0"))
        else:
            documents._add((T, "shared", "d"), entry, pack(b"0"), 5)

    documents.before = somebody_else
    assert (await result_of(platform, unlucky, 0)).output == 3


@pytest.mark.parametrize(
    ("value", "code"),
    [(float("nan"), InputInvalid.code), ({1: "\x00"}, InputInvalid.code), ("x" * 3000, InputTooLarge.code)],
)
async def test_what_cannot_be_stored_is_refused_and_nothing_written(platform: Penstock, value: Any, code: str) -> None:
    @agent("writer", version="1")
    async def writer(run: Run, nothing: int) -> Any:
        return await run.document("d").put(value, expected_version=0)

    result = await result_of(platform, writer, 0)
    assert (result.outcome, result.code) == ("failed", code)
    assert await platform.journal.documents.get(T, "shared", "d") is None


@pytest.mark.parametrize("misuse", ["unread", "nameless", "none", "never", "negative"])
async def test_misuse_is_told(platform: Penstock, misuse: str) -> None:
    @agent("misuser", version="1")
    async def misuser(run: Run, nothing: int) -> Any:
        if misuse == "unread":
            await run.document("d").put(1)
        elif misuse == "nameless":
            run.document("")
        elif misuse == "negative":
            await run.document("d").put(1, expected_version=-1)
        elif misuse == "never":
            await run.document("d").update(lambda known: 1, attempts=0)
        else:
            await run.document("d").update([].append)

    result = await result_of(platform, misuser, 0)
    assert result.code == (InputInvalid.code if misuse in ("nameless", "negative") else GateMisused.code)


GOOD = pack(b'{"a":1}')
DAMAGE = {
    "another digest": replace(GOOD, digest=bytes(32)),
    "other bytes": replace(GOOD, data=b'{"a":2}'),
    "no frame": replace(GOOD, codec="zstd"),
    "an unknown codec": replace(GOOD, codec="lzma"),
    "no JSON": pack(b'{"a":'),
    "NUL": pack(b'{"a":"\\u0000"}'),
    "missing": None,
}


@pytest.mark.parametrize("damage", DAMAGE)
async def test_damage_is_quarantined_and_the_run_escalated(platform: Penstock, damage: str) -> None:
    await put(platform, "shared", "d", DAMAGE[damage])
    run = await platform.submit(reader, "d")
    result = await platform.result(run, timeout_seconds=60)
    assert (result.outcome, result.code) == ("escalated", DocumentUnreadable.code)
    assert "the shared document d cannot be used" in result.reason
    found = await platform.journal.documents.get(T, "shared", "d")
    assert found is not None
    assert (found.state, found.reason_run) == ("quarantined", run)
    assert "version 1 of the shared document d" in found.reason
    again = await result_of(platform, reader, "d")
    assert (again.outcome, again.code) == ("escalated", DocumentUnreadable.code)
    assert "it is quarantined" in again.reason
    writing = await result_of(platform, overwriter, "d")
    assert (writing.outcome, writing.code) == ("escalated", DocumentUnreadable.code)
    entry = platform.journal.documents._entries[T, "shared", "d"]  # type: ignore[attr-defined]
    entry.versions[1] = replace(entry.versions[1], content=GOOD)
    assert await platform.journal.documents.release(T, "shared", "d")
    assert (await result_of(platform, reader, "d")).output == [{"a": 1}, 1]


@agent("overwriter", version="1")
async def overwriter(run: Run, name: str) -> Any:
    try:
        return await run.document(name).put("over it", expected_version=1)
    except Exception:  # noqa: BLE001 - an agent that swallows whatever comes
        return "swallowed"


async def test_damage_that_was_written_over_meanwhile_is_read_again(platform: Penstock, documents: Faulty) -> None:
    await put(platform, "shared", "d", DAMAGE["no JSON"])
    known = documents.get
    looks = 0

    async def get(tenant: str, kind: Kind, name: str) -> Document | None:
        nonlocal looks
        found = await known(tenant, kind, name)
        looks += 1
        if looks == 1:
            documents._add((T, "shared", "d"), documents._entries[T, "shared", "d"], GOOD, 5)
        return found

    documents.get = get  # type: ignore[method-assign]
    assert (await result_of(platform, reader, "d")).output == [{"a": 1}, 2]


@pytest.mark.parametrize("stop", ["kill", "cancel"])
async def test_a_stop_between_intent_and_write_keeps_the_write_from_happening(
    platform: Penstock, documents: Faulty, stop: str
) -> None:
    async def stopped(write: Write) -> None:
        documents.before = Faulty._nothing.__get__(documents)
        if stop == "kill":
            await platform.journal.stop_scope(of_all(T), Stop.KILL, "ann", "")
        else:
            await platform.journal.stop_run(T, write.run, Stop.CANCEL, "ann", "")

    documents.before = stopped
    run = await platform.submit(counter, 2)
    result = await platform.result(run, timeout_seconds=60)
    assert result.outcome == ("killed" if stop == "kill" else "cancelled")
    assert await platform.journal.documents.get(T, "shared", "count") is None
    events = await recorded(platform, run)
    assert [type(event) for event in events[2:]] == [DocumentRead, DocumentIntent, RunEnded]


async def test_a_worker_that_lost_its_claim_writes_nothing_and_its_successor_writes_once(
    platform: Penstock, documents: Faulty
) -> None:
    async def overtaken(write: Write) -> None:
        documents.before = Faulty._nothing.__get__(documents)
        run = documents._store.runs[T, write.run]
        run.worker = None  # as if its lease had ended: somebody claims it again
        while run.epoch == write.epoch:
            await asyncio.sleep(0.005)

    documents.before = overtaken
    run = await platform.submit(counter, 1)
    assert (await platform.result(run, timeout_seconds=60)).output == 1
    found = await platform.journal.documents.get(T, "shared", "count")
    assert found is not None
    assert found.latest.version == 1
    row = await platform.journal.get_run(T, run)
    assert row is not None
    assert row.epoch == 2


async def test_a_timeout_around_a_document_cuts_the_waiting_short_and_not_the_write(platform: Penstock) -> None:
    @agent("hurried", version="1")
    async def hurried(run: Run, value: int) -> Any:
        await run.timeout(30, run.document("d").update(lambda known: "written"))
        return await run.document("d").get()

    assert (await result_of(platform, hurried, 0)).output == "written"


async def test_reads_and_writes_are_shown_in_the_trace(platform: Penstock) -> None:
    @agent("shown", version="1")
    async def shown(run: Run, value: int) -> None:
        await run.document("d").update(lambda known: {"n": 1})
        await run.document("d").put(2, expected_version=7)

    run = await platform.submit(shown, 0)
    await platform.result(run, timeout_seconds=60)
    trace = await read_trace(platform.journal, T, run)
    spans = [span for span in walk(trace.spans) if span.kind == "document"]
    assert [(span.name, span.status, span.input) for span in spans] == [
        ("shared d", "ok", None),
        ("shared d", "ok", {"n": 1}),
        ("shared d", "conflict", 2),
    ]
    assert spans[2].error == "version 1 stood there"
    lines = [event_line(event) for event in await recorded(platform, run)]
    assert any(line.endswith("reads shared document d: absent") for line in lines)
    assert any("writes shared document d over nothing" in line for line in lines)
    assert any("shared document d written: version 1" in line for line in lines)
    assert any("shared document d not written: version 1 stands there" in line for line in lines)
