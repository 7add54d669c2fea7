"""Which model calls may be served from the cache, what is recorded of one that is, and which answers are kept."""

from collections.abc import Callable, Iterable
from typing import Any

from msgspec.structs import replace

from penstock.events import Amount, ModelIntent, ModelOutcome
from penstock.events.messages import Message, Text, decode_message, encode_message, storable_message
from penstock.gates.cache.keys import policy, scope_name
from penstock.gates.cache.standing import Standing, Wanted, look
from penstock.gates.model.plan import ModelCall, Plan, make_plan
from penstock.gates.run.call import Call
from penstock.gates.run.context import RunContext
from penstock.gates.run.deadline import at_most
from penstock.gates.run.words import is_budget_line
from penstock.kernel.canonical import stable_json
from penstock.kernel.errors import EventUnreadable
from penstock.ports.cache import Scope
from penstock.ports.live import Piece
from penstock.rules.default import MODEL_RULES
from penstock.rules.sketch import words_of
from penstock.rules.verdict import CallFacts, Ruling, Verdict

WHOLE = ("stop", "tool_calls")
"""How an answer ended that is all the model had to say."""


class Served:
    """A model call that may be served. With ``message`` it is; else it is made inside ``with served.standing``."""

    def __init__(self, standing: Standing, plan: Plan, ruling: Ruling) -> None:
        self.standing = standing
        self.plan = replace(plan, reserved=Amount())
        self.ruling = ruling
        self.message: Message | None = None


async def look_up(ctx: RunContext, call: Call, asked: ModelCall, facts: Callable[[Plan], CallFacts]) -> Served | None:
    """How a call that is about to be made stands to the cache; None: it is made as if there were none.

    It is asked only for calls that the rules would let go ahead as they are: the whole conversation as the agent wants
    it, with no note about the budget in it, and with all the room for the answer that the agent gives it.
    """
    cache, conversation = asked.cache, asked.conversation
    if cache is None or conversation.level or not _is_cool(asked):
        return None
    name = scope_name(ctx, cache.scope)
    if name is None:
        return None
    plan = make_plan(ctx, asked, asked.model.price())
    if plan.final or plan.note is not None or plan.shortened or plan.max_tokens != asked.settings.max_tokens:
        return None
    ctx.facts.seconds = ctx.active_seconds()
    ruling = MODEL_RULES.decide(facts(plan), ctx.facts)
    if ruling.verdict >= Verdict.HOLD or ctx.fault is not None:
        return None
    try:
        request = _canonical(ctx, asked, cache.scope, name)
    except (TypeError, ValueError, OverflowError):  # settings that have no stored form
        return None
    wanted = Wanted("model", asked.model.name, cache.scope, name, request, cache.seconds)
    standing = await look(ctx, call, wanted, at_most(ctx, asked.settings.timeout_seconds))
    if standing is None:
        return None
    served = Served(standing, plan, ruling)
    if standing.entry is not None:
        message = _read(asked, standing.data)
        if message is not None and _is_acceptable(asked, message):
            served.message = message
        else:
            standing.refuse()
    call.cache = "miss" if served.message is None else "hit"
    if asked.keeping is not None:
        asked.keeping.stands(call.cache)
    return served


def outcome_of(ctx: RunContext, call: Call, asked: ModelCall, served: Served) -> ModelOutcome:
    """The record of a call that was served: it cost nothing, and names the one that was paid for."""
    standing, message = served.standing, served.message
    entry = standing.entry
    assert entry is not None
    assert message is not None
    data = standing.data if asked.keeping is None else storable_message(message)[1]
    live = ctx.services.live
    if live is not None and message.text and live.is_watched(ctx.run_id):
        live.say(Piece(ctx.run_id, call.path, 1, 0, message.text))
    return ctx.event(
        ModelOutcome,
        call.path,
        attempt=1,
        status="cached",
        finish=entry.finish,
        simulated=asked.model.simulated or entry.simulated,
        said=words_of(message.text, ctx.claim.subject_key),
        source=standing.served(),
        saved_nano=entry.nano,
        saved_tokens=entry.tokens,
        payloads={"response": [ctx.log.payload(data)]},
    )


def keep(call: Call, asked: ModelCall, served: Served, message: Message) -> None:
    """Keep the answer that the call came to, if it may be given again: a whole one, to this very request."""
    outcome = call.last
    if not isinstance(outcome, ModelOutcome) or outcome.status != "ok" or outcome.finish not in WHOLE:
        return
    intents = (event for event in call.recorded if isinstance(event, ModelIntent))
    intent = next((event for event in intents if event.attempt == outcome.attempt), None)
    if intent is None or intent.model != served.standing.wanted.name or intent.shortened or asked.conversation.level:
        return
    if intent.max_tokens != asked.settings.max_tokens or not _is_acceptable(asked, message):
        return
    data = encode_message(message) if asked.keeping is None else asked.keeping.pack()
    if data is None:
        return
    # What was charged at its maximum says nothing of what the next call would have cost.
    known = Amount() if outcome.at_maximum else outcome.used
    served.standing.keep(
        data,
        finish=outcome.finish,
        simulated=outcome.simulated,
        tokens=known.tokens,
        nano=known.nano,
    )


def count_call(ctx: RunContext, model: str, outcome: ModelOutcome) -> None:
    """Count an attempt that was made, and what the provider read of it from its own cache of prompts."""
    cache = ctx.services.cache
    if cache is None or outcome.status != "ok" or outcome.at_maximum:
        return
    used, claim = outcome.used, ctx.claim
    cache.count(
        claim.tenant,
        "model",
        claim.agent,
        model,
        calls=1,
        tokens_in=used.tokens_in,
        tokens_cached=used.cached,
        tokens_written=used.written,
    )


def _canonical(ctx: RunContext, asked: ModelCall, scope: Scope, name: str) -> bytes:
    """The canonical form of a request to a model: what is sent, what it was let through by, and who shares it.

    What remains of the budget is told to the model after each step; it does not count, for while the budget is not
    near its end the answer is to be the same. A note that the end is near does.
    """
    settings = asked.settings
    about = [*policy(ctx, "model", scope, name, MODEL_RULES), asked.model.name]
    if asked.keeping is not None:
        return b"\n".join([stable_json([*about, settings.max_tokens]), asked.keeping.request()])
    about += [
        [settings.max_tokens, settings.temperature, settings.seed, settings.extra],
        asked.tools_digest,
        [[tool.name, tool.strict] for tool in asked.offered],
        asked.output_tool.name if asked.output_tool is not None else "",
    ]
    messages = asked.conversation.as_sent_to(asked.model, asked.conversation.messages)
    return b"\n".join([stable_json(about), *map(canonical_message, messages)])


def _read(asked: ModelCall, data: bytes) -> Message | None:
    if asked.keeping is not None:
        return asked.keeping.unpack(data)
    try:
        return decode_message(data)
    except EventUnreadable:
        return None


def canonical_message(message: Message) -> bytes:
    """A message as it counts: without the provider library's own form of it, which repeats the rest."""
    parts: Iterable[Any] = message.parts
    if message.role == "tool":
        parts = [part for part in parts if not (type(part) is Text and is_budget_line(part.text))]
    if message.cache or parts is not message.parts:
        message = replace(message, parts=list(parts), cache={})
    return stable_json(message)


def _is_cool(asked: ModelCall) -> bool:
    """Whether the model is asked for the same words each time, as far as the agent wants that."""
    assert asked.cache is not None
    most, temperature = asked.cache.temperature_max, asked.settings.temperature
    return most is None or (temperature is not None and temperature <= most)


def _is_acceptable(asked: ModelCall, message: Message) -> bool:
    """Whether the answer says something, and the agent would take it."""
    if not message.tool_calls and not message.text.strip():
        return False
    try:
        return asked.accepts is None or asked.accepts(message)
    except Exception:  # what the agent's own code cannot even look at is made anew, and fails where it is used
        return False
