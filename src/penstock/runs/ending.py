"""How a run ends: the one structured outcome."""

from dataclasses import dataclass, field
from typing import Any

import msgspec

from penstock.events import Event, ToolIntent
from penstock.gates.context import RunContext
from penstock.kernel.canonical import clean_text, describe, stable_json
from penstock.kernel.errors import Escalation, OutputInvalid, PenstockError, RunFault
from penstock.ports.agents import AgentDef

REFUSALS = ("call_denied", "approval_denied")

REASON_MAX_CHARS = 2000


@dataclass(slots=True, frozen=True)
class Ending:
    """An outcome before it is written down. ``output`` is the stored form, whole or partial; b"" = none."""

    outcome: str
    code: str = ""
    reason: str = ""
    output: bytes = b""
    missing: list[str] = field(default_factory=list)
    needed: list[str] = field(default_factory=list)


def judge(ctx: RunContext, agent: AgentDef | None, result: Any, failure: BaseException | None) -> Ending:
    """The outcome of a run. What the engine decided comes before what the code returned or raised."""
    fault: BaseException | None = ctx.fault or failure
    if fault is None and agent is not None:
        try:
            data = stable_json(agent.plain_output(result))
        except Exception as error:  # noqa: BLE001 - an output type is the user's code
            fault = error
        else:
            limit = ctx.services.settings.payload_max_bytes
            if len(data) <= limit:
                lacking = ctx.recovered_from
                if lacking is None:
                    return Ending("succeeded", output=data)
                return Ending("succeeded", "fallback", f"the fallback answered, because: {lacking.what}", data)
            hint = "return less, or raise PENSTOCK_PAYLOAD_MAX_BYTES"
            fault = OutputInvalid(f"the output has {len(data):,} bytes; the bound is {limit:,}", hint=hint)
    partial = _partial(ctx)
    # Reads and model calls in doubt are charged, and that is all there is to know of them.
    writes = {path for path in ctx.schedule.doubts if any(_writes(event) for event in ctx.tape.calls[path])}
    unsettled = sorted(writes | ctx.unsettled)
    missing = ["the final answer", *(f"whether the call at {path} took effect" for path in unsettled)]
    reason = clean_text(fault.what, REASON_MAX_CHARS) if isinstance(fault, PenstockError) else ""
    if isinstance(fault, RunFault):
        return Ending(fault.outcome, fault.fault_code, reason, partial, missing, fault.needed)
    if isinstance(fault, Escalation):
        return Ending("escalated", "escalated", reason, partial, missing, ["a person's decision"])
    if isinstance(fault, PenstockError):
        outcome = "refused" if fault.code in REFUSALS else "failed"
        return Ending(outcome, fault.code, reason, partial, missing, [fault.advice] if fault.advice else [])
    assert fault is not None
    return Ending("failed", "agent_raised", describe(fault, 500), partial, missing, ["a fix of the agent's code"])


def _writes(event: Event) -> bool:
    return isinstance(event, ToolIntent) and event.effect == "write"


def _partial(ctx: RunContext) -> bytes:
    if ctx.partial is None:
        return b""
    try:
        data = stable_json(ctx.partial)
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError):
        return b""
    return data if len(data) <= ctx.services.settings.payload_max_bytes else b""
