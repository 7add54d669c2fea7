"""The model gate: control → limits → budget → intent → call → settle → outcome, once for every attempt."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import msgspec

from penstock.events import Amount, Failure, ModelIntent, ModelOutcome, VerdictRecorded
from penstock.events.messages import Message, decode_message, encode_message, storable_message
from penstock.gates.alarm import Alarm
from penstock.gates.context import Call, RunContext
from penstock.gates.conversation import Conversation
from penstock.gates.ledger import first_ref
from penstock.gates.model_plan import ModelCall, Plan, budget_note, make_plan
from penstock.gates.retry import may_retry, pause_seconds
from penstock.kernel.canonical import clean_text, stable_json
from penstock.kernel.canonical import digest as digest_of
from penstock.kernel.errors import CallDenied, ModelFailed
from penstock.ports.model import Model, ModelError, ModelRequest, ModelResponse, ToolSpec
from penstock.rules.default import MODEL_RULES
from penstock.rules.verdict import CallFacts, Ruling, Verdict

WORDS_MAX_CHARS = 300  # of what a provider says of a failure
ID_MAX_CHARS = 200  # of a provider's id of its answer


@dataclass(slots=True, frozen=True)
class Turn:
    """One answer of a model. ``last``: the budget ends here, the answer must be used as it is."""

    message: Message
    finish: str
    last: bool
    ref: str = ""  # commitment of the message


async def call_model(ctx: RunContext, asked: ModelCall) -> Turn:
    """One step of a conversation through the gate.

    Raises:
        CallDenied: a rule denied it and the run may go on without it.
        ModelFailed: all attempts failed.
    """
    conversation = asked.conversation
    conversation.commit(ctx.log)
    extra = stable_json([asked.tools_digest, asked.purpose, asked.settings.max_tokens, asked.settings.temperature])
    call = ctx.enter("model", asked.model.name, conversation.digest(extra), shown=conversation.messages)
    last = call.last
    if last is not None and not isinstance(last, ModelIntent) and not getattr(last, "again", False):
        return await _replay(ctx, call, asked)
    await ctx.schedule.live(call.path)
    turn: Turn = await ctx.perform(call, _live(ctx, call, asked))
    return turn


async def _replay(ctx: RunContext, call: Call, asked: ModelCall) -> Turn:
    last = call.recorded[-1]
    if isinstance(last, VerdictRecorded):
        await ctx.replay(call)
        raise CallDenied(last.verdicts[-1].reason, gate="model", rule=last.verdicts[-1].code)
    assert isinstance(last, ModelOutcome)
    intents = [event for event in call.recorded if isinstance(event, ModelIntent)]
    _add_notes(asked.conversation, intents)
    if not intents[-1].shortened:
        _sent(ctx, call, asked.conversation)
    ref = first_ref(last, "response")
    message = decode_message(await ctx.load(ref)) if ref else None
    await ctx.replay(call)
    ctx.simulated |= last.simulated
    if message is None:
        raise _failed(asked.model, last.failure)
    if not last.at_maximum and not intents[-1].shortened:
        asked.conversation.learn(last.used, message)
    return Turn(message, last.finish, intents[-1].purpose == "final", ref)


async def _live(ctx: RunContext, call: Call, asked: ModelCall) -> Turn:
    intents = [event for event in call.recorded if isinstance(event, ModelIntent)]
    _add_notes(asked.conversation, intents)
    asked.conversation.commit(ctx.log)
    _settle_lost(ctx, call)
    attempt = len(intents)
    while True:
        attempt += 1
        plan, ruling = await _allowed(ctx, call, asked, attempt)
        intent = _intent(ctx, call, asked, plan, ruling, attempt)
        ctx.ledger.reserve(plan.reserved)
        ctx.facts.model_calls += 1
        ctx.facts.attempts += 1
        ctx.facts.steps += attempt == 1
        await ctx.intend(call, intent)
        outcome, response = await _attempt(ctx, call, asked, plan, attempt)
        ctx.ledger.settle(plan.reserved, outcome.used, at_maximum=outcome.at_maximum)
        ctx.record(call, outcome)
        ctx.simulated |= outcome.simulated
        if response is not None:
            if not plan.shortened:
                _sent(ctx, call, asked.conversation)
                if response.used is not None:
                    asked.conversation.learn(response.used, response.message)
            return Turn(response.message, response.finish, plan.final, first_ref(outcome, "response"))
        if ctx.fault is not None:
            await ctx.halt()
        assert outcome.failure is not None
        if not outcome.again:
            raise _failed(asked.model, outcome.failure)
        await ctx.interruptible(call.branch, ctx.services.clock.sleep(pause_seconds(outcome.failure, attempt)))


def _intent(ctx: RunContext, call: Call, asked: ModelCall, plan: Plan, ruling: Ruling, attempt: int) -> ModelIntent:
    conversation = asked.conversation
    if plan.shortened:
        prefix: dict[str, Any] = {}
        refs = [ctx.log.payload(encode_message(message)) for message in plan.messages]
    else:
        prefix = {"prefix_path": conversation.sent_path, "prefix_count": conversation.sent_count}
        refs = conversation.refs[conversation.sent_count :]
    return ctx.event(
        ModelIntent,
        call.path,
        model=asked.model.name,
        digest=call.identity.digest,
        attempt=attempt,
        purpose="final" if plan.final else asked.purpose,
        reserved=plan.reserved,
        max_tokens=plan.max_tokens,
        timeout=int(ctx.at_most(asked.settings.timeout_seconds) * 1e6),
        tool_choice=_choice(asked, plan),
        offered=asked.tools_digest,
        passed=ruling.passed,
        verdicts=ruling.verdicts,
        because="retry" if attempt > 1 else "",
        level=plan.level if plan.note is not None else 0,
        shortened=plan.shortened,
        payloads={"messages": refs},
        **prefix,
    )


def _choice(asked: ModelCall, plan: Plan) -> Literal["auto", "none", "required"]:
    """A last answer may not call tools; where answers are given by an output tool, it must call that one."""
    if not plan.final:
        return "auto"
    return "required" if asked.output_tool else "none"


def _settle_lost(ctx: RunContext, call: Call) -> None:
    """Charge an attempt whose outcome was lost at its maximum."""
    last = call.last
    if isinstance(last, ModelIntent):
        ctx.ledger.settle(last.reserved, last.reserved, at_maximum=True)
        lost = ctx.event(
            ModelOutcome,
            call.path,
            attempt=last.attempt,
            status="lost",
            used=last.reserved,
            at_maximum=True,
            again=True,
        )
        ctx.record(call, lost)
        ctx.schedule.settled(call.path)


async def _allowed(ctx: RunContext, call: Call, asked: ModelCall, attempt: int) -> tuple[Plan, Ruling]:
    """The plan for an attempt that all rules allow; does not return when a limit ends the run."""
    price = asked.model.price()
    plan = make_plan(ctx, asked, price)
    ctx.facts.seconds = ctx.active_seconds()
    facts = CallFacts(
        "model",
        asked.model.name,
        call.identity.digest,
        reserved=plan.reserved,
        price=price,
        final=plan.final,
        attempt=attempt,
    )
    ruling = MODEL_RULES.decide(facts, ctx.facts)
    if ruling.verdict in (Verdict.DENY, Verdict.HOLD):
        ctx.record(
            call,
            ctx.event(
                VerdictRecorded,
                call.path,
                gate="model",
                name=asked.model.name,
                verdict="deny",
                digest=call.identity.digest,
                passed=ruling.passed,
                verdicts=ruling.verdicts,
                ends_run=ruling.ends_run,
            ),
        )
        ctx.deny(ruling)
        if ctx.fault is not None:
            await ctx.halt()
        raise CallDenied(ruling.reason, gate="model", rule=ruling.code)
    if plan.note is not None:
        asked.conversation.add(plan.note)
        asked.conversation.commit(ctx.log)
        asked.conversation.level = plan.level
        ctx.record_limit(call.path, plan.level, looping=plan.looping)
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


async def _attempt(
    ctx: RunContext, call: Call, asked: ModelCall, plan: Plan, attempt: int
) -> tuple[ModelOutcome, ModelResponse | None]:
    """Exactly one wire call, and its outcome."""
    settings = asked.settings
    request = ModelRequest(
        plan.messages,
        asked.tools,
        replace(settings, max_tokens=plan.max_tokens),
        _choice(asked, plan),
        asked.output_tool,
    )
    clock = ctx.services.clock
    started = clock.boot_ns()
    seconds = ctx.at_most(settings.timeout_seconds)
    response: ModelResponse | None = None
    failure: Failure | None = None
    billed: bool | None = None
    try:
        with Alarm(seconds):
            response = _checked(ctx, await ctx.interruptible(call.branch, asked.model.request(request)))
    except ModelError as error:
        failure, billed = error.failure, error.billed
        failure = msgspec.structs.replace(failure, words=clean_text(failure.words, WORDS_MAX_CHARS))
    except TimeoutError:
        failure = Failure("model_timeout", "transient", f"no answer within {seconds:g} s")
    except asyncio.CancelledError:
        ctx.cancelled(call)
        failure = Failure("cancelled", "permanent", "the call was cancelled")
    except Exception as error:
        failure = Failure("model_adapter", "unknown", f"{type(error).__name__} in the model adapter")
    latency = (clock.boot_ns() - started) // 1000
    if response is not None:
        return _answered(ctx, call, asked, plan, attempt, response, latency), response
    assert failure is not None
    free = billed is False
    return (
        ctx.event(
            ModelOutcome,
            call.path,
            attempt=attempt,
            status="error",
            used=Amount() if free else plan.reserved,
            at_maximum=not free,
            latency=latency,
            failure=failure,
            simulated=asked.model.simulated,
            again=ctx.fault is not None or may_retry(failure, attempt, _attempts(ctx, asked)),
        ),
        None,
    )


def _checked(ctx: RunContext, response: ModelResponse) -> ModelResponse:
    """An answer as it can be recorded.

    Raises:
        ModelError: it is none, or cannot be recorded whole; it was paid for all the same.
    """
    message, used = response.message, response.used
    if not isinstance(message, Message) or message.role != "assistant":
        raise ModelError(Failure("answer_invalid", "unknown", "the model adapter gave no message"))
    if used is not None and min(used.tokens_in, used.tokens_out) < 0:
        used = None
    message = storable_message(message)
    size, limit = len(encode_message(message)), ctx.services.settings.payload_max_bytes
    if size > limit:
        words = f"the answer has {size:,} bytes; PENSTOCK_PAYLOAD_MAX_BYTES allows {limit:,}"
        raise ModelError(Failure("answer_too_large", "permanent", words))
    return replace(response, message=message, used=used, provider_id=clean_text(response.provider_id, ID_MAX_CHARS))


def _answered(
    ctx: RunContext, call: Call, asked: ModelCall, plan: Plan, attempt: int, response: ModelResponse, latency: int
) -> ModelOutcome:
    price = asked.model.price()
    used = response.used
    if used is not None and price is not None:
        used = msgspec.structs.replace(used, nano=price.of(used))
    return ctx.event(
        ModelOutcome,
        call.path,
        attempt=attempt,
        used=plan.reserved if used is None else used,
        at_maximum=used is None,
        latency=latency,
        finish=response.finish,
        provider_id=response.provider_id,
        simulated=asked.model.simulated,
        payloads={"response": [ctx.log.payload(encode_message(response.message))]},
    )


def _attempts(ctx: RunContext, asked: ModelCall) -> int:
    limit = ctx.facts.budget.attempts
    return min(asked.attempts, limit) if limit else asked.attempts


def _failed(model: Model, failure: Failure | None) -> ModelFailed:
    failure = failure or Failure("model_failed")
    return ModelFailed(f"{model.name}: {failure.words or failure.code}", failure=failure.code, cause=failure.cause)


def tools_digest(tools: Sequence[ToolSpec], output_tool: ToolSpec | None) -> str:
    """Of what is offered to the model."""
    offered = [*tools, output_tool] if output_tool else tools
    return digest_of([[tool.name, tool.description, tool.schema] for tool in offered]) if offered else ""
