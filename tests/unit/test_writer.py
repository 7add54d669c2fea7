"""The log and the group-committing writer, against a journal that misbehaves on request."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from penstock.adapters.memory import MemoryJournal
from penstock.events import ModelIntent, ModelOutcome, NoteRecorded, ToolIntent, ToolOutcome
from penstock.journal.chain import genesis, link, verify
from penstock.journal.log import RunLog
from penstock.journal.payloads import PayloadReader, address, make_payload, ref_address
from penstock.journal.writer import GroupWriter, WriterSettings
from penstock.kernel.clock import SystemClock
from penstock.kernel.errors import (
    ClaimLost,
    EventTooLarge,
    InputInvalid,
    InputTooLarge,
    IntentRefused,
    JournalError,
    JournalFull,
    JournalUnavailable,
)
from penstock.kernel.ids import new_id
from penstock.ports.records import Answer, Applied, Batch, Move, NewRun, Payload, Post, Row, Status, Stop, Summary

CLOCK = SystemClock()
QUICK = WriterSettings(backoff_seconds=0.001, backoff_max_seconds=0.002, linger_seconds=0)

Fault = Callable[[Sequence[Batch]], Exception | list[Applied] | None]


class Script(MemoryJournal):
    """Remembers every call. ``faults`` are asked first, one an append, before or after it took effect."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, list[Batch]]] = []
        self.stored: list[list[Payload]] = []
        self.before: list[Fault] = []
        self.after: list[Fault] = []
        self.open = asyncio.Event()
        self.open.set()

    async def append(
        self, batches: Sequence[Batch], payloads: Sequence[Payload] = (), *, blocking: bool = False
    ) -> list[Applied]:
        self.calls.append(("blocking" if blocking else "append", list(batches)))
        await self.open.wait()
        answer = self.before.pop(0)(batches) if self.before else None
        if answer is None:
            answers = await super().append(batches, payloads)
            answer = self.after.pop(0)(batches) if self.after else None
            answer = answers if answer is None else answer
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def put_payloads(self, payloads: Sequence[Payload]) -> None:
        if payloads:
            self.stored.append(list(payloads))
        if any(payload.subject == "cursed" for payload in payloads):
            raise JournalError("no payload of this subject can be stored")
        await super().put_payloads(payloads)


def fail(error: Exception) -> Fault:
    return lambda _batches: error


def all_skipped(batches: Sequence[Batch]) -> list[Applied]:
    return [Applied(Answer.SKIPPED) for _ in batches]


@pytest.fixture
def journal() -> Script:
    return Script()


@pytest.fixture
async def writer(journal: Script) -> AsyncIterator[GroupWriter]:
    writer = GroupWriter(journal, QUICK)
    yield writer
    journal.open.set()
    await writer.close(1)


def new_run(**fields: str) -> NewRun:
    run = new_id(CLOCK)
    row = Row(1, b"{}", link(genesis("t", run), b"{}"))
    return NewRun("t", run, "a", "r", row, fields.get("subject", str(run)), b"k" * 32)


async def logs_of(journal: Script, writer: GroupWriter, count: int = 1, **fields: str) -> list[RunLog]:
    worker = new_id(CLOCK)
    await journal.enlist(worker, str(worker), 1000)
    await journal.submit([new_run(**fields) for _ in range(count)])
    return [RunLog(claim, writer) for claim in await journal.claim(worker, ["r"], count)]


def note(log: RunLog, name: str = "n") -> NoteRecorded:
    return NoteRecorded(tenant="t", run=log.claim.run, agent="a", name=name)


def intent(log: RunLog, path: str = "1") -> ToolIntent:
    return ToolIntent(tenant="t", run=log.claim.run, agent="a", tool="x", digest="d", path=path)


async def names(journal: Script, log: RunLog) -> list[str]:
    """What the run's verified tape holds, after its first event: names of notes, paths of calls."""
    key = log.claim.tenant, log.claim.run
    row = await journal.get_run(*key)
    assert row is not None
    tape = (await journal.tapes([key]))[key]
    verify(*key, tape, row.head, row.last_seq)
    found = []
    for item in tape[1:]:
        text = item.body.decode()
        field = '"name":"' if '"name":"' in text else '"path":"'
        found.append(text.split(field)[1].split('"')[0])
    return found


async def test_events_of_many_runs_are_written_in_their_order(journal: Script, writer: GroupWriter) -> None:
    logs = await logs_of(journal, writer, 20)

    async def live(log: RunLog) -> None:
        for step in range(10):
            log.add(note(log, f"a{step}"))
            await log.intent(intent(log, f"i{step}"))
            assert (await names(journal, log))[-1] == f"i{step}", "durable when the future is done"

    await asyncio.gather(*map(live, logs))
    expected = [word for step in range(10) for word in (f"a{step}", f"i{step}")]
    for log in logs:
        assert await names(journal, log) == expected
    assert len(journal.calls) < 40, "committed in groups"


async def test_groups_keep_their_bounds(journal: Script) -> None:
    writer = GroupWriter(journal, WriterSettings(max_events=7, linger_seconds=0))
    logs = await logs_of(journal, writer, 5)
    for log in logs:
        for step in range(20):
            log.add(note(log, str(step)))
    await asyncio.gather(*(log.flush() for log in logs))
    assert max(sum(len(batch.rows) for batch in batches) for _, batches in journal.calls) == 7
    for _, batches in journal.calls:
        assert len({batch.run for batch in batches}) == len(batches)
    for log in logs:
        assert await names(journal, log) == [str(step) for step in range(20)]
    await writer.close()


async def test_one_batch_of_a_run_is_in_flight_at_a_time(journal: Script, writer: GroupWriter) -> None:
    (log,) = await logs_of(journal, writer)
    journal.open.clear()
    first = log.intent(intent(log, "1"))
    await _settled(lambda: len(journal.calls) == 1)
    second = log.intent(intent(log, "2"))
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(journal.calls) == 1
    journal.open.set()
    await asyncio.gather(first, second)
    assert await names(journal, log) == ["1", "2"]


async def test_a_lazy_event_comes_with_the_next_that_is_not(journal: Script, writer: GroupWriter) -> None:
    (log,) = await logs_of(journal, writer)
    log.add(note(log, "claimed"), lazy=True)
    for _ in range(10):
        await asyncio.sleep(0)
    assert journal.calls == []
    await log.intent(intent(log))
    assert await names(journal, log) == ["claimed", "1"]


@pytest.mark.parametrize("error", [JournalUnavailable("gone"), JournalFull("full")])
async def test_a_batch_is_sent_again_identical_until_there_is_an_answer(
    journal: Script, writer: GroupWriter, error: JournalError
) -> None:
    logs = await logs_of(journal, writer, 3)
    journal.before = [fail(error), fail(error)]
    journal.after = [fail(error), fail(error)]  # these were written and their answers lost
    await asyncio.gather(*(log.intent(intent(log)) for log in logs))
    assert len(journal.calls) == 5
    assert all(batches == journal.calls[0][1] for _, batches in journal.calls)
    for log in logs:
        assert await names(journal, log) == ["1"]


async def test_an_answer_lost_at_the_end_of_a_run(journal: Script, writer: GroupWriter) -> None:
    (log,) = await logs_of(journal, writer)
    journal.after = [fail(JournalUnavailable("gone"))]
    await log.end(Move(Status.ENDED, outcome="succeeded"), note(log, "end"))
    row = await journal.get_run("t", log.claim.run)
    assert row is not None
    assert (row.status, row.outcome) == (Status.ENDED, "succeeded")
    assert await names(journal, log) == ["end"]
    with pytest.raises(JournalError, match="given up"):
        log.add(note(log))


async def test_a_run_that_is_skipped_often_is_waited_for_alone(journal: Script) -> None:
    writer = GroupWriter(journal, WriterSettings(skips_before_blocking=2, linger_seconds=0))
    (log,) = await logs_of(journal, writer)
    journal.before = [all_skipped] * 3
    await log.intent(intent(log))
    assert [kind for kind, _ in journal.calls] == ["append", "append", "append", "blocking"]
    assert await names(journal, log) == ["1"]
    await writer.close()


async def test_a_locked_run_does_not_hold_up_the_others(journal: Script) -> None:
    writer = GroupWriter(journal, WriterSettings(skips_before_blocking=0, in_flight=1, linger_seconds=0))
    locked, free = await logs_of(journal, writer, 2)
    patient = asyncio.Event()
    plain = journal.append

    async def append(
        batches: Sequence[Batch], payloads: Sequence[Payload] = (), *, blocking: bool = False
    ) -> list[Applied]:
        if blocking:
            await patient.wait()
            return await plain(batches)
        through = iter(await plain([batch for batch in batches if batch.run != locked.claim.run]))
        return [Applied(Answer.SKIPPED) if batch.run == locked.claim.run else next(through) for batch in batches]

    journal.append = append  # type: ignore[method-assign]
    waiting = locked.intent(intent(locked))
    for step in range(5):
        await free.intent(intent(free, str(step)))
    assert not waiting.done()
    patient.set()
    await waiting
    assert await names(journal, locked) == ["1"]
    await writer.close()


async def test_a_lost_claim_fails_all_that_waits(journal: Script, writer: GroupWriter) -> None:
    old, mate = await logs_of(journal, writer, 2)
    lost: list[object] = []
    old.on_lost = lost.append
    row = await journal.get_run("t", old.claim.run)
    assert row is not None
    assert row.worker is not None
    await journal.retire(row.worker)
    other = new_id(CLOCK)
    await journal.enlist(other, "other", 1000)
    claims = await journal.claim(other, ["r"], 1)
    assert claims[0].run == old.claim.run
    waiting = [old.intent(intent(old)), old.add(note(old), waiter=True), mate.intent(intent(mate))]
    results = await asyncio.gather(*(future for future in waiting if future), return_exceptions=True)
    assert [type(result) for result in results] == [ClaimLost, ClaimLost, type(None)]
    assert len(lost) == 1
    old.add(note(old))
    with pytest.raises(ClaimLost):
        await old.intent(intent(old))
    assert await names(journal, old) == []


@pytest.mark.parametrize("stop", list(Stop))
async def test_a_refused_intent_leaves_no_gap(journal: Script, writer: GroupWriter, stop: Stop) -> None:
    log, mate = await logs_of(journal, writer, 2)
    flags: list[tuple[int, Stop | None]] = []
    log.on_flags = lambda letters, met: flags.append((letters, met))
    await journal.stop_run("t", log.claim.run, stop, "eve", "")
    log.add(note(log, "before"))
    refused = log.intent(intent(log, "call"))
    log.add(ToolOutcome(tenant="t", run=log.claim.run, agent="a", path="call"))  # of a free read, made at once
    after = log.add(note(log, "after"), waiter=True)
    await mate.intent(intent(mate))
    with pytest.raises(IntentRefused) as caught:
        await refused
    assert caught.value.stop is stop
    assert after is not None
    await after
    assert await names(journal, log) == ["before", "after"]
    assert flags
    assert all(met is stop for _, met in flags)
    assert writer.queued_events == 0


@pytest.mark.parametrize("status", [Status.ENDED, Status.PARKED])
async def test_what_may_follow_from_a_refused_call_is_not_written(
    journal: Script, writer: GroupWriter, status: Status
) -> None:
    (log,) = await logs_of(journal, writer)
    await journal.stop_run("t", log.claim.run, Stop.PAUSE, "eve", "")
    read = log.intent(intent(log, "0"))
    decided = NoteRecorded(tenant="t", run=log.claim.run, agent="a", path="1", name="decided")
    waiting = [read, log.add(decided, waiter=True), log.end(Move(status), note(log, "the end"))]
    results = await asyncio.gather(*(future for future in waiting if future), return_exceptions=True)
    assert [type(result) for result in results] == [IntentRefused] * 3
    await log.end(Move(Status.QUEUED), note(log, "handed back"))
    assert await names(journal, log) == ["handed back"]
    row = await journal.get_run("t", log.claim.run)
    assert row is not None
    assert row.status is Status.QUEUED


async def test_a_refused_intent_makes_no_child_and_consumes_no_letter(journal: Script, writer: GroupWriter) -> None:
    (log,) = await logs_of(journal, writer)
    await journal.deliver(Post("t", log.claim.run, "a", "message", b""))
    await journal.stop_run("t", log.claim.run, Stop.PAUSE, "eve", "")
    child = new_run()
    log.child(child)
    log.consume("a")
    with pytest.raises(IntentRefused):
        await log.intent(intent(log))
    assert await journal.get_run("t", child.id) is None
    assert len((await journal.letters([("t", log.claim.run)]))["t", log.claim.run]) == 1
    await log.end(Move(Status.QUEUED), note(log, "back"))
    assert (await journal.letters([("t", log.claim.run)]))["t", log.claim.run] == []


async def test_children_and_letters_go_with_the_next_event(journal: Script, writer: GroupWriter) -> None:
    (log,) = await logs_of(journal, writer)
    await journal.deliver(Post("t", log.claim.run, "a", "message", b""))
    await journal.deliver(Post("t", log.claim.run, "b", "message", b""))
    flags: list[int] = []
    log.on_flags = lambda letters, _stop: flags.append(letters)
    child = new_run()
    log.child(child)
    log.consume("a")
    await log.intent(intent(log))
    assert flags == [1]
    row = await journal.get_run("t", child.id)
    assert row is not None
    assert row.parent == log.claim.run


async def test_a_bad_event_fails_alone_and_takes_no_place(journal: Script) -> None:
    writer = GroupWriter(journal, WriterSettings(event_max_bytes=1000, linger_seconds=0))
    log, mate = await logs_of(journal, writer, 2)
    bad: list[tuple[str, str]] = []
    log.on_bad = lambda event, error: bad.append((type(event).__name__, error.code))
    log.add(note(log, "one"))
    large = log.add(note(log, "x" * 2000), waiter=True)
    strange = log.intent(intent(log, "\ud800"))
    log.add(note(log, "\udfff"))
    good = log.add(note(log, "two"), waiter=True)
    await mate.intent(intent(mate))
    assert large is not None
    assert good is not None
    with pytest.raises(EventTooLarge, match="EVENT_MAX_BYTES"):
        await large
    with pytest.raises(InputInvalid):
        await strange
    await good
    assert bad == [("NoteRecorded", "input_invalid")]
    assert await names(journal, log) == ["one", "two"]
    assert writer.queued_events == 0
    await writer.close()


async def test_what_the_store_refuses_is_found_and_dropped(journal: Script, writer: GroupWriter) -> None:
    log, mate = await logs_of(journal, writer, 2)
    first = log.add(note(log, "one"), waiter=True)
    log.consume("a\x00b")  # no store can hold it
    second = log.add(note(log, "two"), waiter=True)
    third = log.add(note(log, "three"), waiter=True)
    await mate.intent(intent(mate))
    results = await asyncio.gather(*(item for item in (first, second, third) if item), return_exceptions=True)
    assert [isinstance(result, JournalError) for result in results] == [False, True, False]
    assert await names(journal, log) == ["one", "three"]


async def test_an_error_that_is_no_answer_hits_its_cause_alone(journal: Script, writer: GroupWriter) -> None:
    (cursed,) = await logs_of(journal, writer, subject="cursed")
    (mate,) = await logs_of(journal, writer)
    cursed.payload(b"x")
    futures = cursed.intent(intent(cursed)), mate.intent(intent(mate))
    results = await asyncio.gather(*futures, return_exceptions=True)
    assert isinstance(results[0], JournalError)
    assert results[1] is None
    assert await names(journal, mate) == ["1"]


async def test_payloads_go_with_the_events_that_name_them_and_once(journal: Script, writer: GroupWriter) -> None:
    (log,) = await logs_of(journal, writer)
    text = b"a long conversation " * 50
    ref = log.payload(text)
    assert log.payload(text) == ref
    assert ref_address(ref) == address(log.claim.subject_key, text)
    assert writer.queued_bytes > 0
    foreign = make_payload("t", "other", b"f" * 32, b"input of a child")
    log.foreign_payload(foreign)

    journal.before = [fail(JournalUnavailable("away"))]
    await log.intent(intent(log))
    assert [len(group) for group in journal.stored] == [2]
    assert len(journal.stored[0][0].data) < len(text)
    log.payload(text)
    await log.flush()
    assert len(journal.stored) == 1
    reader = PayloadReader(journal)
    assert await reader.read("t", log.claim.subject, ref_address(ref)) == text
    assert await reader.read("t", "other", foreign.address) == b"input of a child"
    assert writer.queued_bytes == 0


async def test_nothing_guessable_is_recorded_of_an_erased_subject(journal: Script, writer: GroupWriter) -> None:
    (log,) = await logs_of(journal, writer)
    await journal.erase_subject("t", log.claim.subject)
    await log.end(Move(Status.QUEUED), note(log))
    await journal.enlist(worker := new_id(CLOCK), "next", 1000)
    (claim,) = await journal.claim(worker, ["r"], 1)
    assert claim.subject_key == b""
    again = RunLog(claim, writer)
    where = ref_address(again.payload(b"yes"))
    assert where not in (address(b"", b"yes"), address(log.claim.subject_key, b"yes"))
    await again.flush()
    assert await journal.get_payloads("t", claim.subject, [where]) == {}


async def test_a_payload_over_its_bound_is_refused_at_once(journal: Script) -> None:
    writer = GroupWriter(journal, WriterSettings(payload_max_bytes=10))
    (log,) = await logs_of(journal, writer)
    with pytest.raises(InputTooLarge, match="PAYLOAD_MAX_BYTES"):
        log.payload(b"x" * 11)
    await writer.close()


async def test_the_row_never_understates_the_open_intents(journal: Script, writer: GroupWriter) -> None:
    (log,) = await logs_of(journal, writer)
    log.summary = Summary(steps=3)

    async def shown() -> tuple[int, int]:
        row = await journal.get_run("t", log.claim.run)
        assert row is not None
        return row.summary.steps, row.summary.open_intents

    model = ModelIntent(tenant="t", run=log.claim.run, agent="a", model="m", digest="d", path="2")
    await asyncio.gather(log.intent(intent(log, "1")), log.intent(model))
    assert await shown() == (3, 2)
    log.add(ToolOutcome(tenant="t", run=log.claim.run, agent="a", path="1"))
    await log.flush()
    assert await shown() == (3, 1)
    log.summary = lambda: Summary(steps=4, open_intents=5)  # those of an earlier claim
    log.add(ModelOutcome(tenant="t", run=log.claim.run, agent="a", path="2"))
    await log.flush()
    assert await shown() == (4, 5)


async def test_a_holders_mistake_does_not_reach_other_runs(journal: Script, writer: GroupWriter) -> None:
    noisy, broken, mate = await logs_of(journal, writer, 3)
    reported: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context["message"]))

    def mistake(*_: object) -> Summary:
        raise ZeroDivisionError

    noisy.on_flags = mistake  # type: ignore[assignment]
    broken.summary = mistake
    await journal.deliver(Post("t", noisy.claim.run, "a", "message", b""))
    futures = [log.intent(intent(log)) for log in (noisy, broken, mate)]
    results = await asyncio.gather(*futures, return_exceptions=True)
    assert [type(result) for result in results] == [type(None), JournalError, type(None)]
    assert [str(noisy.claim.run) in words for words in reported] == [True]
    assert await names(journal, noisy) == await names(journal, mate) == ["1"]


async def test_what_a_run_waits_for_is_written_without_an_event(journal: Script, writer: GroupWriter) -> None:
    (log,) = await logs_of(journal, writer)
    log.set_waiting(b'[{"kind":"timer","path":"1"}]')
    await log.flush()
    row = await journal.get_run("t", log.claim.run)
    assert row is not None
    assert (row.waiting, row.last_seq) == (b'[{"kind":"timer","path":"1"}]', 1)


async def test_room_waits_until_the_queue_is_short_again(journal: Script) -> None:
    writer = GroupWriter(journal, WriterSettings(log_max_events=10, queue_max_events=15, linger_seconds=0))
    log, mate = await logs_of(journal, writer, 2)
    journal.open.clear()
    await log.room()
    for step in range(10):
        log.add(note(log, str(step)))
    waiting = asyncio.create_task(log.room())
    await mate.room()
    for step in range(5):
        mate.add(note(mate, str(step)))
    mates = asyncio.create_task(mate.room())
    await _settled(lambda: len(journal.calls) == 1)
    assert not waiting.done()
    assert not mates.done(), "the writer's own bound"
    journal.open.set()
    await asyncio.wait_for(asyncio.gather(waiting, mates), 5)
    await writer.close()


async def test_close_writes_what_was_added(journal: Script) -> None:
    writer = GroupWriter(journal, QUICK)
    logs = await logs_of(journal, writer, 10)
    for log in logs:
        log.add(note(log, "last"))
    await writer.close()
    for log in logs:
        assert await names(journal, log) == ["last"]


async def test_close_does_not_wait_for_ever(journal: Script) -> None:
    writer = GroupWriter(journal, QUICK)
    (log,) = await logs_of(journal, writer)
    journal.before = [fail(JournalUnavailable("gone"))] * 10_000
    waiting = log.intent(intent(log))
    await writer.close(0.05)
    with pytest.raises(JournalUnavailable):
        await waiting
    with pytest.raises(JournalUnavailable):
        await log.intent(intent(log))


async def test_a_waiter_that_gives_up_takes_nothing_back(journal: Script, writer: GroupWriter) -> None:
    (log,) = await logs_of(journal, writer)
    journal.open.clear()
    waiting = log.intent(intent(log))
    await _settled(lambda: len(journal.calls) == 1)
    waiting.cancel()
    journal.open.set()
    await log.flush()
    assert await names(journal, log) == ["1"]


async def _settled(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0)
