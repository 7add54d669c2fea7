"""The tool gate: filters → rules (stops, permission or policy, schema, validation, …) → approval → resources → intent →
call → filters → outcome."""

import asyncio
from typing import Any

import msgspec

from penstock.events import (
    ApprovalDecided,
    ApprovalEdited,
    Failure,
    RuleVerdict,
    ToolIntent,
    ToolOutcome,
    VerdictRecorded,
)
from penstock.gates.breakers.admission import hold, let_go
from penstock.gates.budgets.gate import BudgetShut
from penstock.gates.environment.admission import objection, standing_of
from penstock.gates.filters.releasing import released_args
from penstock.gates.order.tape import NOT_APPROVED, is_in_doubt
from penstock.gates.policy.admission import asking, count_in, count_out, prepare
from penstock.gates.resources.case import begin, end, look_at_case
from penstock.gates.resources.claims import ResourceTaken, have_resources
from penstock.gates.run.call import ID_MAX_CHARS, Call
from penstock.gates.run.context import RunContext
from penstock.gates.run.deadline import seconds_to_deadline
from penstock.gates.run.denial import denied
from penstock.gates.run.ledger import first_ref
from penstock.gates.run.taking_back import REFUSED_LATE
from penstock.gates.stops.admission import stopped
from penstock.gates.tool.approval import ask, is_approved, withdraw
from penstock.gates.tool.attempt import Asked, attempt, serve
from penstock.gates.tool.cached import invalidate, look_up
from penstock.gates.tool.changed import look
from penstock.gates.tool.doubt import settle
from penstock.gates.tool.edited import edited_note, take_edit
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
    note: str = ""  # what a person changed before they allowed it


async def call_tool(ctx: RunContext, asked: ToolCallAsked) -> ToolReturn:
    """One tool call through the gate. Denials and failures are returned, not raised: they are for the agent to see."""
    read = _read(asked)
    call = ctx.enter("tool", read.name, stored_digest(read.data), shown=read.args)
    last = call.last
    ended = isinstance(last, VerdictRecorded) or (isinstance(last, ToolOutcome) and not last.again)
    if ended or (isinstance(last, ApprovalDecided) and last.decision in NOT_APPROVED):
        data, note = await _result_data(ctx, last), await edited_note(ctx, call)
        return _noted(_as_return(await ctx.replay(call), data), note)
    await ctx.schedule.live(call.path)
    returned: ToolReturn | None = None
    try:
        returned = await ctx.perform(call, _live(ctx, call, read))
    finally:
        let_go(ctx, call)
        count_out(ctx, call)
        end(ctx, call, returned.value if returned is not None else None)
    assert returned is not None
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
    _stand_in(ctx, asked)
    _filter_args(ctx, asked)
    await take_edit(ctx, call, asked)
    while call.recorded and is_in_doubt(call.recorded):  # a hedged read may have two attempts to settle
        tool = asked.tool
        assert tool is not None
        await invalidate(ctx, tool)  # it may have happened when its worker was lost
        outcome, data = await settle(ctx, call, tool, asked.args, "crash")
        if not is_in_doubt(call.recorded):
            ctx.schedule.settled(call.path)
            if not outcome.again:
                return _noted(_as_return(outcome, data), asked.note)
    shut: Decision | None = None
    conflict: Decision | None = None
    while True:
        try:
            permitted = await _permitted(ctx, call, asked, shut, conflict)
        except asyncio.CancelledError:
            withdrawn = withdraw(ctx, call)
            if withdrawn is None:
                raise
            return _as_return(withdrawn, b"")
        if isinstance(permitted, ToolReturn):
            return permitted
        try:
            await have_resources(ctx, call, asked.tool, asked.args)
            return _noted(await _called(ctx, call, asked, permitted), asked.note)
        except REFUSED_LATE:  # nothing was written
            shut = conflict = None
        except BudgetShut as refused:
            shut = refused.decision
        except ResourceTaken as refused:
            conflict = refused.decision


def _stand_in(ctx: RunContext, asked: Asked) -> None:
    """Have what this environment binds to the tool's name called in its place."""
    standing = standing_of(ctx, asked.tool)
    if standing is not None:
        asked.tool, asked.bound, asked.unbound = standing.tool, standing.label, standing.barred


def _filter_args(ctx: RunContext, asked: Asked) -> None:
    """What the tool is given, without what may not leave."""
    if ctx.facts.filters is None or asked.tool is None or asked.problem is not None:
        return
    asked.args, asked.filtered, asked.problem = released_args(ctx, asked.args)
    asked.data = stable_json(asked.args)


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


async def _look_around(ctx: RunContext, tool: ToolDef | None) -> None:
    """What rules are told besides the call: the policy in force, and the run so far where that is asked for."""
    await prepare(ctx, tool)
    await look_at_case(ctx, tool)


async def _permitted(
    ctx: RunContext, call: Call, asked: Asked, shut: Decision | None, conflict: Decision | None
) -> Ruling | ToolReturn:
    """The ruling that lets the call go ahead, or what the agent is told instead; ``shut``: what a budget above the task
    has said against it; ``conflict``: that another run has what it is about."""
    await _look_around(ctx, asked.tool)
    ctx.facts.seconds = ctx.active_seconds()
    has_begun = call.last_of(ToolIntent) is not None
    settling = _settles(call, asked)
    halted = None if asked.problem else await stopped(ctx, call, asked.name, settling=settling)
    held = None if asked.problem or settling else await hold(ctx, call, "tool", asked.name)

    changed = None if asked.problem or has_begun else await look(ctx, asked.tool)

    def judge(*, approved: bool) -> Ruling:
        facts = _facts(ctx, call, asked, held, approved=approved)
        facts.shared, facts.stopped, facts.changed = shut, halted, changed
        facts.conflict = conflict
        facts.unbound = None if asked.problem or has_begun else objection(ctx, asked.tool, asked.unbound)
        return TOOL_RULES.decide(facts, ctx.facts)

    ruling = judge(approved=has_begun)
    if has_begun and held is None and shut is None and halted is None and conflict is None:
        return ruling  # it was permitted when it began
    while ruling.verdict is Verdict.HOLD:
        if is_approved(ctx, call, asked.name, asked.args, ctx.facts.policy, ruling.terms):
            ruling = judge(approved=True)
            break
        said: list[str] = []
        decided = await _ask_person(ctx, call, asked, ruling, said)
        if isinstance(decided, ApprovalEdited):
            await take_edit(ctx, call, asked, "".join(said))
        elif decided.decision in NOT_APPROVED:
            return _as_return(decided, b"")
        await _look_around(ctx, asked.tool)
        ruling = judge(approved=False)
    if ruling.verdict in (Verdict.DENY, Verdict.HOLD):
        about = {"args": [ctx.log.payload(asked.data)]}
        return _as_return(await denied(ctx, call, ruling, call_id=asked.call_id, payloads=about), b"")
    count_in(ctx, call, asked.tool, asked.args)
    begin(ctx, call, asked.tool, asked.args)
    return ruling


async def _ask_person(
    ctx: RunContext, call: Call, asked: Asked, ruling: Ruling, said: list[str]
) -> ApprovalDecided | ApprovalEdited:
    tool, terms = asked.tool, ruling.terms
    assert tool is not None
    own = terms.seconds if terms is not None else 0
    return await ask(
        ctx,
        call,
        tool,
        asked.args,
        question="may_run",
        verdicts=ruling.verdicts,
        call_id=asked.call_id,
        seconds=own or tool.approval_seconds or ctx.services.settings.approval_expiry_seconds,
        terms=terms,
        refresh=lambda: prepare(ctx, tool),
        said=said,
    )


def _settles(call: Call, asked: Asked) -> bool:
    """Whether the next attempt repeats a write that is in doubt: a breaker does not keep that from being settled."""
    last = call.last_of(ToolOutcome)
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
        policy=asking(ctx, call, asked.tool, asked.args, approved=approved),
        path=call.path,
    )


def _noted(returned: ToolReturn, note: str) -> ToolReturn:
    return msgspec.structs.replace(returned, note=note) if note else returned


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
