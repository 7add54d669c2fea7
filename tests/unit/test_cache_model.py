"""The cache before a model: who is served, by what, what is on the record of it, and what is never kept."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel

from penstock import Agent, Budget, Cache, Penstock, Run, Settings, agent, tool
from penstock.events import Amount, Event, Failure, ModelIntent, ModelOutcome
from penstock.events.messages import say
from penstock.kernel.errors import AgentInvalid, JournalUnavailable
from penstock.kernel.money import show_usd
from penstock.ports.cache import Which
from penstock.ports.model import ModelError, ModelRequest, ModelResponse, Price
from penstock.runs.replaying.replay import replay
from penstock.runs.result import Result
from penstock.testing import ScriptedModel, tool_call
from penstock.views.lines import event_line
from penstock.views.trace import read_events, read_trace
from penstock.wiring import assemble, open_in_memory

PRICE = Price(100.0, 500.0, source="test")
ACME = {"customer": "acme"}
HOUR = Cache(seconds=3600)


@pytest.fixture
async def platform() -> AsyncIterator[Penstock]:
    async with open_in_memory(Settings(poll_seconds=0.01)) as opened:
        yield opened


@pytest.fixture
async def second(platform: Penstock) -> AsyncIterator[Penstock]:
    """Another process on the same journal: it may offer another release of an agent."""
    async with assemble(platform.journal, Settings(poll_seconds=0.01)) as opened:
        opened.start_worker("second")
        yield opened


def counting(script: list[Any] | None = None, **how: Any) -> ScriptedModel:
    """Each answer is another one, so that it can be seen which call gave it."""
    numbers = iter(range(1, 1000))
    return ScriptedModel(
        script or [lambda _: f"answer {next(numbers)}"], how.pop("name", "scripted:model"), PRICE, repeat=True
    )


def desk(model: Any, cache: Cache | None = HOUR, **how: Any) -> Agent:
    how = {"temperature": 0, "instructions": "Help.", **how}
    return Agent(how.pop("name", "desk"), model=model, cache=cache, **how)


async def go(platform: Penstock, one: Agent, value: str = "Well?", **options: Any) -> tuple[Result, list[Event]]:
    tenant = options.get("tenant")
    run = await platform.submit(one, value, **{"tags": ACME, **options})
    result = await platform.result(run, tenant=tenant, timeout_seconds=20)
    return result, await events_of(platform, run, tenant)


async def events_of(platform: Penstock, run: UUID, tenant: str | None = None) -> list[Event]:
    return list(await read_events(platform.journal, tenant or platform.tenant, run))


def last_of(events: list[Event], kind: type[Any]) -> Any:
    return [event for event in events if isinstance(event, kind)][-1]


async def until_kept(platform: Penstock, entries: int) -> None:
    """An answer is kept beside the run, not before its end."""
    async with asyncio.timeout(10):
        while (await platform.journal.cache.held(platform.tenant)).entries < entries:
            await asyncio.sleep(0.001)


async def test_an_equal_request_is_served_and_costs_nothing(platform: Penstock) -> None:
    model = counting()
    one = desk(model)
    first, paid = await go(platform, one)
    await until_kept(platform, 1)
    second, served = await go(platform, one)
    assert (first.output, second.output, len(model.calls)) == ("answer 1", "answer 1", 1)
    made, given = last_of(paid, ModelOutcome), last_of(served, ModelOutcome)
    assert (last_of(paid, ModelIntent).cache, last_of(served, ModelIntent).cache) == ("miss", "hit")
    assert (given.status, given.used, given.finish) == ("cached", Amount(), "stop")
    assert (given.saved_nano, given.saved_tokens) == (made.used.nano, made.used.tokens)
    assert made.used.nano > 0
    assert (given.source.run, given.source.path) == (made.run, made.path)
    assert last_of(served, ModelIntent).reserved == Amount()
    assert (second.totals.nano, second.totals.tokens, second.totals.model_calls, second.totals.steps) == (0, 0, 1, 1)


async def test_a_served_call_is_shown_as_one(platform: Penstock) -> None:
    one = desk(counting())
    _, paid = await go(platform, one)
    await until_kept(platform, 1)
    _, served = await go(platform, one)
    made, given = last_of(paid, ModelOutcome), last_of(served, ModelOutcome)
    words = f"what call {made.path} of run {made.run} came to"
    assert event_line(given) == f"is given {words}, which saves {show_usd(made.used.nano)}"
    trace = await read_trace(platform.journal, platform.tenant, given.run)
    span = next(span for span in trace.spans if span.path == given.path)
    assert (span.status, span.error, span.output, span.about["served by"]) == ("ok", "", "answer 1", words)
    assert span.used.nano == 0


async def test_a_served_run_replays_from_its_tape_alone(platform: Penstock) -> None:
    one = desk(counting())
    await go(platform, one)
    await until_kept(platform, 1)
    run = await platform.submit(one, "Well?", tags=ACME)
    await platform.result(run)
    await platform.journal.cache.clear(platform.tenant, Which())
    model = counting(["Something else."])
    one.model = model
    row = await platform.journal.get_run(platform.tenant, run)
    assert row is not None
    assert (await replay(platform.services, row, [one])).same
    assert model.calls == []


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"instructions": "Help much."}, {}),
        ({"max_tokens": 500}, {}),
        ({"extra": {"top_p": 0.5}}, {}),
        ({"name": "other-desk"}, {}),
        ({"repairs": 1}, {}),  # another release
        ({}, {"value": "Well!"}),
        ({}, {"tags": {"customer": "zeta"}}),
        ({}, {"tenant": "zeta"}),
    ],
)
async def test_whatever_differs_is_asked_anew(
    platform: Penstock, second: Penstock, change: dict[str, Any], what: dict[str, Any]
) -> None:
    model = counting()
    await go(platform, desk(model))
    await until_kept(platform, 1)
    result, _ = await go(second, desk(model, **change), **what)
    assert (result.output, len(model.calls)) == ("answer 2", 2)


@pytest.mark.parametrize(
    ("scope", "shared"), [("subject", "s"), ("customer", "c"), ("agent", "sc"), ("tenant", "sca"), ("run", "")]
)
async def test_a_scope_shares_what_it_says_and_no_more(platform: Penstock, scope: Any, shared: str) -> None:
    """s: another person's; c: another customer's; a: another agent's."""
    model = counting()
    cache = Cache(seconds=60, scope=scope)
    one, elsewhere = desk(model, cache), desk(model, cache, name="other")
    await go(platform, one, subject="p-1")
    await until_kept(platform, 1)
    _, again = await go(platform, one, subject="p-1")
    if scope != "run":
        assert last_of(again, ModelOutcome).status == "cached"
    expected = {"s": scope in ("customer", "agent", "tenant"), "c": scope in ("subject", "agent", "tenant")}
    _, other = await go(platform, one, subject="p-2")
    assert (last_of(other, ModelOutcome).status == "cached") is expected["s"]
    _, other = await go(platform, one, subject="p-1", tags={"customer": "zeta"})
    assert (last_of(other, ModelOutcome).status == "cached") is expected["c"]
    _, other = await go(platform, elsewhere, subject="p-1")
    assert (last_of(other, ModelOutcome).status == "cached") is (scope == "tenant")
    _, other = await go(platform, one, subject="p-1", tenant="zeta")
    assert last_of(other, ModelOutcome).status == "ok"


@pytest.mark.parametrize(("scope", "without"), [("customer", {"tags": {}}), ("subject", {"subject": ""})])
async def test_where_the_scope_has_no_name_nothing_is_shared(platform: Penstock, scope: Any, without: Any) -> None:
    model = counting()
    one = desk(model, Cache(seconds=60, scope=scope))
    for _ in range(2):
        _, events = await go(platform, one, **without)
        assert last_of(events, ModelIntent).cache == ""
    assert len(model.calls) == 2
    assert (await platform.journal.cache.held(platform.tenant)).entries == 0


class Reply(BaseModel):
    sure: bool


@pytest.mark.parametrize(
    ("script", "how"),
    [
        (["x" * 500], {"max_tokens": 20}),  # cut off
        ([tool_call("final_answer", sure="perhaps"), tool_call("final_answer", sure=True)], {"output": Reply}),
        ([tool_call("nothing_like_it"), "Done."], {}),
        ([ModelError(Failure("model_rate_limited", "rate_limited", "no"), billed=False), " "], {"repairs": 0}),
        ([ModelResponse(say("assistant", "I will not."), Amount(5, 5), "content_filter")], {}),
    ],
)
async def test_an_answer_that_is_no_good_is_not_kept(platform: Penstock, script: Any, how: Any) -> None:
    one = desk(ScriptedModel(script, price=PRICE, repeat=True), attempts=1, **how)
    _, first = await go(platform, one)
    _, second = await go(platform, one)
    for events in (first, second):
        opening = next(event for event in events if isinstance(event, ModelOutcome))
        assert opening.status != "cached"
    assert next(event for event in first if isinstance(event, ModelIntent)).cache == "miss"


async def test_what_one_agent_was_given_another_must_still_accept(platform: Penstock) -> None:
    """Both ask for the same; one has an answer type that the other's answer does not fit."""
    model = counting([tool_call("final_answer", sure=True)])
    cache = Cache(seconds=60, scope="tenant")
    first = desk(model, cache, output=Reply)
    await go(platform, first)
    await until_kept(platform, 1)
    picky = desk(model, cache, name="picky", output=Reply)
    picky.parse_output = _refuse  # type: ignore[method-assign]
    _, events = await go(platform, picky)
    assert next(event for event in events if isinstance(event, ModelIntent)).cache == "miss"


def _refuse(text: str) -> Any:
    raise ValueError("not like this")


@tool(effect="read")
async def look(x: int) -> int:
    """Look something up."""
    return x


async def test_a_conversation_of_many_steps_is_served_whole(platform: Penstock) -> None:
    """What remains of the budget is told after each step, and differs when steps cost nothing; it does not count."""
    model = counting([tool_call("look", x=1), tool_call("look", x=2), "Three."])
    one = desk(model, tools=[look], budget=Budget(tokens=100_000, steps=100))
    first, _ = await go(platform, one)
    await until_kept(platform, 3)
    second, events = await go(platform, one)
    assert (first.output, second.output, len(model.calls)) == ("Three.", "Three.", 3)
    assert [event.status for event in events if isinstance(event, ModelOutcome)] == ["cached"] * 3
    told = [message for message in model.calls[-1].messages if message.role == "tool"]
    assert "budget left" in told[0].text


async def test_near_the_end_of_the_budget_nothing_is_served_or_kept(platform: Penstock) -> None:
    model = counting([tool_call("look", x=1), "Done."])
    tight = desk(model, tools=[look], budget=Budget(tokens=100_000, steps=2))
    for _ in range(2):
        _, events = await go(platform, tight)
        intents = [event for event in events if isinstance(event, ModelIntent)]
        assert [(intent.purpose, intent.cache) for intent in intents][1] == ("final", "")
    assert (await platform.journal.cache.held(platform.tenant)).entries == 1  # the first step


async def test_a_burst_pays_once(platform: Penstock, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = asyncio.Event()

    class Slow(ScriptedModel):
        async def request(self, request: ModelRequest) -> ModelResponse:
            response = await super().request(request)
            await gate.wait()
            return response

    model = Slow(["So."], price=PRICE, repeat=True)
    take, asked = platform.journal.cache.take, 0

    async def counted(*args: Any) -> Any:
        nonlocal asked
        asked += 1
        return await take(*args)

    monkeypatch.setattr(platform.journal.cache, "take", counted)
    runs = [await platform.submit(desk(model), "Well?", tags=ACME) for _ in range(50)]
    await asyncio.sleep(0.05)
    gate.set()
    results = [await platform.result(run, timeout_seconds=20) for run in runs]
    assert [result.output for result in results] == ["So."] * 50
    assert len(model.calls) == 1
    assert asked < 10, "those of one process ask the store together"
    assert sum(result.totals.nano > 0 for result in results) == 1
    assert platform.services.cache is not None
    await platform.services.cache.flush()
    (counts,) = await platform.journal.cache.counts(platform.tenant, 0, 2**60)
    assert (counts.hits, counts.misses, counts.calls) == (49, 1, 1)
    assert counts.waited > 0


async def test_when_the_call_of_others_fails_another_makes_it(platform: Penstock) -> None:
    began, gate = asyncio.Event(), asyncio.Event()

    async def request(self: ScriptedModel, request: ModelRequest) -> ModelResponse:
        self.calls.append(request)
        began.set()
        await gate.wait()
        if len(self.calls) == 1:
            raise ModelError(Failure("model_refused", "permanent", "no"), billed=False)
        return ModelResponse(say("assistant", "So."), Amount(5, 5))

    model = counting()
    model.request = request.__get__(model)  # type: ignore[method-assign]
    runs = [await platform.submit(desk(model), "Well?", tags=ACME) for _ in range(10)]
    await began.wait()
    await asyncio.sleep(0.02)
    gate.set()
    results = [await platform.result(run, timeout_seconds=20) for run in runs]
    assert sorted(result.outcome for result in results) == ["failed"] + ["succeeded"] * 9
    assert len(model.calls) == 2


async def test_while_the_store_of_the_cache_is_away_calls_are_made(
    platform: Penstock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any, **__: Any) -> Any:
        raise JournalUnavailable("the database cannot be reached")

    model = counting()
    await go(platform, desk(model))
    await until_kept(platform, 1)
    monkeypatch.setattr(platform.journal.cache, "take", away)
    result, _ = await go(platform, desk(model))
    assert result.output == "answer 2"


async def test_a_damaged_entry_is_not_served_and_is_replaced(platform: Penstock) -> None:
    model = counting()
    await go(platform, desk(model))
    await until_kept(platform, 1)
    (kept,) = platform.journal.cache._kept.values()  # type: ignore[attr-defined]
    kept.entry = replace(kept.entry, data=kept.entry.data.replace(b"answer 1", b"answer X"))
    result, _ = await go(platform, desk(model))
    assert result.output == "answer 2"
    await asyncio.sleep(0.01)
    result, _ = await go(platform, desk(model))
    assert (result.output, len(model.calls)) == ("answer 2", 2)


async def test_erasing_a_person_erases_what_was_cached_of_them(platform: Penstock) -> None:
    model = counting()
    one = desk(model, Cache(seconds=60, scope="agent"))
    await go(platform, one, subject="p-1")
    await until_kept(platform, 1)
    await platform.journal.erase_subject(platform.tenant, "p-1")
    assert (await platform.journal.cache.held(platform.tenant)).entries == 0
    result, _ = await go(platform, one, subject="p-2")
    assert result.output == "answer 2"


async def test_an_answer_outlives_its_life_nowhere() -> None:
    async with open_in_memory(Settings(poll_seconds=0.01, cache_seconds_max=1)) as platform:
        model = counting()
        one = desk(model, Cache(seconds=0.05))
        await go(platform, one)
        await until_kept(platform, 1)
        await asyncio.sleep(0.06)
        result, _ = await go(platform, one)
        assert result.output == "answer 2"


async def test_a_single_question_may_be_cached(platform: Penstock) -> None:
    model = counting()

    @agent("asks", version="1")
    async def asks(run: Run, value: str) -> list[str]:
        cache = Cache(seconds=60, scope="run", temperature_max=None)
        return [await run.ask(model, value, cache=given) for given in (cache, cache, None)]

    run = await platform.submit(asks, "Well?")
    result = await platform.result(run)
    assert result.output == ["answer 1", "answer 1", "answer 2"]


@pytest.mark.parametrize(
    ("cache", "how", "words"),
    [
        (Cache(seconds=0), {}, "seconds=0"),
        (Cache(seconds=float("inf")), {}, "seconds=inf"),
        (Cache(seconds=1, scope="everybody"), {}, "everybody"),  # type: ignore[arg-type]
        (Cache(seconds=1), {"temperature": None}, "temperature"),
        (Cache(seconds=1), {"temperature": 0.7}, "0.7"),
        (3600, {}, "3600"),
    ],
)
def test_contradictions_are_refused_where_they_are_written(cache: Any, how: Any, words: str) -> None:
    with pytest.raises(AgentInvalid, match=words):
        desk(counting(), cache, **how)


def test_an_agent_without_a_cache_keeps_its_release() -> None:
    plain = Agent("desk", model="openai:gpt-5-mini", instructions="Help.", temperature=0)
    cached = Agent("desk", model="openai:gpt-5-mini", instructions="Help.", temperature=0, cache=HOUR)
    assert plain.release != cached.release
    assert plain.release == Agent("desk", model="openai:gpt-5-mini", instructions="Help.", temperature=0).release
