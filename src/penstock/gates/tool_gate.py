"""The tool gate: control → permission → schema → validation → repeats → limits → approval → intent → call → outcome."""

from dataclasses import dataclass
from typing import Any

import msgspec

from penstock.events import (
    Amount,
    ApprovalDecided,
    Failure,
    RuleVerdict,
    ToolIntent,
    ToolOutcome,
    VerdictRecorded,
)
from penstock.gates.approval import ask
from penstock.gates.context import Call, RunContext
from penstock.gates.doubt import LateOutcome, settle
from penstock.gates.ledger import first_ref
from penstock.gates.model_gate import ID_MAX_CHARS
from penstock.gates.retry import may_retry, pause_seconds
from penstock.gates.tape import NOT_APPROVED, is_in_doubt
from penstock.gates.tool_run import Result, run_tool
from penstock.kernel.canonical import check_plain, clean_text, digest
from penstock.kernel.errors import ClaimLost, InputInvalid
from penstock.ports.tools import Effect, ToolArgsInvalid, ToolDef
from penstock.rules.default import TOOL_RULES
from penstock.rules.verdict import CallFacts, Decision, Ruling, Verdict

QUEUED_BEFORE_WAITING = 500  # events of free reads that may wait to be written before the next read waits for them
LATE_STARTS = 3  # how often a call that found its allowance over is put forward again


@dataclass(slots=True, frozen=True)
class ToolCallAsked:
    """What an agent asks of the tool gate. ``args`` is JSON text from a model, or plain values from code."""

    name: str
    tool: ToolDef | None
    args: str | dict[str, Any]
    call_id: str = ""


@dataclass(slots=True, frozen=True)
class ToolReturn:
    """What came of a tool call. ``status``: ok | error | denied. ``value`` is the plain result."""

    status: str
    value: Any = None
    words: str = ""
    code: str = ""


@dataclass(slots=True)
class _Asked:
    """The call with its arguments read."""

    tool: ToolDef | None
    name: str
    args: dict[str, Any]
    call_id: str
    problem: Decision | None


async def call_tool(ctx: RunContext, asked: ToolCallAsked) -> ToolReturn:
    """One tool call through the gate. Denials and failures are returned, not raised: they are for the agent to see."""
    read = _read(asked)
    call = ctx.enter("tool", read.name, digest(read.args), shown=read.args)
    last = call.last
    ended = isinstance(last, VerdictRecorded) or (isinstance(last, ToolOutcome) and not last.again)
    if ended or (isinstance(last, ApprovalDecided) and last.decision in NOT_APPROVED):
        data = await _result_data(ctx, last)
        return _as_return(await ctx.replay(call), data)
    await ctx.schedule.live(call.path)
    returned: ToolReturn = await ctx.perform(call, _live(ctx, call, read))
    return returned


def _read(asked: ToolCallAsked) -> _Asked:
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
    return _Asked(tool, name, args, clean_text(asked.call_id, ID_MAX_CHARS), problem)


def _storable(raw: str | dict[str, Any]) -> str:
    return clean_text(raw if isinstance(raw, str) else repr(raw), 2000)


async def _live(ctx: RunContext, call: Call, asked: _Asked) -> ToolReturn:
    """From where the tape ends: settle a doubt, get permission, then attempt."""
    if is_in_doubt(call.recorded):
        tool = asked.tool
        assert tool is not None
        outcome, data = await settle(ctx, call, tool, asked.args, "crash")
        ctx.schedule.settled(call.path)
        if not outcome.again:
            return _finish(ctx, asked, call, outcome, data)
    attempts_made = sum(isinstance(event, ToolIntent) for event in call.recorded)
    if attempts_made == 0:
        ruling = await _permitted(ctx, call, asked)
        if isinstance(ruling, ToolReturn):
            return ruling
    else:
        ruling = TOOL_RULES.decide(_facts(call, asked, approved=True), ctx.facts)
    return await _attempts(ctx, call, asked, ruling, attempts_made)


async def _permitted(ctx: RunContext, call: Call, asked: _Asked) -> Ruling | ToolReturn:
    """The ruling that lets the call go ahead, or what the agent is told instead."""
    approved = any(isinstance(event, ApprovalDecided) and event.decision == "approve" for event in call.recorded)
    ctx.facts.seconds = ctx.active_seconds()
    ruling = TOOL_RULES.decide(_facts(call, asked, approved=approved), ctx.facts)
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
            ctx.ledger.remember(asked.name, call.identity.digest, ok=False, refused=True)
            return _as_return(decided, b"")
        ruling = TOOL_RULES.decide(_facts(call, asked, approved=True), ctx.facts)
    if ruling.verdict in (Verdict.DENY, Verdict.HOLD):
        event = ctx.event(
            VerdictRecorded,
            call.path,
            gate="tool",
            name=asked.name,
            verdict="deny",
            digest=call.identity.digest,
            call_id=asked.call_id,
            passed=ruling.passed,
            verdicts=ruling.verdicts,
            ends_run=ruling.ends_run,
            payloads={"args": [ctx.args_ref(asked.args)]},
        )
        ctx.record(call, event)
        ctx.ledger.remember(asked.name, call.identity.digest, ok=False, refused=True)
        ctx.deny(ruling)
        if ctx.fault is not None:
            await ctx.halt()
        return _as_return(event, b"")
    return ruling


def _facts(call: Call, asked: _Asked, *, approved: bool) -> CallFacts:
    return CallFacts("tool", asked.name, call.identity.digest, asked.args, asked.tool, asked.problem, approved=approved)


async def _attempts(ctx: RunContext, call: Call, asked: _Asked, ruling: Ruling, made: int) -> ToolReturn:
    tool = asked.tool
    assert tool is not None
    late = 0
    ctx.facts.tool_calls += made == 0
    while True:
        made += 1
        intent, start_by = _intent(ctx, call, asked, tool, ruling, made)
        ctx.ledger.reserve(intent.reserved)
        ctx.facts.attempts += 1
        if tool.effect == "read":
            if ctx.log.queued >= QUEUED_BEFORE_WAITING:
                await ctx.log.room()
            ctx.intend_later(call, intent)
        else:
            await ctx.intend(call, intent)
        began = ctx.services.clock.boot_ns()
        result = await run_tool(ctx, call, tool, asked.args, intent, start_by)
        latency = (ctx.services.clock.boot_ns() - began) // 1000
        if isinstance(ctx.fault, ClaimLost):
            await _leave_behind(ctx, call, made, result)
            await ctx.halt()
        if ctx.fault is not None and tool.effect == "read":
            ctx.ledger.settle(intent.reserved, Amount())
            await ctx.halt()
        if result.doubt and tool.effect == "write":
            outcome, data = await settle(ctx, call, tool, asked.args, result.doubt)
            if outcome.again:
                continue
            return _finish(ctx, asked, call, outcome, data)
        late += not result.started
        again = _again(ctx, tool, result, made, late)
        outcome = _outcome(ctx, call, tool.effect, made, result, latency, again=again)
        if not again:
            ok = result.failure is None
            ctx.ledger.remember(asked.name, call.identity.digest, ok, first_ref(outcome, "result"))
            return _as_return(outcome, result.data)
        assert result.failure is not None
        await ctx.interruptible(call.branch, ctx.services.clock.sleep(pause_seconds(result.failure, made)))


def _intent(
    ctx: RunContext, call: Call, asked: _Asked, tool: ToolDef, ruling: Ruling, attempt: int
) -> tuple[ToolIntent, int]:
    """The intent, and the reading of the boot clock after which its call must not start."""
    allowance = ctx.services.settings.start_allowance_seconds
    start_by = ctx.services.clock.boot_ns() + int(allowance * 1e9)
    approval = next((event.approval for event in call.recorded if isinstance(event, ApprovalDecided)), "")
    event = ctx.event(
        ToolIntent,
        call.path,
        tool=tool.name,
        digest=call.identity.digest,
        effect=tool.effect,
        risk=tool.risk,
        in_doubt=tool.in_doubt,
        call_id=asked.call_id,
        attempt=attempt,
        key=f"{ctx.run_id.hex}-{call.path}" if tool.effect == "write" else "",
        allowance=int(allowance * 1e6),
        timeout=int(ctx.at_most(tool.timeout_seconds) * 1e6),
        approval=approval,
        passed=ruling.passed,
        verdicts=ruling.verdicts,
        because="retry" if attempt > 1 else "",
        payloads={"args": [ctx.args_ref(asked.args)]},
    )
    return event, start_by


def _again(ctx: RunContext, tool: ToolDef, result: Result, made: int, late: int) -> bool:
    if result.failure is None or ctx.fault is not None:
        return False
    if not result.started:
        return late < LATE_STARTS
    attempts = min(tool.attempts, ctx.facts.budget.attempts or tool.attempts)
    return may_retry(result.failure, made, attempts)


def _outcome(
    ctx: RunContext, call: Call, effect: Effect, attempt: int, result: Result, latency: int, *, again: bool
) -> ToolOutcome:
    if result.failure is None:
        status = "ok"
    else:
        status = "error" if result.started else "not_started"
    outcome = ctx.event(
        ToolOutcome,
        call.path,
        attempt=attempt,
        status=status,
        again=again,
        latency=latency,
        failure=result.failure,
        payloads={"result": [ctx.log.payload(result.data)]} if result.data else {},
    )
    ctx.ledger.settle(Amount(), outcome.used)
    if effect == "read":
        ctx.record(call, outcome)
    else:
        ctx.record(call, outcome, lambda: _leave_behind(ctx, call, attempt, result))
    return outcome


async def _leave_behind(ctx: RunContext, call: Call, attempt: int, result: Result) -> None:
    """This worker was overtaken while the tool ran: the run's next holder learns how the call ended."""
    if result.doubt:
        return
    status = "ok" if result.failure is None else "error" if result.started else "did_not_happen"
    late = LateOutcome(status, result.data, result.failure)
    await ctx.settle_elsewhere(call.path, attempt, msgspec.json.encode(late))


def _finish(ctx: RunContext, asked: _Asked, call: Call, outcome: ToolOutcome, data: bytes) -> ToolReturn:
    """The agent's view of an outcome that was settled.

    Nothing is awaited between the record and the turn: the tape's order is the order in which outcomes are released.
    """
    ok = outcome.status in ("ok", "happened")
    ctx.ledger.remember(asked.name, call.identity.digest, ok, first_ref(outcome, "result"))
    return _as_return(outcome, data)


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
