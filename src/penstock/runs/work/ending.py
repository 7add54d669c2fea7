"""How a run ends: the one structured outcome."""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import msgspec

from penstock.agents.definition import Definition
from penstock.agents.degrade import prepared_answer
from penstock.agents.stages import effect_name, took_effect
from penstock.events import ChildIntent, ChildOutcome, StageEnded, Totals
from penstock.gates.filters.taint import handed
from penstock.gates.run.context import RunContext
from penstock.gates.run.ledger import is_write
from penstock.gates.waits.child_gate import ChildEnd
from penstock.gates.waits.continue_gate import added
from penstock.kernel.canonical import clean_text, describe, stable_json
from penstock.kernel.errors import Escalation, OutputInvalid, PenstockError, Reject, RunFault
from penstock.ports.agents import AgentDef
from penstock.ports.records import CONTINUED, Post

REFUSALS = ("call_denied", "approval_denied")

REASON_MAX_CHARS = 2000
CODE_MAX_CHARS = 64
DONE_MOST = 50
"""Writes that an outcome names."""


@dataclass(slots=True, frozen=True)
class Ending:
    """An outcome before it is written down. ``output`` is the stored form, whole or partial; b"" = none."""

    outcome: str
    code: str = ""
    reason: str = ""
    output: bytes = b""
    missing: list[str] = field(default_factory=list)
    needed: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)


GOES_ON = Ending("succeeded", CONTINUED, "the run goes on in another")


def told_to_parent(ctx: RunContext, ending: Ending, totals: Totals, output: str) -> Post | None:
    """The letter for whoever called this run, or the run in which its chain began; ``output`` is a commitment."""
    submitted = ctx.tape.submitted
    parent = submitted.parent if submitted.first else ctx.claim.parent
    if parent is None:
        return None
    child = submitted.first or ctx.claim.run
    end = ChildEnd(
        child,
        ending.outcome,
        ctx.claim.subject,
        ending.code,
        ending.reason,
        added(submitted.carried, totals),
        output,
        ctx.simulated,
        handed(ctx.facts.taint, ctx.claim.agent),
    )
    return Post(ctx.claim.tenant, parent, f"child:{child}", "child", msgspec.json.encode(end))


def judge(ctx: RunContext, agent: AgentDef | None, result: Any, failure: BaseException | None) -> Ending:
    """The outcome of a run. What the engine decided comes before what the code returned or raised."""
    fault: BaseException | None = ctx.fault or failure
    if fault is None and agent is not None:
        try:
            data = stable_json(agent.plain_output(result))
        except Exception as error:  # noqa: BLE001 - the agent's own types may raise anything
            fault = error
        else:
            limit = ctx.services.settings.payload_max_bytes
            if len(data) <= limit:
                lacking = ctx.recovered_from
                if lacking is None:
                    return Ending("succeeded", output=data)
                who = lacking.fields.get("answered_by", "the fallback")
                words = f"{who} answered, because: {lacking.what}"
                return Ending("succeeded", "fallback", words, data, done=_done(ctx))
            hint = "return less, or raise PENSTOCK_PAYLOAD_MAX_BYTES"
            fault = OutputInvalid(f"the output has {len(data):,} bytes; the bound is {limit:,}", hint=hint)
    partial = _partial(ctx)
    # Reads and model calls in doubt are charged, and that is all there is to know of them.
    writes = {path for path in ctx.schedule.doubts if any(is_write(event) for event in ctx.tape.calls[path])}
    unsettled = sorted(writes | ctx.unsettled)
    missing = ["the final answer", *(f"whether the call at {path} took effect" for path in unsettled)]
    missing += _uncompensated(ctx, agent)
    done = _done(ctx)
    reason = clean_text(fault.what, REASON_MAX_CHARS) if isinstance(fault, PenstockError) else ""
    if isinstance(fault, RunFault):
        if fault.outcome == "exhausted" and not partial and isinstance(agent, Definition):
            partial = prepared_answer(agent, "exhausted", ctx.run_id)
        return Ending(fault.outcome, fault.fault_code, reason, partial, missing, fault.needed, done)
    if isinstance(fault, Escalation):
        return Ending("escalated", "escalated", reason, partial, missing, ["a person's decision"], done)
    if isinstance(fault, Reject):
        code = clean_text(fault.reject_code, CODE_MAX_CHARS)
        return Ending("refused", code, reason, partial, missing, [fault.advice] if fault.advice else [], done)
    if isinstance(fault, PenstockError):
        outcome = "refused" if fault.code in REFUSALS else "failed"
        return Ending(outcome, fault.code, reason, partial, missing, [fault.advice] if fault.advice else [], done)
    assert fault is not None
    return Ending("failed", "agent_raised", describe(fault, 500), partial, missing, ["a fix of the agent's code"], done)


def open_children(ctx: RunContext) -> list[UUID]:
    """Children whose ends this run has not learnt, also those that its code has not come to again under this claim."""
    found = {UUID(waiting.id) for waiting in ctx.mail.waiting.values() if waiting.kind == "child"}
    for events in ctx.tape.calls.values():
        begun = [event.child for event in events if isinstance(event, ChildIntent)]
        if begun and not any(isinstance(event, ChildOutcome) for event in events):
            found.update(begun)
    return sorted(found)


def _uncompensated(ctx: RunContext, agent: AgentDef | None) -> list[str]:
    """Writes that stand although the agent has a way to take them back: it failed at that, or the run was stopped."""
    left = ctx.uncompensated
    if left is None:
        left = []
        if isinstance(agent, Definition) and agent.stages.compensate is not None and ctx.fault is not None:
            calls = {**ctx.tape.calls, **ctx.acted}
            done = any(isinstance(event, StageEnded) and event.name == "compensate" for event in ctx.tape.events)
            left = [effect_name(path, events) for path, events in calls.items() if not done and took_effect(events)]
    return [f"compensation of {what}" for what in left]


def _done(ctx: RunContext) -> list[str]:
    """Writes that took effect and stand, as far as this worker knows of them: the whole tape is read by those who ask
    (`penstock.views.failure_report`)."""
    if ctx.uncompensated == []:
        return []
    calls = {**ctx.tape.calls, **ctx.acted}
    found = [effect_name(path, events) for path, events in calls.items() if took_effect(events)]
    return [*found[:DONE_MOST], f"and {len(found) - DONE_MOST} more"] if len(found) > DONE_MOST else found


def _partial(ctx: RunContext) -> bytes:
    if ctx.partial is None:
        return b""
    try:
        data = stable_json(ctx.partial)
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError):
        return b""
    return data if len(data) <= ctx.services.settings.payload_max_bytes else b""
