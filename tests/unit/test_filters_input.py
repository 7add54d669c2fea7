"""Filters on what runs are given: before it is stored, and before it is recorded."""

import asyncio
import itertools
import re
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from penstock import Agent, Classified, Filters, Penstock, Run, Settings, agent, tool
from penstock.adapters.memory import MemoryJournal
from penstock.events import (
    ApprovalDecided,
    ChildOutcome,
    Event,
    Filtered,
    MessageReceived,
    ModelIntent,
    RunSubmitted,
    WaitEnded,
    encode,
)
from penstock.journal.decisions import DecisionKeys
from penstock.journal.notes import SigningKey
from penstock.journal.payloads import unpack
from penstock.kernel.errors import FiltersInvalid, IdempotencyConflict, WaitFailed
from penstock.ports.classifiers import Finding
from penstock.ports.records import Status
from penstock.rules.filters.filters import read_filters
from penstock.runs.replaying.replay import replay
from penstock.testing import ScriptedModel, tool_call
from penstock.views.trace import read_events
from penstock.wiring import open_in_memory

CARD, MAIL = "4111 1111 1111 1111", "ada@acme.example"
_numbers = itertools.count()
sent: list[str] = []


@pytest.fixture(autouse=True)
def anew() -> None:
    sent.clear()


@pytest.fixture
async def platform() -> AsyncIterator[Penstock]:
    async with open_in_memory(Settings(poll_seconds=0.01)) as opened:
        yield opened


@tool(effect="write", permission="auto", in_doubt="idempotent", reveals=["to"], grounded=["to"], repeatable=True)
async def send(to: str) -> str:
    """Sends."""
    sent.append(to)
    return f"sent to {to}"


@tool(effect="read", returns="untrusted")
async def look() -> str:
    """Looks."""
    return "a page that anybody may have written"


def helper(answers: Sequence[Any], filters: Filters | None, **options: Any) -> Agent:
    model = ScriptedModel(list(answers), "main")
    tools: list[Any] = [look, send]
    return Agent(f"given-{next(_numbers)}", model=model, instructions="Help.", tools=tools, filters=filters, **options)


def echo(filters: Filters | None, kind: Any = Any) -> Any:
    async def given(run: Run, value: kind) -> Any:
        return value

    given.__annotations__["value"] = kind
    return agent(f"echo-{next(_numbers)}", version="1", filters=filters)(given)


async def go(platform: Penstock, definition: Any, value: Any, **options: Any) -> tuple[Any, list[Event]]:
    run = await platform.submit(definition, value, **options)
    result = await platform.result(run, timeout_seconds=20)
    events = list(await read_events(platform.journal, platform.tenant, run))
    row = await platform.journal.get_run(platform.tenant, run)
    assert row is not None
    assert (await replay(platform.services, row, [definition])).same
    return result, events


def stored(platform: Penstock, events: Sequence[Event] = ()) -> bytes:
    """Everything that the journal holds."""
    assert isinstance(platform.journal, MemoryJournal)
    payloads = [payload for held in platform.journal._store.payloads.values() for payload in held.values()]
    return b"".join([*map(encode, events), *map(unpack, payloads)])


def submitted(events: Sequence[Event]) -> RunSubmitted:
    assert isinstance(events[0], RunSubmitted)
    return events[0]


async def test_what_is_redacted_from_an_input_is_stored_nowhere_and_no_model_sees_it(platform: Penstock) -> None:
    definition = helper(["ok"], Filters(input={"card": "redact", "email": "flag"}))
    result, events = await go(platform, definition, f"charge {CARD} and tell {MAIL}")
    assert result.output == "ok"
    assert isinstance(definition.model, ScriptedModel)
    assert definition.model.calls[0].messages[-1].text == f"charge [card] and tell {MAIL}"
    assert submitted(events).filtered == [Filtered("card", "redact"), Filtered("email", "flag")]
    assert CARD.encode() not in stored(platform, events)


async def test_a_blocked_input_ends_the_run_before_any_model_is_asked(platform: Penstock) -> None:
    result, events = await go(platform, helper(["never"], Filters(input={"card": "block"})), f"charge {CARD}")
    assert (result.outcome, result.code) == ("refused", "filter_blocked")
    assert "the input was withheld: card (1)" in result.reason
    assert not any(isinstance(event, ModelIntent) for event in events)
    assert CARD.encode() not in stored(platform, events)


async def test_a_token_in_the_input_is_revealed_to_the_tool_that_may_and_counts_as_asked_for(
    platform: Penstock,
) -> None:
    def to_the_token(request: Any) -> Any:
        return tool_call("send", to=re.search(r"tok_email_\w+", request.messages[1].text)[0])  # type: ignore[index]

    said: Any = {"email": "tokenise"}
    filters = Filters(input=said, results=said, after_untrusted="deny")
    definition = helper([tool_call("look"), to_the_token, "done"], filters)
    result, events = await go(platform, definition, f"write to {MAIL}")
    assert (result.outcome, sent) == ("succeeded", [MAIL])
    assert MAIL.encode() not in stored(platform, events)
    stranger = tool_call("send", to="eve@evil.example")
    definition = helper([tool_call("look"), stranger, "done"], filters)
    await go(platform, definition, f"write to {MAIL}")
    assert sent == [MAIL]


async def test_everywhere_does_not_mean_the_input_and_a_setting_can(platform: Penstock) -> None:
    result, _ = await go(platform, echo(Filters({"card": "block"})), CARD)
    assert result.output == CARD
    for setting, expected in (("card=redact", CARD), ("input:card=redact", "[card]")):
        async with open_in_memory(Settings(poll_seconds=0.01, filters=setting)) as other:
            assert (await go(other, echo(None), CARD))[0].output == expected
    with pytest.raises(FiltersInvalid, match="place:kind"):
        read_filters("nowhere:card=redact")
    assert Filters({"card": "redact"}).part == Filters({"card": "redact"}, input=None).part
    assert Filters({"card": "redact"}).part != Filters({"card": "redact"}, input={}).part


async def test_an_input_that_no_longer_fits_its_type_is_blocked(platform: Penstock) -> None:
    result, events = await go(
        platform, echo(Filters(input={"card": "redact"}), dict[str, int]), {"n": 4111111111111111}
    )
    assert (result.outcome, result.code) == ("refused", "filter_blocked")
    assert "card, without which it is no input" in result.reason
    assert b"4111111111111111" not in stored(platform, events)


async def test_the_same_request_is_known_again_whatever_its_tokens_are(platform: Penstock) -> None:
    definition = echo(Filters(input={"email": "tokenise"}))
    first = await platform.submit(definition, MAIL, key="a")
    assert await platform.submit(definition, MAIL, key="a") == first
    with pytest.raises(IdempotencyConflict):
        await platform.submit(definition, f"{MAIL} and more", key="a")


class Judge:
    """Finds one word, or fails."""

    name = "judge-1"

    def __init__(self, fails: Exception | None = None) -> None:
        self.fails = fails

    async def classify(self, text: str) -> list[Finding]:
        if self.fails is not None:
            raise self.fails
        at = text.find("ghastly")
        return [] if at < 0 else [Finding(at, at + 7, "abuse", 0.9)]


@pytest.mark.parametrize(
    ("judge", "value", "expected"),
    [
        (Judge(), "a ghastly day", "a [abuse] day"),
        (Judge(), ["a ghastly day"], None),
        (Judge(), ["a fine day"], ["a fine day"]),
        (Judge(OSError("away")), "a ghastly day", None),
    ],
)
async def test_classifiers_are_asked_where_input_is_said(
    platform: Penstock, judge: Judge, value: Any, expected: Any
) -> None:
    asked = [Classified(judge, {"abuse": "redact"})]
    result, events = await go(platform, echo(Filters(input={}, classifiers=asked)), value)
    assert (result.output if result.ok else None) == expected
    assert (result.code == "filter_blocked") == (expected is None)
    assert b"ghastly" not in stored(platform, events)
    assert (await go(platform, echo(Filters(classifiers=asked)), value))[0].output == value


@pytest.mark.parametrize("is_late", [False, True])
async def test_events_are_filtered_before_they_are_recorded(platform: Penstock, *, is_late: bool) -> None:
    """Also those that come before they are waited for, and are recorded as the run is put away."""

    @agent(f"taker-{next(_numbers)}", version="1", filters=Filters(input={"card": "redact", "secret": "block"}))
    async def taker(run: Run, names: list[str]) -> list[Any]:
        taken = []
        for name in names:
            try:
                taken.append(await run.wait_event(name))
            except WaitFailed as error:
                taken.append(error.code)
        return taken

    run = await platform.submit(taker, ["go", "paid", "key"])
    if is_late:
        await parked(platform, run)
    await platform.send_event(run, "key", "password=hunter22!x")
    await platform.send_event(run, "go", 1)
    if is_late:
        await recorded(platform, run, MessageReceived)
    await platform.send_event(run, "paid", {"by": CARD})
    result = await platform.result(run, timeout_seconds=20)
    assert result.output == [1, {"by": "[card]"}, "filter_blocked"]
    events = list(await read_events(platform.journal, platform.tenant, run))
    ends = [event for event in events if isinstance(event, WaitEnded)]
    assert [event.status for event in ends] == ["received", "received", "withheld"]
    assert ends[1].filtered == [Filtered("card", "redact")]
    assert CARD.encode() not in stored(platform, events)
    assert b"hunter22" not in stored(platform, events)
    row = await platform.journal.get_run(platform.tenant, run)
    assert row is not None
    assert (await replay(platform.services, row, [taker])).same


async def recorded(platform: Penstock, run: Any, kind: type[Event]) -> None:
    async with asyncio.timeout(10):
        while not any(isinstance(event, kind) for event in await read_events(platform.journal, platform.tenant, run)):
            await asyncio.sleep(0.01)


async def parked(platform: Penstock, run: Any) -> None:
    async with asyncio.timeout(10):
        while (await platform.journal.get_run(platform.tenant, run)).status is not Status.PARKED:  # type: ignore[union-attr]
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("is_signed", [False, True])
@pytest.mark.parametrize(("action", "expected"), [("redact", "call [phone]"), ("block", "[withheld]")])
async def test_what_a_person_answers_is_filtered(
    platform: Penstock, action: Any, expected: str, *, is_signed: bool
) -> None:
    """Also where their words are signed: they are held against the signature as they came."""
    if is_signed:
        platform.services.decisions = DecisionKeys(SigningKey.from_seed(b"k" * 32))

    @agent(f"asker-{next(_numbers)}", version="1", filters=Filters(input={"phone": action}))
    async def asker(run: Run, _: str) -> str:
        return await run.ask_person("whom?")

    run = await platform.submit(asker, "x")
    async with asyncio.timeout(10):
        while not (waiting := await platform.approvals()):
            await asyncio.sleep(0.01)
    await platform.decide(waiting[0], "answer", actor="ben", reason="call +49 30 901820")
    assert (await platform.result(run, timeout_seconds=20)).output == expected
    events = list(await read_events(platform.journal, platform.tenant, run))
    (decided,) = [event for event in events if isinstance(event, ApprovalDecided)]
    assert decided.filtered == [Filtered("phone", action)]
    assert (decided.signed is not None) == is_signed
    assert b"901820" not in stored(platform, events)


async def test_what_a_parent_gives_its_child_passes_the_childs_filters(platform: Penstock) -> None:
    child = echo(Filters(input={"card": "redact", "secret": "block"}))

    @agent(f"parent-{next(_numbers)}", version="1")
    async def parent(run: Run, value: str) -> Any:
        return await run.call(child, value)

    result, _ = await go(platform, parent, f"pay with {CARD}")
    assert result.output == "pay with [card]"
    result, events = await go(platform, parent, "password=hunter22!x")
    assert result.code == "child_failed"
    (outcome,) = [event for event in events if isinstance(event, ChildOutcome)]
    assert (outcome.outcome, outcome.code) == ("refused", "filter_blocked")
