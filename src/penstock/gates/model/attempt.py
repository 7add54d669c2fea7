"""One attempt at a model call: exactly one wire call, and what is recorded of it."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Literal

import msgspec

from penstock.events import Amount, Failure, Filtered, ModelIntent, ModelOutcome
from penstock.events.messages import Message, storable_message
from penstock.gates.breakers.admission import cutting, observe, observe_answer
from penstock.gates.breakers.cutting import CUT, CallCut
from penstock.gates.filters.releasing import released_message
from penstock.gates.filters.speaking import Voice
from penstock.gates.limits.alarm import Alarm
from penstock.gates.model.cached import count_call
from penstock.gates.model.plan import ModelCall, Plan
from penstock.gates.rates.renewal import has_turn, passed_by
from penstock.gates.run.call import ID_MAX_CHARS, Call
from penstock.gates.run.context import RunContext
from penstock.gates.run.deadline import at_most
from penstock.gates.run.ledger import first_ref
from penstock.kernel.canonical import clean_text
from penstock.ports.live import Piece
from penstock.ports.model import Model, ModelError, ModelRequest, ModelResponse, Price
from penstock.rules.sketch import words_of

WORDS_MAX_CHARS = 300  # of what a provider says of a failure


class Made(msgspec.Struct, frozen=True):
    """What a wire call came to: a response, or a failure and whether it was ``billed`` (None = not known)."""

    response: ModelResponse | None
    failure: Failure | None
    billed: bool | None
    latency: int  # microseconds
    data: bytes = b""  # the stored form of the response's message
    filtered: list[Filtered] = []
    spent: Amount | None = None  # what an answer used that filters have withheld


class Attempt(msgspec.Struct, frozen=True):
    """An attempt whose intent is durable."""

    intent: ModelIntent
    plan: Plan

    @property
    def number(self) -> int:
        return self.intent.attempt


async def make(ctx: RunContext, call: Call, asked: ModelCall, attempt: Attempt) -> Made:
    """Make the wire call. In a task of its own a cancellation is a result too, not the run's concern."""
    if not has_turn(ctx, call):
        return Made(None, passed_by(), False, 0)
    settings, plan = asked.settings, attempt.plan
    if plan.max_tokens != settings.max_tokens:
        settings = replace(settings, max_tokens=plan.max_tokens)
    request = ModelRequest(
        asked.conversation.as_sent_to(asked.model, plan.messages),
        asked.tools,
        settings,
        tool_choice(asked, plan),
        asked.output_tool,
    )
    clock = ctx.services.clock
    started = clock.boot_ns()
    seconds = at_most(ctx, settings.timeout_seconds)
    task = asyncio.current_task(ctx.schedule.loop)
    assert task is not None
    is_own = task is call.branch.task
    response: ModelResponse | None = None
    data = b""
    filtered: list[Filtered] = []
    spent: Amount | None = None
    failure: Failure | None = None
    billed: bool | None = None
    live = ctx.services.live
    ctx.services.outside += 1
    try:
        with Alarm(task, seconds), cutting(ctx, "model", asked.model.name, task):
            watched = live is not None and live.is_watched(ctx.run_id)
            body = spoken(ctx, call, asked.model, request, attempt) if watched else asked.model.request(request)
            answer = _checked(ctx, await (ctx.interruptible(call.branch, body) if is_own else body))
            response, data, filtered, failure, spent = await _filtered(ctx, asked, *answer)
    except ModelError as error:
        failure, billed = error.failure, error.billed
        failure = msgspec.structs.replace(failure, words=clean_text(failure.words, WORDS_MAX_CHARS))
    except CallCut:
        failure = CUT
    except TimeoutError:
        failure = Failure("model_timeout", "transient", f"no answer within {seconds:g} s")
    except asyncio.CancelledError:
        if is_own:
            ctx.cancelled(call)
        failure = Failure("cancelled", "permanent", "the call was cancelled")
    except Exception as error:
        failure = Failure("model_adapter", "unknown", f"{type(error).__name__} in the model adapter")
    finally:
        ctx.services.outside -= 1
    if response is not None:
        observe_answer(ctx, asked.model.name, response.message)
    return Made(response, failure, billed, (clock.boot_ns() - started) // 1000, data, filtered, spent)


async def _filtered(
    ctx: RunContext, asked: ModelCall, response: ModelResponse, data: bytes
) -> tuple[ModelResponse | None, bytes, list[Filtered], Failure | None, Amount | None]:
    """The answer as it may be released; or none, why, and what it has used all the same."""
    if ctx.facts.filters is None:
        return response, data, [], None, None
    name = asked.output_tool.name if asked.output_tool is not None else ""
    message, found, withheld = await released_message(ctx, response.message, name)
    if withheld is not None:
        return None, b"", found, withheld, response.used
    if message is not response.message:
        response, data = _checked(ctx, replace(response, message=message))
    return response, data, found, None, None


async def spoken(ctx: RunContext, call: Call, model: Model, request: ModelRequest, attempt: Attempt) -> ModelResponse:
    """The same call, its words said aloud as they come. The agent sees the whole answer only.

    Raises:
        ModelError: it failed, or ended without an answer.
    """
    live = ctx.services.live
    assert live is not None
    said, number = 0, attempt.number
    if number > 1:
        live.say(Piece(ctx.run_id, call.path, number, 0, "", reset=True))
    voice = Voice(ctx)
    async with aclosing(model.stream(request)) as pieces:
        async for piece in pieces:
            text = voice.rest() if isinstance(piece, ModelResponse) else voice.hear(piece)
            if text:
                live.say(Piece(ctx.run_id, call.path, number, said, text))
                said += len(text)
            if isinstance(piece, ModelResponse):
                return piece
    raise ModelError(Failure("answer_invalid", "unknown", "the model's stream ended without an answer"))


def tool_choice(asked: ModelCall, plan: Plan) -> Literal["auto", "none", "required"]:
    """A last answer may not call tools; where answers are given by an output tool, it must call that one."""
    if not plan.final:
        return "auto"
    return "required" if asked.output_tool else "none"


def outcome_of(
    ctx: RunContext,
    call: Call,
    asked: ModelCall,
    attempt: Attempt,
    made: Made,
    *,
    again: bool = False,
    retry_at: int = 0,
    failure: Failure | None = None,
) -> ModelOutcome:
    """The record of an attempt; ``failure`` stands in for its own where that says more.

    An answer that nobody waits for (``again``) is charged at what it used, and not kept.
    """
    response, failure, rated_at = made.response, failure or made.failure, ""
    if made.spent is not None:
        known, rated_at = _rated(made.spent, asked.model.price())
        used, at_maximum = (attempt.plan.reserved, True) if known is None else (known, False)
    elif response is None:
        free = made.billed is False
        used, at_maximum = (Amount(), False) if free else (attempt.plan.reserved, True)
    else:
        price = asked.model.price()
        known, rated_at = _rated(response.used, price)
        used, at_maximum = (attempt.plan.reserved, True) if known is None else (known, False)
    kept = response is not None and not again
    if response is not None and again:
        failure = Failure("hedge_lost", "permanent", "the other attempt had answered")
    return ctx.event(
        ModelOutcome,
        call.path,
        attempt=attempt.number,
        status="ok" if kept else "error",
        used=used,
        at_maximum=at_maximum,
        latency=made.latency,
        finish=response.finish if response is not None and kept else "",
        provider_id=response.provider_id if response is not None else "",
        failure=failure,
        simulated=asked.model.simulated,
        again=again,
        retry_at=retry_at,
        said=words_of(response.message.text, ctx.claim.subject_key) if response is not None and kept else "",
        price=rated_at,
        filtered=made.filtered,
        payloads={"response": [ctx.log.payload(made.data)]} if kept else {},
    )


def _rated(used: Amount | None, price: Price | None) -> tuple[Amount | None, str]:
    """A usage with its money, and the price that applied; None when the money of it cannot be known."""
    if used is None or price is None:
        return used, ""
    nano = price.rate(used)
    return (None, "") if nano is None else (msgspec.structs.replace(used, nano=nano), price.text)


def record(ctx: RunContext, call: Call, attempt: Attempt, outcome: ModelOutcome) -> str:
    """Settle the attempt and journal what came of it; the commitment of the answer."""
    ctx.ledger.settle(attempt.plan.reserved, outcome.used, at_maximum=outcome.at_maximum)
    ctx.record(call, outcome)
    count_call(ctx, attempt.intent.model, outcome)
    observe(ctx, call, outcome, attempt.intent.model)
    return first_ref(outcome, "response")


def record_lost(ctx: RunContext, call: Call, intents: Sequence[ModelIntent]) -> None:
    """Charge attempts whose outcome was lost at their maximum."""
    for intent in intents:
        ctx.ledger.settle(intent.reserved, intent.reserved, at_maximum=True)
        lost = ctx.event(
            ModelOutcome,
            call.path,
            attempt=intent.attempt,
            status="lost",
            used=intent.reserved,
            at_maximum=True,
            again=True,
        )
        ctx.record(call, lost)
    if intents:
        ctx.schedule.settled(call.path)


def _checked(ctx: RunContext, response: ModelResponse) -> tuple[ModelResponse, bytes]:
    """An answer as it can be recorded, and the stored form of its message.

    Raises:
        ModelError: it is none, or cannot be recorded whole; it was paid for all the same.
    """
    message, used = response.message, response.used
    if not isinstance(message, Message) or message.role != "assistant":
        raise ModelError(Failure("answer_invalid", "unknown", "the model adapter gave no message"))
    if used is not None and not used.is_sound:
        used = None
    message, data = storable_message(message)
    size, limit = len(data), ctx.services.settings.payload_max_bytes
    if size > limit:
        words = f"the answer has {size:,} bytes; PENSTOCK_PAYLOAD_MAX_BYTES allows {limit:,}"
        raise ModelError(Failure("answer_too_large", "permanent", words))
    provider_id = clean_text(response.provider_id, ID_MAX_CHARS)
    if message is not response.message or used is not response.used or provider_id != response.provider_id:
        response = replace(response, message=message, used=used, provider_id=provider_id)
    return response, data
