"""The model gate: control → limits → budget → intent → call → settle → outcome, once for every attempt."""

from collections.abc import Coroutine, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from penstock.events import Failure, ModelIntent, ModelOutcome, VerdictRecorded
from penstock.events.messages import Message, decode_message, encode_message
from penstock.gates.breakers.admission import OPEN, let_go
from penstock.gates.budgets.gate import bind, hold_at_once, in_budget
from penstock.gates.limits.hedge import hedged, leave_of_limits
from penstock.gates.limits.retry import judge, wait_until
from penstock.gates.model import cached
from penstock.gates.model.attempt import (
    Attempt,
    Made,
    make,
    outcome_of,
    record,
    record_lost,
    tool_choice,
)
from penstock.gates.model.conversation import Conversation
from penstock.gates.model.plan import ModelCall, Plan, budget_note, make_plan, most_tokens
from penstock.gates.model.route import asked_of, route
from penstock.gates.order.tape import open_intents
from penstock.gates.rates.throttle import throttle
from penstock.gates.run.call import Call
from penstock.gates.run.context import RunContext
from penstock.gates.run.deadline import at_most, seconds_to_deadline
from penstock.gates.run.denial import denial, denied, record_limit
from penstock.gates.run.ledger import COUNTED, first_ref
from penstock.gates.run.mailbox import WaitCut
from penstock.gates.run.taking_back import REFUSED_LATE, take_back
from penstock.kernel.canonical import digest as digest_of
from penstock.kernel.canonical import stable_json
from penstock.kernel.errors import ModelFailed
from penstock.ports.model import Model, ToolSpec
from penstock.rules.default import MODEL_RULES
from penstock.rules.verdict import CallFacts, Decision, Ruling, Verdict

__all__ = ["Turn", "call_model", "tools_digest"]

ANOTHER_MAY_ANSWER = ("model_auth", "model_quota", "model_not_found", "model_context_exceeded")
"""Permanent failures of one model that say nothing about the request as such."""
MADE_AGAIN = ("cancelled", OPEN)
"""Why an attempt was cut short that is simply made again, as far as the rules let it."""


class Turn(msgspec.Struct, frozen=True):
    """One answer of a model. ``last``: the budget ends here, the answer must be used as it is."""

    message: Message
    finish: str
    last: bool
    ref: str = ""  # commitment of the message


async def call_model(ctx: RunContext, asked: ModelCall) -> Turn:
    """One step of a conversation through the gate.

    The conversation's latest model is asked first; when all its attempts have failed, the others in their order.

    Raises:
        CallDenied: a rule denied it and the run may go on without it.
        ModelFailed: all attempts failed.
    """
    conversation = asked.conversation
    conversation.commit(ctx.log)
    extra = stable_json([asked.tools_digest, asked.purpose, asked.settings.max_tokens, asked.settings.temperature])
    asked = _latest_first(asked)
    call = ctx.enter("model", asked.model.name, conversation.digest(extra), shown=conversation.messages)
    last = call.last
    if last is not None and not isinstance(last, ModelIntent) and not getattr(last, "again", False):
        return await _replay(ctx, call, asked)
    await ctx.schedule.live(call.path)
    try:
        turn: Turn = await ctx.perform(call, _live(ctx, call, asked))
    finally:
        let_go(ctx, call)
    return turn


def _latest_first(asked: ModelCall) -> ModelCall:
    """The call with the model that gave the conversation's latest answer before the others."""
    if not asked.fallbacks:
        return asked
    models = [asked.model, *asked.fallbacks]
    names = [model.name for model in models]
    latest = asked.conversation.latest_model
    if latest not in names[1:]:
        return asked
    place = names.index(latest)
    first, *others = models[place:] + models[:place]
    return replace(asked, model=first, fallbacks=others)


async def _replay(ctx: RunContext, call: Call, asked: ModelCall) -> Turn:
    last = call.recorded[-1]
    if isinstance(last, VerdictRecorded):
        await ctx.replay(call)
        raise denial("model", last.verdicts[-1].reason, last.verdicts[-1].code)
    assert isinstance(last, ModelOutcome)
    intents = [event for event in call.recorded if isinstance(event, ModelIntent)]
    intent = next((event for event in intents if event.attempt == last.attempt), intents[-1])
    _add_notes(asked.conversation, intents)
    if not intent.shortened:
        _sent(ctx, call, asked.conversation)
    ref = first_ref(last, "response")
    message = decode_message(await ctx.load(ref)) if ref else None
    await ctx.replay(call)
    asked = asked_of(ctx, asked, intent.model)
    if message is None:
        raise _failed(asked.model, last.failure)
    asked.conversation.answered_by(asked.model)
    if not last.at_maximum and not intent.shortened and last.status != "cached":
        asked.conversation.learn(last.used, message)
    return Turn(message, last.finish, intent.purpose == "final", ref)


async def _live(ctx: RunContext, call: Call, asked: ModelCall) -> Turn:
    conversation = asked.conversation
    intents = [event for event in call.recorded if isinstance(event, ModelIntent)]
    if intents:
        _add_notes(conversation, intents)
        conversation.commit(ctx.log)
        record_lost(ctx, call, [event for event in open_intents(call.recorded) if isinstance(event, ModelIntent)])
    if call.branch.cut:
        raise WaitCut
    because = ""
    if intents:
        asked = asked_of(ctx, asked, intents[-1].model)
        asked, because = await _after(ctx, call, asked)
    elif asked.cache is not None:
        served = await cached.look_up(ctx, call, asked, lambda plan: _facts(ctx, call, asked, plan, 1))
        if served is not None:
            return await _beside_the_cache(ctx, call, asked, served)
    return await _made(ctx, call, asked, because)


async def _beside_the_cache(ctx: RunContext, call: Call, asked: ModelCall, served: cached.Served) -> Turn:
    """What the cache gave, recorded as a call that cost nothing; or a call whose answer it may keep."""
    if served.message is None:
        with served.standing:
            turn = await _made(ctx, call, asked, "")
            cached.keep(call, asked, served, turn.message)
            return turn
    attempt = await _intend(ctx, call, asked, served.plan, served.ruling, 1, "")
    outcome = cached.outcome_of(ctx, call, asked, served)
    ref = record(ctx, call, attempt, outcome)
    asked.conversation.answered_by(asked.model)
    _sent(ctx, call, asked.conversation)
    return Turn(served.message, outcome.finish, False, ref)


async def _made(ctx: RunContext, call: Call, asked: ModelCall, because: str) -> Turn:
    """The answer to a call that is made, after as many attempts as it takes."""
    while True:
        asked, because, held = await route(ctx, call, asked, because)
        level = asked.conversation.level
        try:
            tries = await _attempts(ctx, call, asked, because, held)
        except REFUSED_LATE:  # nothing was written
            asked.conversation.take_back_note(level)
            continue
        turn = _turn(ctx, call, asked, tries)
        if turn is not None:
            return turn
        if ctx.fault is not None:
            await ctx.halt()
        outcome = call.last
        assert isinstance(outcome, ModelOutcome)
        if not outcome.again:
            raise _failed(asked.model, outcome.failure)
        asked, because = await _after(ctx, call, asked)


async def _after(ctx: RunContext, call: Call, asked: ModelCall) -> tuple[ModelCall, str]:
    """What the next attempt asks, and why it is made, by the last outcome; waits until its time."""
    outcome = call.last
    if not isinstance(outcome, ModelOutcome) or outcome.failure is None or outcome.failure.code in MADE_AGAIN:
        return asked, "in_doubt"
    if outcome.retry_at:
        await wait_until(ctx, call, outcome.retry_at)
        return asked, "retry"
    if asked.fallbacks:
        return asked_of(ctx, asked, asked.fallbacks[0].name), "fallback"
    return asked, "retry"


async def _attempts(
    ctx: RunContext, call: Call, asked: ModelCall, because: str, held: Decision | None
) -> list[tuple[Attempt, Made]]:
    """One attempt, or two when the first is slow and hedging is on; the one that counts last."""
    number = 1 + call.count_of(ModelIntent)
    await throttle(ctx, call, "model", asked.model.name, lambda: most_tokens(ctx, asked))
    plan, ruling = await _allowed(ctx, call, asked, number, held)
    attempt = await _intend(ctx, call, asked, plan, ruling, number, because)
    first = make(ctx, call, asked, attempt)
    if asked.hedge_after is None:
        return [(attempt, await first)]
    attempts = [attempt]

    async def second() -> Coroutine[Any, Any, Made] | None:
        like = make_plan(ctx, asked, asked.model.price())
        ruling = MODEL_RULES.decide(_facts(ctx, call, asked, like, number + 1), ctx.facts)
        if ruling.verdict >= Verdict.HOLD or like.note is not None or like.final != plan.final or like.shortened:
            return None
        if not hold_at_once(ctx, call, like.reserved):
            return None
        try:
            attempts.append(await _intend(ctx, call, asked, like, ruling, number + 1, "hedge"))
        except REFUSED_LATE:
            return None
        return make(ctx, call, asked, attempts[-1])

    made, counts = await hedged(
        ctx,
        call,
        asked.hedge_after,
        first,
        lambda: leave_of_limits(ctx, call, "model", asked.model.name, lambda: most_tokens(ctx, asked)),
        second,
        lambda made: made.response is not None,
    )
    tries = list(zip(attempts, made, strict=True))
    tries.append(tries.pop(counts))
    return tries


def _turn(ctx: RunContext, call: Call, asked: ModelCall, tries: list[tuple[Attempt, Made]]) -> Turn | None:
    """Record what came of attempts of which the last counts; its answer, if it gave one.

    Nothing is awaited between the last record and the turn: the tape's order is the order of release.
    """
    *given_up, (attempt, made) = tries
    for other, what in given_up:
        record(ctx, call, other, outcome_of(ctx, call, asked, other, what, again=True))
    response = made.response
    if response is None:
        assert made.failure is not None
        again, retry_at, failure = ctx.fault is not None, 0, made.failure
        if not again:
            verdict = judge(ctx, call, failure, _tries(call, asked), _most_tries(ctx, asked))
            retry_at, failure = verdict.at, verdict.failure
            elsewhere = failure.code == OPEN or (_may_fall_back(failure) and bool(asked.fallbacks))
            again = retry_at > 0 or (elsewhere and not call.branch.cut)
        outcome = outcome_of(ctx, call, asked, attempt, made, again=again, retry_at=retry_at, failure=failure)
        record(ctx, call, attempt, outcome)
        return None
    outcome = outcome_of(ctx, call, asked, attempt, made)
    ref = record(ctx, call, attempt, outcome)
    asked.conversation.answered_by(asked.model)
    if not attempt.plan.shortened:
        _sent(ctx, call, asked.conversation)
        if response.used is not None:
            asked.conversation.learn(response.used, response.message)
    return Turn(response.message, response.finish, attempt.plan.final, ref)


def _may_fall_back(failure: Failure) -> bool:
    return failure.cause != "permanent" or failure.code in ANOTHER_MAY_ANSWER


def _tries(call: Call, asked: ModelCall) -> int:
    """How often this model was asked in this call."""
    return sum(isinstance(event, ModelIntent) and event.model == asked.model.name for event in call.recorded)


def _most_tries(ctx: RunContext, asked: ModelCall) -> int:
    limit = ctx.facts.budget.attempts
    return min(asked.attempts, limit) if limit else asked.attempts


async def _intend(
    ctx: RunContext, call: Call, asked: ModelCall, plan: Plan, ruling: Ruling, number: int, because: str
) -> Attempt:
    """Reserve, and make the intent durable."""
    conversation = asked.conversation
    if plan.shortened:
        prefix: dict[str, Any] = {}
        refs = [ctx.log.payload(encode_message(message)) for message in plan.messages]
    else:
        prefix = {"prefix_path": conversation.sent_path, "prefix_count": conversation.sent_count}
        refs = conversation.refs[conversation.sent_count :]
    before = [event for event in call.recorded if isinstance(event, ModelIntent)]
    intent = ctx.event(
        ModelIntent,
        call.path,
        model=asked.model.name,
        digest=call.identity.digest,
        attempt=number,
        purpose="final" if plan.final else asked.purpose,
        reserved=plan.reserved,
        max_tokens=plan.max_tokens,
        timeout=int(at_most(ctx, asked.settings.timeout_seconds) * 1e6),
        tool_choice=tool_choice(asked, plan),
        offered=asked.tools_digest,
        passed=ruling.passed,
        verdicts=ruling.verdicts,
        because=because,
        instead_of=(before[-1].model if before else call.identity.name) if because == "fallback" else "",
        level=plan.level if plan.note is not None else 0,
        heard=asked.heard and number == 1,
        shortened=plan.shortened,
        cache=call.cache if number == 1 else "",
        filtered=list(asked.filtered) if number == 1 else [],
        payloads={"messages": refs},
        **prefix,
    )
    ctx.ledger.reserve(plan.reserved)
    ctx.facts.model_calls += 1
    ctx.facts.attempts += 1
    ctx.facts.retries += because in COUNTED
    ctx.facts.steps += number == 1
    if intent.cache == "hit" and asked.keeping is None:
        ctx.intend_later(call, intent)
    else:  # what leaves the engine at once, from the cache too, is on the record first
        try:
            bind(ctx, call, intent)
            await ctx.intend(call, intent)
        except REFUSED_LATE:
            take_back(ctx, call, intent)
            ctx.facts.model_calls -= 1
            ctx.facts.steps -= number == 1
            raise
    return Attempt(intent, plan)


def _facts(
    ctx: RunContext, call: Call, asked: ModelCall, plan: Plan, number: int, held: Decision | None = None
) -> CallFacts:
    name = asked.model.name
    others = sum([isinstance(event, ModelIntent) and event.model != name for event in call.recorded])
    return CallFacts(
        "model",
        name,
        call.identity.digest,
        reserved=plan.reserved,
        price=asked.model.price(),
        final=plan.final,
        attempt=number - others,
        told=plan.level if plan.note is not None and plan.looping else 0,
        seconds_left=seconds_to_deadline(ctx, call.branch),
        breaker=held,
    )


async def _allowed(
    ctx: RunContext, call: Call, asked: ModelCall, number: int, held: Decision | None
) -> tuple[Plan, Ruling]:
    """The plan for an attempt that all rules allow; does not return when a limit ends the run."""

    def propose(shared: Decision | None) -> tuple[Plan, CallFacts, Ruling]:
        plan = make_plan(ctx, asked, asked.model.price())
        ctx.facts.seconds = ctx.active_seconds()
        facts = _facts(ctx, call, asked, plan, number, held)
        facts.shared = shared
        return plan, facts, MODEL_RULES.decide(facts, ctx.facts)

    plan, ruling = await in_budget(ctx, call, propose)
    if ruling.verdict >= Verdict.HOLD:
        await denied(ctx, call, replace(ruling, ends_run=ruling.ends_run and not asked.optional))
        raise denial("model", ruling.reason, ruling.code)
    if plan.note is not None:
        asked.conversation.add(plan.note)
        asked.conversation.commit(ctx.log)
        asked.conversation.level = plan.level
        record_limit(ctx, call.path, plan.level, looping=plan.looping)
    return plan, ruling


def _add_notes(conversation: Conversation, intents: Sequence[ModelIntent]) -> None:
    """The notes that the recorded attempts of a call had added: each stays in the conversation."""
    for intent in intents:
        note = budget_note(conversation, intent.level)
        if note is not None:
            conversation.add(note)
            conversation.level = intent.level


def _sent(ctx: RunContext, call: Call, conversation: Conversation) -> None:
    conversation.commit(ctx.log)
    conversation.sent_path, conversation.sent_count = call.path, len(conversation.messages)


def _failed(model: Model, failure: Failure | None) -> ModelFailed:
    failure = failure or Failure("model_failed")
    return ModelFailed(f"{model.name}: {failure.words or failure.code}", failure=failure.code, cause=failure.cause)


def tools_digest(tools: Sequence[ToolSpec], output_tool: ToolSpec | None) -> str:
    """Of what is offered to the model."""
    offered = [*tools, output_tool] if output_tool else tools
    return digest_of([[tool.name, tool.description, tool.schema] for tool in offered]) if offered else ""
