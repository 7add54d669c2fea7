"""The tool gate: control → permission → schema → validation → repeats → limits → approval → intent → call → outcome."""

from typing import Any

import msgspec

from penstock.events import (
    ApprovalDecided,
    Failure,
    RuleVerdict,
    ToolIntent,
    ToolOutcome,
    VerdictRecorded,
)
from penstock.gates.breakers.admission import hold, let_go
from penstock.gates.budgets.gate import BudgetShut
from penstock.gates.order.tape import NOT_APPROVED, is_in_doubt
from penstock.gates.run.call import ID_MAX_CHARS, Call
from penstock.gates.run.context import RunContext
from penstock.gates.run.deadline import seconds_to_deadline
from penstock.gates.run.denial import denied
from penstock.gates.run.ledger import first_ref
from penstock.gates.run.taking_back import REFUSED_LATE
from penstock.gates.tool.approval import ask
from penstock.gates.tool.attempt import Asked, attempt, serve
from penstock.gates.tool.cached import invalidate, look_up
from penstock.gates.tool.doubt import settle
from penstock.kernel.canonical import check_plain, clean_text, stable_json, stored_digest
from penstock.kernel.errors import InputInvalid
from penstock.ports.tools import ToolArgsInvalid, ToolDef
from penstock.rules.default import TOOL_RULES
from penstock.rules.verdict import CallFacts, Decision, Ruling, Verdict


class ToolCallAsked(msgspec.Struct, frozen=True):
    """What an agent asks of the tool gate. ``args`` is JSON text from a model, or plain values from code."""

    name: str
    tool: ToolDef | None
    args: str | dict[str, Any]
    call_id: str = ""


class ToolReturn(msgspec.Struct, frozen=True):
    """What came of a tool call. ``status``: ok | error | denied. ``value`` is the plain result."""

    status: str
    value: Any = None
    words: str = ""
    code: str = ""


async def call_tool(ctx: RunContext, asked: ToolCallAsked) -> ToolReturn:
    """One tool call through the gate. Denials and failures are returned, not raised: they are for the agent to see."""
    read = _read(asked)
    call = ctx.enter("tool", read.name, stored_digest(read.data), shown=read.args)
    last = call.last
    ended = isinstance(last, VerdictRecorded) or (isinstance(last, ToolOutcome) and not last.again)
    if ended or (isinstance(last, ApprovalDecided) and last.decision in NOT_APPROVED):
        data = await _result_data(ctx, last)
        return _as_return(await ctx.replay(call), data)
    await ctx.schedule.live(call.path)
    try:
        returned: ToolReturn = await ctx.perform(call, _live(ctx, call, read))
    finally:
        let_go(ctx, call)
    return returned


def _read(asked: ToolCallAsked) -> Asked:
    """Read the arguments once, for the rules and for the call."""
    tool, problem, args = asked.tool, None, {"raw": asked.args}
    if tool is None:
        problem = Decision(Verdict.DENY, f"there is no tool named {_storable(asked.name)[:64]!r}", "tool_unknown")
    else:
        try:
            if not isinstance(asked.args, str):
                check_plain(asked.args, "arguments")
            raw = asked.args if isinstance(asked.args, str) else msgspec.json.encode(asked.args)
            args = tool.read_args(raw)
            check_plain(args, "arguments")
        except (ToolArgsInvalid, InputInvalid, ValueError, RecursionError) as error:
            words = clean_text(error.what if isinstance(error, InputInvalid) else error, 400)
            problem = Decision(Verdict.DENY, f"arguments not accepted: {words}", "arguments_invalid")
            args = {"raw": _storable(asked.args)}
    if tool is None:
        args = {"raw": _storable(asked.args)}
    name = tool.name if tool else _storable(asked.name)[:128]
    return Asked(tool, name, args, clean_text(asked.call_id, ID_MAX_CHARS), problem, stable_json(args))


def _storable(raw: str | dict[str, Any]) -> str:
    return clean_text(raw if isinstance(raw, str) else repr(raw), 2000)


async def _live(ctx: RunContext, call: Call, asked: Asked) -> ToolReturn:
    """From where the tape ends: settle a doubt, get permission, then attempt.

    Nothing is awaited between the record of the outcome and the turn: the tape's order is that of release.
    """
    while call.recorded and is_in_doubt(call.recorded):  # a hedged read may have two attempts to settle
        tool = asked.tool
        assert tool is not None
        await invalidate(ctx, tool)  # it may have happened when its worker was lost
        outcome, data = await settle(ctx, call, tool, asked.args, "crash")
        if not is_in_doubt(call.recorded):
            ctx.schedule.settled(call.path)
            if not outcome.again:
                return _as_return(outcome, data)
    shut: Decision | None = None
    while True:
        permitted = await _permitted(ctx, call, asked, shut)
        if isinstance(permitted, ToolReturn):
            return permitted
        try:
            return await _called(ctx, call, asked, permitted)
        except REFUSED_LATE:  # nothing was written
            shut = None
        except BudgetShut as refused:
            shut = refused.decision


async def _called(ctx: RunContext, call: Call, asked: Asked, ruling: Ruling) -> ToolReturn:
    """What the cache gives in place of the call, or what comes of the call."""
    standing = await look_up(ctx, call, asked.tool, asked.args) if asked.tool is not None else None
    if standing is None:
        outcome, data = await attempt(ctx, call, asked, ruling)
    elif standing.entry is not None:
        outcome, data = await serve(ctx, call, asked, ruling, standing)
    else:
        with standing:
            outcome, data = await attempt(ctx, call, asked, ruling)
            if outcome.status == "ok":
                standing.keep(data)
    return _as_return(outcome, data)


async def _permitted(ctx: RunContext, call: Call, asked: Asked, shut: Decision | None) -> Ruling | ToolReturn:
    """The ruling that lets the call go ahead, or what the agent is told instead; ``shut``: what a budget above the task
    has said against it."""
    approved = any(isinstance(event, ApprovalDecided) and event.decision == "approve" for event in call.recorded)
    ctx.facts.seconds = ctx.active_seconds()
    has_begun = any(isinstance(event, ToolIntent) for event in call.recorded)
    held = None if asked.problem or _settles(call, asked) else await hold(ctx, call, "tool", asked.name)
    facts = _facts(ctx, call, asked, held, approved=approved or has_begun)
    facts.shared = shut
    ruling = TOOL_RULES.decide(facts, ctx.facts)
    if has_begun and held is None and shut is None:
        return ruling  # it was permitted when it began
    if ruling.verdict is Verdict.HOLD:
        tool = asked.tool
        assert tool is not None
        seconds = tool.approval_seconds or ctx.services.settings.approval_expiry_seconds
        decided = await ask(
            ctx,
            call,
            tool,
            asked.args,
            question="may_run",
            verdicts=ruling.verdicts,
            call_id=asked.call_id,
            seconds=seconds,
        )
        if decided.decision != "approve":
            return _as_return(decided, b"")
        ruling = TOOL_RULES.decide(_facts(ctx, call, asked, held, approved=True), ctx.facts)
    if ruling.verdict in (Verdict.DENY, Verdict.HOLD):
        about = {"args": [ctx.log.payload(asked.data)]}
        return _as_return(await denied(ctx, call, ruling, call_id=asked.call_id, payloads=about), b"")
    return ruling


def _settles(call: Call, asked: Asked) -> bool:
    """Whether the next attempt repeats a write that is in doubt: a breaker does not keep that from being settled."""
    last = next((event for event in reversed(call.recorded) if isinstance(event, ToolOutcome)), None)
    return asked.tool is not None and asked.tool.effect == "write" and last is not None and not last.retry_at


def _facts(ctx: RunContext, call: Call, asked: Asked, held: Decision | None, *, approved: bool) -> CallFacts:
    return CallFacts(
        "tool",
        asked.name,
        call.identity.digest,
        asked.args,
        asked.tool,
        asked.problem,
        approved=approved,
        seconds_left=None if call.recorded else seconds_to_deadline(ctx, call.branch),
        breaker=held,
    )


async def _result_data(ctx: RunContext, event: Any) -> bytes:
    ref = first_ref(event, "result") if isinstance(event, ToolOutcome) else ""
    return await ctx.load(ref) if ref else b""


def _as_return(event: Any, data: bytes) -> ToolReturn:
    """What the agent sees of a call's last event; the same live and in replay."""
    if isinstance(event, VerdictRecorded):
        strictest = max(
            event.verdicts, key=lambda verdict: Verdict[verdict.verdict.upper()], default=RuleVerdict("", 0, "")
        )
        return ToolReturn("denied", None, f"denied: {strictest.reason}", strictest.code)
    if isinstance(event, ApprovalDecided):
        words = "nobody decided in time" if event.decision == "expired" else "a person denied it"
        return ToolReturn("denied", None, f"denied: {words}", f"approval_{event.decision}")
    assert isinstance(event, ToolOutcome)
    if event.status == "happened":
        return ToolReturn("ok", None, "it took effect; its answer was lost", "happened")
    if event.status == "ok":
        return ToolReturn("ok", msgspec.json.decode(data) if data else None)
    failure = event.failure or Failure(event.status)
    return ToolReturn("error", None, failure.words or failure.code, failure.code)
