"""`@tool(preview=…)`: read once, just before a person is asked; recorded with the question; never in replay's way."""

import asyncio
import dataclasses
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import msgspec
import pytest
from tests.sim.tapes import TENANT, Tape, go_on, open_on

from penstock import Change, IdempotencyKey, OutcomeUnknown, Run, Settings, Tool, ToolContext, agent, tool
from penstock.adapters.memory import MemoryJournal
from penstock.events import ApprovalDecided, ApprovalRequested, Preview, ToolIntent, ToolOutcome
from penstock.gates.tool import preview as gate
from penstock.kernel.canonical import stable_json
from penstock.kernel.errors import CallDenied, TimedOut, ToolInvalid
from penstock.ports.questions import EXPIRED
from penstock.runs.replaying.replay import replay

QUICK = Settings(poll_seconds=0.01, drain_seconds=0.1, start_allowance_seconds=0.2, doubt_margin_seconds=0.1)
looks: list[ToolContext] = []
paid: list[int] = []


@pytest.fixture(autouse=True)
def _nothing_yet() -> None:
    looks.clear()
    paid.clear()


async def before(order: str, cents: int, context: ToolContext) -> list[Change]:
    """Takes some of the tool's arguments."""
    looks.append(context)
    return [Change(f"order {order}: refunded", "$0.00", f"${cents / 100:.2f}")]


@tool(effect="write", risk="high", in_doubt="keyed", preview=before)
async def refund(order: str, cents: int, note: str = "", *, key: IdempotencyKey) -> str:
    """Pays."""
    paid.append(cents)
    return "paid"


@agent("payer", version="1")
async def payer(run: Run, cents: int) -> Any:
    try:
        return await run.call(refund, "1182", cents)
    except CallDenied as error:
        return error.code


def one(preview: Any, **declared: Any) -> tuple[Tool[..., Any], Any]:
    """A tool with that preview, and an agent that calls it once."""

    @tool(effect="write", risk="high", in_doubt="idempotent", preview=preview, **declared)
    async def act(x: int) -> str:
        """Acts."""
        paid.append(x)
        return "done"

    @agent("actor", version="1")
    async def code(run: Run, x: int) -> Any:
        return await run.call(act, x)

    return act, code


def yes(_: Any) -> str:
    return "approve"


async def live(code: Any, value: Any = 7, *, person: Any = yes, settings: Settings = QUICK) -> Tape:
    journal = MemoryJournal()
    async with open_on(journal, [code], settings=settings, person=person) as platform:
        run = await platform.submit(code, value)
        await platform.result(run, timeout_seconds=60)
    tape = Tape(run, journal)
    tape.verify()
    return tape


def of(tape: Tape, kind: Any) -> list[Any]:
    return [event for event in tape.events if isinstance(event, kind)]


def recorded(tape: Tape) -> Preview:
    """What was recorded with the only question."""
    [asked] = of(tape, ApprovalRequested)
    [ref] = asked.payloads["preview"]
    return msgspec.json.decode(tape.payload_bytes(ref), type=Preview)


async def test_what_will_change_is_read_once_and_recorded_with_the_question() -> None:
    tape = await live(payer, 4900)
    assert tape.output()[0] == "succeeded"
    assert recorded(tape) == Preview([Change("order 1182: refunded", "$0.00", "$49.00")])
    assert (len(looks), paid) == (1, [4900])
    [context] = looks
    assert (context.path, context.attempt, context.key, context.timeout_seconds) == ("0", 0, "", 5.0)
    assert (tape.end.totals.tool_calls, tape.end.totals.attempts) == (1, 1), "it is no attempt"
    assert [event.attempt for event in of(tape, ToolIntent)] == [1]


async def test_replay_reaches_the_same_events_and_does_not_look() -> None:
    tape = await live(payer, 4900)
    async with open_on(tape.journal, [payer], settings=QUICK) as platform:
        row = await platform.journal.get_run(TENANT, tape.run)
        assert row is not None
        assert (await replay(platform.services, row, [payer])).same
        for upto in range(2, len(tape.rows)):
            assert (await replay(platform.services, row, [payer], upto=upto)).same
    assert (len(looks), paid) == (1, [4900])


async def test_after_a_crash_it_is_read_again_only_if_the_question_was_not_yet_recorded() -> None:
    tape = await live(payer, 4900)
    asked = tape.events.index(of(tape, ApprovalRequested)[0])
    for count in range(1, len(tape.rows)):
        looks.clear()
        again = await go_on(tape, count, [payer], person=yes, settings=QUICK)
        assert again.output()[0] == "succeeded"
        assert recorded(again) == recorded(tape), "there is one question"
        assert len(looks) == (1 if count <= asked else 0)


async def test_a_tool_without_one_is_asked_about_as_ever() -> None:
    _, code = one(None)
    tape = await live(code)
    [asked] = of(tape, ApprovalRequested)
    assert set(asked.payloads) == {"args"}


async def broken(x: int) -> list[Change]:
    raise LookupError(f"there is no order {x}")


async def leaves(x: int) -> list[Change]:
    raise SystemExit(3)


async def gives_up(x: int) -> list[Change]:
    raise asyncio.CancelledError


async def hangs(x: int) -> list[Change]:
    await asyncio.sleep(3600)
    return []


def returning(value: Any) -> Callable[..., Any]:
    async def read(x: int) -> Any:
        return value() if callable(value) else value

    return read


def without_end() -> Iterator[Change]:
    while True:
        yield Change("a", "b", "c")


def breaks_off() -> Iterator[Change]:
    yield Change("a", "b", "c")
    raise LookupError("the line went dead")


async def never_asked() -> AsyncIterator[Change]:
    yield Change("a", "b", "c")


@pytest.mark.parametrize(
    ("preview", "why"),
    [
        (broken, "its preview failed: LookupError: there is no order 7"),
        (leaves, "its preview failed: RuntimeError: the tool raised SystemExit"),
        (gives_up, "its preview failed: OutcomeUnknown: the tool cancelled itself"),
        (hangs, "its preview failed: no answer within 0.05 s"),
        (returning(None), "its preview returned NoneType, not a sequence of changes"),
        (returning("refunded: $49.00"), "its preview returned str, not a sequence of changes"),
        (returning({"what": "x"}), "its preview returned dict, not a sequence of changes"),
        (returning(never_asked), "its preview returned async_generator, not a sequence of changes"),
        (returning([("a", "b", "c")]), "its preview returned tuple among the changes"),
        (returning([Change("a", 0, "c")]), "its preview returned a change whose before is int, not text"),  # type: ignore[arg-type]
        (returning([Change("a", "b", "c")] * 51), "its preview named more than 50 changes"),
        (returning(without_end), "its preview named more than 50 changes"),
        (returning(breaks_off), "its preview failed: LookupError: the line went dead"),
        (returning([Change("a", "b", "c" * 2001)]), "its preview returned a text of more than 2,000 bytes"),
        (returning([Change("a", "b", "é" * 1001)]), "its preview returned a text of more than 2,000 bytes"),
    ],
)
async def test_one_that_cannot_say_leaves_the_question_without_the_state_before(preview: Any, why: str) -> None:
    _, code = one(preview, timeout_seconds=0.05)
    tape = await live(code)
    assert recorded(tape) == Preview(unknown=why)
    assert (tape.output()[0], paid) == ("succeeded", [7])


async def test_as_much_as_may_be_is_kept_whole_and_what_cannot_be_stored_is_escaped() -> None:
    many = [Change(f"{number}", "é" * 1000, "c" * 2000) for number in range(50)]
    _, code = one(returning(many))
    assert recorded(await live(code)).changes == many
    _, code = one(returning([Change("nul \x00", "lone \ud800", "\u202egpj.exe")]))
    assert recorded(await live(code)).changes == [Change("nul \\0", "lone \\ud800", "\u202egpj.exe")]


async def test_more_than_a_payload_may_have_is_unknown() -> None:
    many = [Change(f"{number}", "b" * 2000, "c" * 2000) for number in range(50)]
    _, code = one(returning(many))
    size = 65_536
    small = dataclasses.replace(QUICK, payload_max_bytes=size, input_max_bytes=size, document_max_bytes=size)
    tape = await live(code, settings=small)
    assert recorded(tape).unknown == "its preview is larger than a payload may be"
    assert tape.output()[0] == "succeeded"


async def test_nothing_to_change_is_said_too() -> None:
    _, code = one(returning([]))
    assert recorded(await live(code)) == Preview()


async def test_a_synchronous_one_runs_outside_the_loop_and_may_yield() -> None:
    threads: list[str] = []

    def numbers(x: int) -> Any:
        def each() -> Iterator[Change]:
            threads.append(threading.current_thread().name)
            yield Change("x", "0", str(x))

        return each()

    _, code = one(numbers)
    assert recorded(await live(code)).changes == [Change("x", "0", "7")]
    assert threads[0].startswith("penstock-read")


async def test_a_synchronous_one_that_hangs_is_left_to_itself() -> None:
    over = threading.Event()

    def waits(x: int) -> list[Change]:
        over.wait(30)
        return []

    _, code = one(waits, timeout_seconds=0.05)
    try:
        tape = await live(code)
    finally:
        over.set()
    assert recorded(tape).unknown == "its preview failed: no answer within 0.05 s"
    assert tape.output()[0] == "succeeded"


async def test_it_has_five_seconds_at_most_and_never_more_than_its_tool() -> None:
    had: list[float] = []

    async def read(x: int, context: ToolContext) -> list[Change]:
        had.append(context.timeout_seconds)
        return []

    for seconds in (30, 2):
        await live(one(read, timeout_seconds=seconds)[1])
    assert had == [gate.PREVIEW_MAX_SECONDS, 2.0]


async def test_a_kill_does_not_wait_for_it_and_nobody_is_asked() -> None:
    began = asyncio.Event()

    async def slow(x: int) -> list[Change]:
        began.set()
        await asyncio.sleep(3600)
        return []

    _, code = one(slow)
    journal = MemoryJournal()
    async with open_on(journal, [code], settings=QUICK, person=None) as platform:
        run = await platform.submit(code, 7)
        await asyncio.wait_for(began.wait(), 20)
        await platform.kill(run, actor="ann")
        result = await platform.result(run, timeout_seconds=4)  # less than it has
    assert result.outcome == "killed"
    assert of(Tape(run, journal), ApprovalRequested) == []
    assert paid == []


async def test_a_time_out_around_the_call_cuts_it_short_and_replays() -> None:
    act, _ = one(hangs)

    @agent("bounded", version="1")
    async def code(run: Run, x: int) -> Any:
        try:
            return await run.timeout(0.05, run.call(act, x))
        except TimedOut as error:
            return ["timed out", error.fields["took_effect"]]

    tape = await live(code, person=None)
    assert tape.output()[3] == ["timed out", []]
    assert of(tape, ApprovalRequested) == []
    again = await go_on(tape, len(tape.rows) - 1, [code], person=None)
    assert again.output() == tape.output()
    assert len(again.rows) == len(tape.rows) + 1, "only a claim is added"


async def test_a_question_whether_something_happened_has_none() -> None:
    async def read(x: int) -> list[Change]:
        looks.append(x)  # type: ignore[arg-type]
        return []

    @tool(effect="write", permission="auto", in_doubt="escalate", timeout_seconds=0.1, preview=read)
    async def act(x: int) -> str:
        """Its answer is lost."""
        raise OutcomeUnknown("the line went dead")

    @agent("unsure", version="1")
    async def code(run: Run, x: int) -> Any:
        return await run.call(act, x)

    tape = await live(code, person=lambda _: "happened")
    [asked] = of(tape, ApprovalRequested)
    assert (asked.question, set(asked.payloads), looks) == ("did_it_happen", {"args"}, [])


async def test_the_decision_is_bound_to_the_call_and_not_to_what_was_found() -> None:
    digests = {
        of(await live(one(preview)[1]), ApprovalRequested)[0].digest for preview in (None, returning([]), broken)
    }
    assert len(digests) == 1
    assert len({one(preview)[0].definition.digest for preview in (None, broken)}) == 1, "no other release"


async def test_what_was_erased_is_unknown() -> None:
    journal = MemoryJournal()
    async with open_on(journal, [payer], settings=QUICK, person=None) as platform:
        await platform.submit(payer, 4900)
        async with asyncio.timeout(20):
            while not (asked := await platform.approvals()):
                await asyncio.sleep(0.005)
        known = await platform.preview(asked[0])
        assert known == Preview([Change("order 1182: refunded", "$0.00", "$49.00")])
        await journal.erase_subject(TENANT, asked[0].subject)
        gone = await platform.preview(asked[0])
        assert gone == Preview(unknown="what it said was erased with its subject, or lost")
        assert await platform.preview(dataclasses.replace(asked[0], preview_ref="")) is None


def test_the_stored_form_stays_readable() -> None:
    body = b'{"changes":[{"after":"$49.00","before":"$0.00","what":"order 1182: refunded"}]}'
    assert msgspec.json.decode(body, type=Preview) == Preview([Change("order 1182: refunded", "$0.00", "$49.00")])
    assert stable_json(Preview([Change("order 1182: refunded", "$0.00", "$49.00")])) == body
    assert stable_json(Preview(unknown="why")) == b'{"unknown":"why"}'


async def takes_more(x: int, y: int) -> list[Change]:
    return []


async def takes_a_key(x: int, key: IdempotencyKey) -> list[Change]:
    return []


async def takes_anything(**args: Any) -> list[Change]:
    return []


def generates(x: int) -> Iterator[Change]:
    yield Change("a", "b", "c")


@pytest.mark.parametrize(
    ("preview", "what"),
    [
        (takes_more, "takes 'y', which the tool does not"),
        (takes_a_key, "takes a key"),
        (takes_anything, r"has the parameter \*\*args"),
        (generates, "is a generator"),
        (never_asked, "is a generator"),
    ],
)
def test_a_preview_that_could_not_be_called_is_refused_when_it_is_declared(preview: Any, what: str) -> None:
    with pytest.raises(ToolInvalid, match=what):
        one(preview)


async def test_that_nobody_decided_in_time_is_remembered() -> None:
    _, code = one(None, approval_seconds=0.05)
    journal = MemoryJournal()
    async with open_on(journal, [code], settings=QUICK, person=None) as platform:
        run = await platform.submit(code, 7)
        await platform.result(run, timeout_seconds=20)
        [decided] = of(Tape(run, journal), ApprovalDecided)
        [known] = await journal.questions.like(TENANT, "actor", "act", "may_run", 10)
    assert (decided.decision, known.decision, known.approval, known.run) == ("expired", EXPIRED, decided.approval, run)
    assert (known.actor, known.at > known.asked_at > 0) == ("penstock", True)
    assert of(Tape(run, journal), ToolOutcome) == []
