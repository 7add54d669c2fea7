"""Filters where calls are live: what models and tools say, what tools are given, and what is on the tape of it."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

import msgspec
import pytest

from penstock import Agent, CacheFor, Classified, Filters, Penstock, Run, Settings, ToolContext, agent, tool
from penstock.adapters.memory import MemoryJournal
from penstock.events import Event, Filtered, ModelOutcome, ToolIntent, ToolOutcome, VerdictRecorded, encode
from penstock.events.messages import Message, Text, Thinking, ToolCall
from penstock.journal.payloads import unpack
from penstock.kernel.errors import CallDenied, FiltersInvalid, ToolFailed, ToolInvalid
from penstock.ports.classifiers import Finding
from penstock.ports.live import Piece
from penstock.ports.model import ModelResponse
from penstock.runs.replaying.replay import replay
from penstock.testing import ScriptedModel, tool_call
from penstock.views.trace import read_events
from penstock.wiring import open_in_memory

CARD, MAIL = "4111 1111 1111 1111", "ada@acme.example"


class World:
    """What is outside: what tools were called with, and what they say."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.says: Any = f"{MAIL} pays with {CARD}"


world = World()


@pytest.fixture(autouse=True)
def anew() -> None:
    world.__init__()  # type: ignore[misc]


@pytest.fixture
async def platform() -> AsyncIterator[Penstock]:
    async with open_in_memory(Settings(poll_seconds=0.01)) as opened:
        yield opened


@tool(effect="read", repeatable=True)
async def look() -> Any:
    """Looks."""
    if isinstance(world.says, Exception):
        raise world.says
    return world.says


@tool(effect="write", permission="auto", in_doubt="idempotent", reveals=["to"], repeatable=True)
async def send(to: str, text: str) -> str:
    """Sends."""
    world.sent.append((to, text))
    return f"sent to {to}"


@tool(effect="write", permission="auto", in_doubt="idempotent", repeatable=True)
async def note(text: str) -> str:
    """Writes down."""
    world.sent.append(text)
    return "noted"


_numbers = itertools.count()


def helper(answers: Sequence[Any], filters: Filters | None = None, name: str = "", **options: Any) -> Agent:
    model = ScriptedModel(list(answers), "main")
    return Agent(
        name or f"helper-{next(_numbers)}",
        model=model,
        instructions="Help.",
        tools=[look, send, note],
        filters=filters,
        **options,
    )


async def go(platform: Penstock, definition: Any, value: Any = "go", **options: Any) -> tuple[Any, list[Event]]:
    run = await platform.submit(definition, value, **options)
    result = await platform.result(run, timeout_seconds=20)
    return result, list(await read_events(platform.journal, platform.tenant, run))


async def replays(platform: Penstock, run: UUID, definition: Any) -> bool:
    row = await platform.journal.get_run(platform.tenant, run)
    assert row is not None
    return (await replay(platform.services, row, [definition])).same


def found(events: Sequence[Event], kind: type[Event]) -> list[list[Filtered]]:
    return [event.filtered for event in events if isinstance(event, kind)]  # type: ignore[attr-defined]


def stored(platform: Penstock, events: Sequence[Event]) -> bytes:
    """Everything that the journal holds: events, and payloads as they are read."""
    assert isinstance(platform.journal, MemoryJournal)
    payloads = [payload for held in platform.journal._store.payloads.values() for payload in held.values()]
    return b"".join([*map(encode, events), *map(unpack, payloads)])


async def test_what_a_model_says_is_filtered_before_the_agent_and_the_journal_have_it(platform: Penstock) -> None:
    result, events = await go(platform, helper([f"Card {CARD}, mail {MAIL}."], Filters({"card": "redact"})))
    assert result.output == f"Card [card], mail {MAIL}."
    assert found(events, ModelOutcome) == [[Filtered("card", "redact")]]
    assert CARD.encode() not in stored(platform, events)
    assert MAIL.encode() in stored(platform, events)


async def test_without_filters_nothing_is_changed_and_a_setting_says_what_the_default_is() -> None:
    for setting, expected in (("", f"Card {CARD}."), ("card=redact", "Card [card].")):
        async with open_in_memory(Settings(poll_seconds=0.01, filters=setting)) as platform:
            assert (await go(platform, helper([f"Card {CARD}."])))[0].output == expected
            assert (await go(platform, helper([f"Card {CARD}."], Filters())))[0].output == f"Card {CARD}."


async def test_a_setting_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(FiltersInvalid, match="kind=action"):
        async with open_in_memory(Settings(filters="card redact")):
            pass


async def test_an_answer_that_is_blocked_ends_the_call_and_costs_what_it_used(platform: Penstock) -> None:
    result, events = await go(platform, helper(["the password is hunter22!"], Filters({"secret": "block"})))
    assert (result.outcome, result.code) == ("failed", "model_failed")
    assert "withheld: secret (1)" in result.reason
    (outcome,) = [event for event in events if isinstance(event, ModelOutcome)]
    assert outcome.failure is not None
    assert (outcome.failure.code, outcome.at_maximum) == ("filter_blocked", False)
    assert 0 < outcome.used.tokens_out < 200
    assert b"hunter22" not in stored(platform, events)


async def test_words_that_are_split_between_parts_and_reasoning_and_the_librarys_own_copy(platform: Penstock) -> None:
    message = Message(
        "assistant",
        [Thinking(f"it is {CARD}", {"signature": "x"}), Text("Card 4111 1111 "), Text("1111 1111.")],
        cache={"of": f"the card {CARD}"},
    )
    result, events = await go(platform, helper([ModelResponse(message, None)], Filters({"card": "redact"})))
    assert result.output == "Card [card]."
    assert b"4111" not in stored(platform, events)


async def test_what_tools_return_and_say_when_they_fail_is_filtered(platform: Penstock) -> None:
    filters = Filters(results={"card": "redact", "email": "redact"})
    world.says = {"mail": MAIL, "card": 4111111111111111, "note": ["x", f"again {CARD}"], "sum": 1234567}

    @agent("reader", version="1", filters=filters)
    async def reader(run: Run, _: str) -> Any:
        try:
            return await run.call(look)
        except ToolFailed as error:
            return error.what

    result, events = await go(platform, reader)
    assert result.output == {"mail": "[email]", "card": "[card]", "note": ["x", "again [card]"], "sum": 1234567}
    assert found(events, ToolOutcome) == [[Filtered("card", "redact", 2), Filtered("email", "redact")]]
    world.says = ValueError(f"no such customer: {MAIL}")
    result, events = await go(platform, reader)
    assert "[email]" in result.output
    assert MAIL.encode() not in stored(platform, events)


async def test_a_blocked_result_is_withheld_and_the_agent_is_told_that_the_tool_ran(platform: Penstock) -> None:
    model = [tool_call("look"), "done"]
    definition = helper(model, Filters(results={"card": "block"}))
    result, events = await go(platform, definition)
    assert result.output == "done"
    assert isinstance(definition.model, ScriptedModel)
    said = definition.model.calls[1].messages[-1].parts[0]
    assert said.status == "error"  # type: ignore[union-attr]
    assert said.text == "the tool ran; its result was withheld: card (1)"  # type: ignore[union-attr]
    assert CARD.encode() not in stored(platform, events)


async def test_arguments_that_may_not_leave_stop_the_call_and_are_not_recorded(platform: Penstock) -> None:
    filters = Filters({"card": "block"})  # which counts for arguments too, while what is redacted elsewhere does not
    definition = helper([tool_call("note", text=f"card {CARD}"), "I may not"], filters)
    result, events = await go(platform, definition)
    assert (result.output, world.sent) == ("I may not", [])
    (verdict,) = [event for event in events if isinstance(event, VerdictRecorded)]
    assert verdict.verdicts[-1].code == "filter_blocked"
    definition = helper([tool_call("note", text=f"card {CARD}"), "ok"], Filters({"card": "redact"}))
    result, events = await go(platform, definition)
    assert (result.output, world.sent) == ("ok", [f"card {CARD}"])


async def test_a_call_by_code_with_a_blocked_argument_is_denied(platform: Penstock) -> None:
    @agent("writer", version="1", filters=Filters(arguments={"card": "block"}))
    async def writer(run: Run, _: str) -> str:
        try:
            return str(await run.call(note, "card " + CARD))
        except CallDenied as error:
            return error.what

    result, events = await go(platform, writer)
    assert "may not leave: card (1)" in result.output
    (verdict,) = [event for event in events if isinstance(event, VerdictRecorded)]
    assert [one.code for one in verdict.verdicts] == ["filter_blocked"]
    args = await platform.services.reader.read(platform.tenant, str(verdict.run), _address(verdict.payloads["args"][0]))
    assert msgspec.json.decode(args) == {"text": "card [card]"}
    assert world.sent == []


def _address(ref: str) -> bytes:
    from penstock.journal.payloads import ref_address

    return ref_address(ref)


async def test_a_tool_that_declares_it_gets_the_value_back_and_nobody_else_does(platform: Penstock) -> None:
    world.says = f"write to {MAIL}"
    seen: list[str] = []

    def send_to_token(request: Any) -> ToolCall:
        seen.append(request.messages[-1].parts[0].text)
        token = seen[-1].split()[2]
        return tool_call("send", to=token, text=f"hello {token}")

    definition = helper([tool_call("look"), send_to_token, "done"], Filters(results={"email": "tokenise"}))
    result, events = await go(platform, definition)
    assert result.ok, result
    token = seen[0].split()[2]
    assert token.startswith("tok_email_")
    assert world.sent == [(MAIL, f"hello {token}")]
    assert MAIL.encode() not in stored(platform, events)
    assert isinstance(definition.model, ScriptedModel)
    assert definition.model.calls[2].messages[-1].parts[0].text == f"sent to {token}"  # type: ignore[union-attr]
    intents = [event for event in events if isinstance(event, ToolIntent)]
    assert [one for one in found(events, ToolOutcome) if one] == [[Filtered("email", "tokenise")]] * 2
    assert intents[1].filtered == []
    assert await replays(platform, intents[0].run, definition)


async def test_an_erased_subjects_tokens_mean_nothing_any_more(platform: Penstock) -> None:
    @agent("sender", version="1", filters=Filters(results={"email": "tokenise"}))
    async def sender(run: Run, token: str) -> str:
        if not token:
            return str(await run.call(look))
        try:
            return str(await run.call(send, token, "x"))
        except ToolFailed as error:
            return error.fields["failure"]  # type: ignore[no-any-return]

    world.says = MAIL
    first, _ = await go(platform, sender, "", subject="ada")
    token = first.output
    same, _ = await go(platform, sender, token, subject="ada")
    other, _ = await go(platform, sender, token, subject="bob")
    made_up, _ = await go(platform, sender, "tok_email_" + "a" * 16, subject="ada")
    assert world.sent == [(MAIL, "x")]
    assert (other.output, made_up.output) == ("token_unknown", "token_unknown")
    assert same.output.startswith("sent to tok_email_")
    await platform.journal.erase_subject(platform.tenant, "ada")
    assert isinstance(platform.journal, MemoryJournal)
    assert not platform.journal._store.payloads.get((platform.tenant, "ada"))


class Judge:
    """Finds one word; takes as long as it is told to, or fails."""

    name = "judge-1"

    def __init__(self, word: str = "ghastly", fails: Exception | None = None, seconds: float = 0.0) -> None:
        self.word, self.fails, self.seconds = word, fails, seconds
        self.asked: list[str] = []

    async def classify(self, text: str) -> list[Finding]:
        self.asked.append(text)
        await asyncio.sleep(self.seconds)
        if self.fails is not None:
            raise self.fails
        at = text.find(self.word)
        return [] if at < 0 else [Finding(at, at + len(self.word), "abuse", 0.9)]


@pytest.mark.parametrize(
    ("judge", "action", "expected"),
    [
        (Judge(), "redact", "a [abuse] word"),
        (Judge("other"), "redact", "a ghastly word"),
        (Judge(), "block", None),
        (Judge(fails=OSError("away")), "block", None),
        (Judge(fails=OSError("away")), "redact", None),
        (Judge(seconds=5), "block", None),
    ],
)
async def test_a_classifier_judges_and_one_that_fails_or_is_late_blocks(
    platform: Penstock, judge: Judge, action: Any, expected: str | None
) -> None:
    filters = Filters(classifiers=[Classified(judge, {"abuse": action}, timeout_seconds=0.05)])
    result, events = await go(platform, helper(["a ghastly word"], filters))
    assert (result.output if result.ok else None) == expected
    assert len(judge.asked) == 1
    kinds = {one.kind for one in found(events, ModelOutcome)[0]}
    assert kinds == (
        set()
        if expected == "a ghastly word"
        else {"abuse"}
        if not (judge.fails or judge.seconds)
        else {"classifier_failed"}
    )
    assert b"ghastly" not in stored(platform, events) or expected == "a ghastly word"


async def test_a_classifier_may_be_passed_over_when_it_only_redacts(platform: Penstock) -> None:
    filters = Filters(classifiers=[Classified(Judge(fails=OSError()), {"abuse": "redact"}, on_failure="pass")])
    result, events = await go(platform, helper(["a ghastly word"], filters))
    assert result.output == "a ghastly word"
    assert found(events, ModelOutcome) == [[Filtered("classifier_failed", "flag")]]
    with pytest.raises(FiltersInvalid, match="cannot be passed over"):
        Classified(Judge(), {"abuse": "block"}, on_failure="pass")


async def test_a_replay_asks_nobody_and_gives_the_same(platform: Penstock) -> None:
    judge = Judge()
    filters = Filters({"all": "redact"}, classifiers=[Classified(judge, {"abuse": "redact"})])
    definition = helper([tool_call("look"), f"a ghastly {CARD} of {MAIL}"], filters)
    result, events = await go(platform, definition)
    assert result.output == "a [abuse] [card] of [email]"
    asked = len(judge.asked)
    assert await replays(platform, events[0].run, definition)
    assert len(judge.asked) == asked


class Ear:
    """Listens to every run."""

    def __init__(self) -> None:
        self.heard: list[Piece] = []

    def is_watched(self, _: UUID) -> bool:
        return True

    def say(self, piece: Piece) -> None:
        self.heard.append(piece)


@pytest.mark.parametrize("padding", range(0, 24, 3))
async def test_whoever_listens_hears_what_the_agent_will_see(platform: Penstock, padding: int) -> None:
    ear = Ear()
    platform.services.live = ear  # type: ignore[assignment]
    text = "x" * padding + f" and so the card was {CARD} and the mail {MAIL} as far as anybody knows."
    result, _ = await go(platform, helper([text], Filters({"card": "redact", "email": "tokenise"})))
    said = "".join(piece.text for piece in ear.heard)
    assert said == result.output
    assert "4111" not in said
    assert len(ear.heard) > 2
    offsets = [piece.offset for piece in ear.heard]
    assert offsets == [len("".join(piece.text for piece in ear.heard[:i])) for i in range(len(ear.heard))]


async def test_nobody_hears_a_blocked_answer_or_one_that_is_still_to_be_judged(platform: Penstock) -> None:
    ear = Ear()
    platform.services.live = ear  # type: ignore[assignment]
    await go(platform, helper([f"{CARD} is the card of the house"], Filters({"card": "block"})))
    judged = Filters(classifiers=[Classified(Judge(), {"abuse": "redact"})])
    await go(platform, helper(["a ghastly word"], judged))
    assert [piece.text for piece in ear.heard if piece.text] == []


async def test_cached_results_are_shared_only_by_those_with_the_same_filters(platform: Penstock) -> None:
    asked: list[int] = []

    @tool(effect="read", cache=CacheFor(seconds=60, scope="tenant"), repeatable=True)
    async def mail() -> str:
        asked.append(1)
        return MAIL

    def reader(filters: Filters | None) -> Any:
        @agent(f"reader-{next(_numbers)}", version="1", filters=filters)
        async def read(run: Run, _: str) -> str:
            return str(await run.call(mail))

        return read

    async def read(filters: Filters | None) -> str:
        output = (await go(platform, reader(filters)))[0].output
        await asyncio.sleep(0.05)
        return str(output)

    assert await read(None) == MAIL
    assert await read(Filters(results={"email": "redact"})) == "[email]"
    assert await read(Filters(results={"email": "redact"})) == "[email]"
    assert len(asked) == 2
    tokens = {await read(Filters(results={"email": "tokenise"})) for _ in range(2)}
    assert len(tokens) == 2  # each run is a subject of its own


def test_what_a_declaration_says_is_checked() -> None:
    with pytest.raises(FiltersInvalid, match="'cards', which nothing looks for"):
        Filters({"cards": "redact"})
    with pytest.raises(FiltersInvalid, match="'hide'"):
        Filters({"card": "hide"})  # type: ignore[dict-item]
    with pytest.raises(FiltersInvalid, match="without a bound"):
        Filters({"order": "redact"}, patterns={"order": r"(a+)+b"})
    with pytest.raises(FiltersInvalid, match="no country"):
        Filters({"phone": "redact"}, regions=["XX"])
    with pytest.raises(FiltersInvalid, match="after_untrusted"):
        Filters(after_untrusted="ask")  # type: ignore[arg-type]
    with pytest.raises(ToolInvalid, match="no argument 'nobody'"):

        @tool(effect="write", reveals=["nobody"])
        async def wrong(to: str) -> None: ...


def test_filters_are_part_of_the_release_and_agents_without_keep_theirs() -> None:
    declared = [None, None, Filters(), Filters({"card": "flag"}), Filters({"card": "flag"})]
    releases = [helper(["x"], filters, "one").release for filters in declared]
    assert releases[0] == releases[1]
    assert releases[3] == releases[4]
    assert len(set(releases)) == 3


async def test_a_flag_is_recorded_and_changes_nothing(platform: Penstock) -> None:
    result, events = await go(platform, helper([f"card {CARD}"], Filters({"card": "flag"})))
    assert result.output == f"card {CARD}"
    assert found(events, ModelOutcome) == [[Filtered("card", "flag")]]


async def test_a_tool_context_still_comes_along(platform: Penstock) -> None:
    @tool(effect="write", permission="auto", in_doubt="idempotent", reveals=["to"])
    async def post(to: str, context: ToolContext) -> str:
        return context.tenant

    @agent("poster", version="1")
    async def poster(run: Run, _: str) -> str:
        return str(await run.call(post, "nobody"))

    assert (await go(platform, poster))[0].output == platform.tenant
