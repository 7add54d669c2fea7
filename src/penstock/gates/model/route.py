"""Which model is asked when a circuit breaker is open for the first."""

from msgspec.structs import replace

from penstock.gates.breakers.admission import denied_by, is_idle, shut_for, wait_for_any
from penstock.gates.model.plan import ModelCall
from penstock.gates.run.call import Call
from penstock.gates.run.context import RunContext
from penstock.kernel.errors import PenstockError
from penstock.ports.model import Model
from penstock.rules.verdict import Decision


async def route(ctx: RunContext, call: Call, asked: ModelCall, because: str) -> tuple[ModelCall, str, Decision | None]:
    """What is asked and why, of another model when the breakers say so; and what the rule is to say, None = nothing.

    Waits, and lets the run park, when they say so.
    """
    while not is_idle(ctx):
        shut = await shut_for(ctx, call, "model", asked.model.name)
        if not shut:
            return asked, because, None
        wishes = {circuit.breaker.meanwhile for circuit in shut}
        if "fail" in wishes:
            return asked, because, denied_by(ctx, shut)
        if "queue" in wishes:
            await wait_for_any(ctx, call, asked.model.name, shut)
            continue
        named = [circuit.breaker.fallback for circuit in shut if circuit.breaker.fallback]
        for name in dict.fromkeys([*named, *(model.name for model in asked.fallbacks)]):
            other = asked_of(ctx, asked, name)
            if other.model.name == name and not await shut_for(ctx, call, "model", name):
                return other, "fallback", None
        return asked, because, denied_by(ctx, shut)
    return asked, because, None


def asked_of(ctx: RunContext, asked: ModelCall, name: str) -> ModelCall:
    """The call as it is made to the model of that name: one of its own, the ones after it left as fallbacks, or one
    that only a breaker names. Unchanged when there is no such model here."""
    if asked.model.name == name:
        return asked
    names = [model.name for model in asked.fallbacks]
    if name in names:
        place = names.index(name)
        return replace(asked, model=asked.fallbacks[place], fallbacks=asked.fallbacks[place + 1 :])
    found = _find(ctx, name)
    return asked if found is None else replace(asked, model=found)


def _find(ctx: RunContext, name: str) -> Model | None:
    try:
        return ctx.services.models.find(name)
    except PenstockError:
        return None
