"""What is tried again, when, how often, and what a whole family of runs may try again."""

import asyncio
import random
from typing import Any

import pytest
from tests.sim.tapes import Tape, open_on, run_live

from penstock import Agent, Budget, Run, TransientToolError, agent, tool
from penstock.adapters.memory import MemoryJournal
from penstock.events import (
    Amount,
    BudgetRecord,
    ChildIntent,
    Failure,
    ModelIntent,
    ModelOutcome,
    RunParked,
    ToolIntent,
    ToolOutcome,
)
from penstock.events.messages import say
from penstock.gates.limits import retry
from penstock.journal.calls import CallReader
from penstock.kernel.clock import SystemClock
from penstock.kernel.errors import AgentInvalid, CallDenied, ChildFailed, ModelFailed, ToolFailed, ToolInvalid
from penstock.kernel.randomness import seeded
from penstock.ports.model import ModelError, ModelRequest, ModelResponse, Price
from penstock.rules.retries import allows_another, drawn, share_of_child
from penstock.rules.verdict import RunFacts
from penstock.settings import Settings
from penstock.testing import ScriptedModel, in_memory


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "BASE_SECONDS", 0.001)


def model_error(code: str, cause: str, *, after_seconds: float = 0.0, billed: bool | None = False) -> ModelError:
    return ModelError(Failure(code, cause, f"{code} happened", int(after_seconds * 1e6)), billed=billed)


OVERLOADED = model_error("model_unavailable", "transient")
NO_KEY = model_error("model_auth", "permanent")


def outcomes(tape: Tape, kind: Any) -> list[Any]:
    return [event for event in tape.events if isinstance(event, kind)]


class HTTPError(Exception):
    """As client libraries raise it: the status and headers are on the response."""

    class _Response:
        def __init__(self, status_code: int, headers: dict[str, str]) -> None:
            self.status_code, self.headers = status_code, headers

    def __init__(self, status: int, **headers: str) -> None:
        super().__init__(f"status {status}")
        self.response = self._Response(status, {name.replace("_", "-"): value for name, value in headers.items()})


class Busy(Exception):
    """An exception of a tool's own."""


raised: list[Exception | None] = []
calls: list[int] = []


@pytest.fixture(autouse=True)
def _nothing_yet() -> None:
    raised.clear()
    calls.clear()


async def _raise_next() -> str:
    calls.append(len(calls) + 1)
    error = raised.pop(0) if raised else None
    if error is not None:
        raise error
    return "done"


@tool(effect="read", attempts=3, retry_on=(Busy,), repeatable=True)
async def look(x: int = 0) -> str:
    """Look."""
    return await _raise_next()


@tool(effect="write", permission="auto", in_doubt="escalate", attempts=3, retry_on=(Busy,))
async def act(x: int = 0) -> str:
    """Act."""
    return await _raise_next()


@agent("looker", version="1")
async def looker(run: Run, x: int) -> str:
    return str(await run.call(look, x))


@agent("actor", version="1")
async def actor(run: Run, x: int) -> str:
    return str(await run.call(act, x))


@pytest.mark.parametrize(
    ("error", "made"),
    [
        (HTTPError(503), 2),
        (HTTPError(429, retry_after="0"), 2),
        (HTTPError(404), 1),
        (HTTPError(400), 1),
        (ConnectionResetError("gone"), 2),
        (TransientToolError("again"), 2),
        (Busy("later"), 2),
        (ValueError("no"), 1),
    ],
)
async def test_a_read_is_tried_again_when_that_may_help(error: Exception, made: int) -> None:
    raised.append(error)
    tape = await run_live(looker, 1)
    assert len(calls) == made
    assert tape.end.outcome == ("succeeded" if made == 2 else "failed")
    assert [event.because for event in outcomes(tape, ToolIntent)] == ["", "retry"][:made]


@pytest.mark.parametrize(
    ("error", "made"),
    [(TransientToolError("again"), 2), (Busy("later"), 2), (HTTPError(503), 1), (ValueError("no"), 1)],
)
async def test_a_write_is_tried_again_only_when_nothing_happened(error: Exception, made: int) -> None:
    raised.append(error)
    tape = await run_live(actor, 1)
    assert len(calls) == made
    assert tape.end.outcome == ("succeeded" if made == 2 else "failed")


async def test_attempts_are_a_bound() -> None:
    raised.extend([Busy("one"), Busy("two"), Busy("three"), None])
    tape = await run_live(looker, 1)
    assert len(calls) == 3
    assert tape.end.code == "tool_failed"
    assert [event.again for event in outcomes(tape, ToolOutcome)] == [True, True, False]


async def test_the_pause_grows_and_never_undercuts_what_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "BASE_SECONDS", 0.25)
    failure = Failure("f", "transient")
    tops = [max(retry.pause_seconds(failure, attempt) for _ in range(300)) for attempt in (1, 2, 3, 20)]
    assert 0.2 < tops[0] <= 0.25 < tops[1] <= 0.5 < tops[2] <= 1.0
    assert tops[3] <= retry.CAP_SECONDS
    assert min(retry.pause_seconds(failure, 3) for _ in range(300)) < 0.1, "full jitter goes down to nothing"
    asked = Failure("f", "rate_limited", "", 7_000_000)
    assert retry.pause_seconds(asked, 1) == 7.0


@agent("hurried", budget=Budget(seconds=5), version="1")
async def hurried(run: Run, x: int) -> str:
    return await run.ask(limited, "hello")


TOO_FAST = model_error("model_rate_limited", "rate_limited", after_seconds=9)
limited = ScriptedModel([TOO_FAST], name="m:limited", repeat=True)


async def test_a_delay_longer_than_what_is_left_fails_at_once_and_says_so() -> None:
    tape = await asyncio.wait_for(run_live(hurried, 1), 4)
    assert (tape.end.outcome, tape.end.code) == ("failed", "model_failed")
    assert "not tried again: the next try would be in 9 s, and " in tape.end.reason
    assert len(outcomes(tape, ModelIntent)) == 1


async def test_a_long_delay_parks_the_run_and_the_retry_waits_for_its_time() -> None:
    model = ScriptedModel([model_error("model_rate_limited", "rate_limited", after_seconds=0.3), "at last"])
    asking = Agent("asking", model=model, instructions="Answer.")
    journal = MemoryJournal()
    settings = Settings(poll_seconds=0.01, park_after_seconds=0.1)
    async with open_on(journal, [asking], settings=settings) as platform:
        run = await platform.submit(asking, "hello")
        result = await platform.result(run, timeout_seconds=60)
    assert result.output == "at last"
    tape = Tape(run, journal)
    parked = outcomes(tape, RunParked)
    assert [waiting.kind for event in parked for waiting in event.waiting] == ["retry"]
    first, second = outcomes(tape, ModelOutcome)
    intents = outcomes(tape, ModelIntent)
    assert first.retry_at
    assert intents[1].at >= first.retry_at - 1000
    assert second.status == "ok"


async def test_a_run_may_try_again_for_every_tenth_call_and_a_base_beyond_that() -> None:
    @agent("unlucky", version="1", budget=Budget(retries=2))
    async def unlucky(run: Run, count: int) -> list[str]:
        words = []
        for number in range(count):
            raised.extend([Busy("no")])
            try:
                words.append(str(await run.call(look, number)))
            except ToolFailed as error:
                words.append(error.what)
        return words

    tape = await run_live(unlucky, 20)
    output = tape.output()[3]
    again = [place for place, words in enumerate(output) if words == "done"]
    # Two from the base at once; then each tenth call earns one.
    assert again == [0, 1, 9, 19]
    assert "retry budget" in next(words for words in output if words != "done")
    assert tape.end.totals.retries == 2


async def test_three_tries_at_each_of_four_levels_are_not_81_calls() -> None:
    broken = ScriptedModel([OVERLOADED], name="m:broken", repeat=True)

    @agent("leaf", version="1")
    async def leaf(run: Run, x: int) -> str:
        return await run.ask(broken, "hello")

    def above(name: str, below: Any) -> Any:
        @agent(name, version="1")
        async def level(run: Run, x: int) -> str:
            for _ in range(3):
                try:
                    return str(await run.call(below, x))
                except (ChildFailed, CallDenied):
                    pass
            raise ModelFailed("three tries failed")

        return level

    levels = [leaf]
    for name in ("second", "third", "root"):
        levels.append(above(name, levels[-1]))
    journal = MemoryJournal()
    async with open_on(journal, levels) as platform:
        run = await platform.submit(levels[-1], 1)
        await platform.result(run, timeout_seconds=60)
    wire = len(broken.calls)
    assert 3 <= wire <= 1 + 10, f"{wire} wire calls; without a budget there would be 81"
    retries = 0
    for stored in journal._store.runs.values():
        intents = outcomes(Tape(stored.new.id, journal), ModelIntent | ChildIntent)
        retries += sum(event.because == "retry" for event in intents)
    assert retries == 10, "all of the base is used, and no more"


def test_shares_of_the_retry_budget_never_add_up_to_more_than_the_base() -> None:
    def spend(draws: random.Random, base: int, depth: int) -> int:
        facts = RunFacts(BudgetRecord(), retry_base=base)
        for _ in range(draws.randrange(12)):
            if depth and draws.random() < 0.5:
                again = draws.random() < 0.5 and allows_another(facts)
                share = share_of_child(facts, 0, again=again)
                facts.retries += again
                facts.retries_held += share
                below = spend(draws, share, depth - 1)
                facts.retries_held -= share
                facts.retries_below += min(share, below)
            else:
                facts.attempts += 1
                while allows_another(facts) and draws.random() < 0.9:
                    facts.attempts += 1
                    facts.retries += 1
            assert drawn(facts) + facts.retries_held <= base
        return drawn(facts)

    for seed in range(300):
        assert spend(seeded("shares", seed), 10, 3) <= 10


async def test_a_hedged_model_call_gives_the_first_good_answer_and_pays_for_both() -> None:
    class Slow(ScriptedModel):
        async def request(self, request: ModelRequest) -> ModelResponse:
            number = len(self.calls) + 1
            self.calls.append(request)
            await asyncio.sleep(30 if number == 1 else 0)
            return ModelResponse(say("assistant", f"answer {number}"), Amount(5, 2))

    model = Slow(["unused"], price=Price(1.0, 1.0))
    asking = Agent("hedged", model=model, instructions="Answer.", hedge_after_seconds=0.02)
    tape = await asyncio.wait_for(run_live(asking, "hello"), 10)
    assert tape.end.outcome == "succeeded"
    assert tape.output()[3] == "answer 2"
    intents, ends = outcomes(tape, ModelIntent), outcomes(tape, ModelOutcome)
    assert [event.because for event in intents] == ["", "hedge"]
    assert [(event.attempt, event.again, event.at_maximum) for event in ends] == [(1, True, True), (2, False, False)]
    assert tape.end.totals.nano == intents[0].reserved.nano + 7
    paid = CallReader().take(tape.rows)
    assert [(call.kind, call.used.nano) for call in paid] == [("hedge", intents[0].reserved.nano), ("work", 7)]
    assert sum(call.used.nano for call in paid) == tape.end.totals.nano
    assert tape.end.totals.attempts == 2
    assert len(model.calls) == 2


async def test_a_quick_answer_is_not_hedged() -> None:
    model = ScriptedModel(["at once"])
    tape = await run_live(Agent("quick", model=model, instructions="Answer.", hedge_after_seconds=5), "hello")
    assert [event.because for event in outcomes(tape, ModelIntent)] == [""]


async def test_a_hedged_read_gives_the_first_good_answer() -> None:
    asked: list[int] = []

    @tool(effect="read", hedge_after=0.02)
    async def slow_at_first(x: int) -> str:
        """Look."""
        asked.append(x)
        number = len(asked)
        await asyncio.sleep(30 if number == 1 else 0)
        return f"answer {number}"

    @agent("hedger", version="1")
    async def hedger(run: Run, x: int) -> str:
        return str(await run.call(slow_at_first, x))

    tape = await asyncio.wait_for(run_live(hedger, 1), 10)
    assert tape.output()[3] == "answer 2"
    ends = outcomes(tape, ToolOutcome)
    assert [(event.attempt, event.again, event.status) for event in ends] == [(1, True, "error"), (2, False, "ok")]


async def test_another_model_answers_when_the_first_one_is_exhausted() -> None:
    down = ScriptedModel([OVERLOADED], name="one:down", repeat=True)
    up = ScriptedModel(["one", "two"], name="two:up")
    both = Agent("both", model=[down, up], instructions="Answer.", attempts=2)
    tape = await run_live(both, "hello")
    assert tape.output()[3] == "one"
    intents = outcomes(tape, ModelIntent)
    assert [(event.model, event.because, event.instead_of) for event in intents] == [
        ("one:down", "", ""),
        ("one:down", "retry", ""),
        ("two:up", "fallback", "one:down"),
    ]
    assert [event.again for event in outcomes(tape, ModelOutcome)] == [True, True, False]


async def test_a_key_that_is_not_accepted_is_not_tried_twice() -> None:
    down, up = ScriptedModel([NO_KEY], name="one:down"), ScriptedModel(["hello"], name="two:up")
    tape = await run_live(Agent("both", model=[down, up], instructions="Answer."), "hello")
    assert tape.output()[3] == "hello"
    assert (len(down.calls), len(up.calls)) == (1, 1)


async def test_a_request_that_is_refused_as_it_is_goes_to_no_other_model() -> None:
    refused = ScriptedModel([model_error("model_refused_request", "permanent")], name="one:down")
    up = ScriptedModel(["hello"], name="two:up")
    tape = await run_live(Agent("both", model=[refused, up], instructions="Answer."), "hello")
    assert tape.end.code == "model_failed"
    assert not up.calls


async def test_no_child_is_started_without_time_and_its_deadline_is_its_parents() -> None:
    seen: list[int] = []

    @agent("below", version="1")
    async def below(run: Run, x: int) -> str:
        seen.append(run.context.claim.deadline)
        return "below"

    @agent("above", version="1")
    async def above(run: Run, x: int) -> str:
        return str(await run.timeout(30, run.call(below, x)))

    async with in_memory() as platform:
        soon = platform_now() + 60_000_000
        run = await platform.submit(above, 1, deadline=soon)
        assert (await platform.result(run)).outcome == "succeeded"
    assert soon - 31_000_000 < seen[0] < soon - 29_000_000, "the time-out around it is nearer than the run's deadline"


def platform_now() -> int:
    return SystemClock().now_us()


async def test_a_tool_that_cannot_end_in_time_is_not_started() -> None:
    @tool(effect="read", needs_seconds=5)
    async def long_look(x: int) -> str:
        """Look."""
        return await _raise_next()

    @agent("late", version="1")
    async def late(run: Run, x: int) -> str:
        return str(await run.timeout(2, run.call(long_look, x)))

    tape = await run_live(late, 1)
    assert (tape.end.outcome, tape.end.code) == ("refused", "call_denied")
    assert "it takes at least 5 s" in tape.end.reason
    assert calls == []


def test_a_write_cannot_be_hedged_and_times_must_fit() -> None:
    async def act(x: int) -> int:
        return x

    for options in (
        {"effect": "write", "hedge_after": 1.0},
        {"effect": "read", "hedge_after": 31.0},
        {"effect": "read", "needs_seconds": 31.0},
    ):
        with pytest.raises(ToolInvalid):
            tool(**options)(act)  # type: ignore[call-overload]


@pytest.mark.parametrize("models", [[], ["test:one", "test:one"]])
def test_a_list_of_models_names_each_once(models: list[str]) -> None:
    with pytest.raises(AgentInvalid):
        Agent("listed", model=models, instructions="Answer.")
