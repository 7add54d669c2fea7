"""Settling an effect that may or may not have happened. Never a blind repeat.

A write in doubt is settled only after its start allowance, its time-out and a margin have passed on the store's clock,
for until then the call may still be on its way. Then by the tool's declared way: ``idempotent`` and ``keyed`` are
repeated (keyed with the recorded key and arguments, while the receiver remembers keys), ``confirm`` asks a look-up,
and ``escalate`` asks a person. A worker that was overtaken leaves its late outcome as a letter: that settles it too.
"""

import asyncio
from typing import Any, TypeGuard

import msgspec

from penstock.events import ApprovalDecided, Event, Failure, ToolDoubted, ToolIntent, ToolOutcome, Waiting
from penstock.gates.filters.taint import taint_of
from penstock.gates.filters.vault import revealed
from penstock.gates.order.tape import open_intents
from penstock.gates.run.call import Call
from penstock.gates.run.context import RunContext
from penstock.gates.tool.approval import ask
from penstock.gates.tool.signed import told_by_key
from penstock.ports.tools import IdempotencyKey, ToolDef

REPEATS = 3  # how often one call may be in doubt before its repetition is a person's decision


class LateOutcome(msgspec.Struct, omit_defaults=True, frozen=True):
    """Body of a settle letter: how a call ended on a worker that had lost its claim meanwhile."""

    status: str
    result: bytes = b""
    failure: Failure | None = None


async def settle(
    ctx: RunContext, call: Call, tool: ToolDef, args: dict[str, Any], cause: str
) -> tuple[ToolOutcome, bytes]:
    """Find out what became of the last intent and journal it; the outcome and the stored form of its result.

    ``again`` is set in it when the call is to be repeated.
    """
    intent = [event for event in open_intents(call.recorded) if isinstance(event, ToolIntent)][-1]
    if intent.effect == "read":
        return _conclude(ctx, call, intent, "error", again=not call.branch.cut, words="the answer was lost")
    ctx.unsettled.add(call.path)
    committed = ctx.tape.committed.get(intent.seq, 0) or ctx.now()
    settle_at = committed + intent.allowance + intent.timeout + int(ctx.services.settings.doubt_margin_seconds * 1e6)
    since = call.recorded[call.recorded.index(intent) + 1 :]
    told = next((event.decision for event in since if _is_told(event) and told_by_key(ctx, call, event)), None)
    if told is not None:
        return _by_person(ctx, call, intent, happened=told == "happened")
    if not any(isinstance(event, ToolDoubted) for event in since):
        doubted = ctx.event(
            ToolDoubted,
            call.path,
            tool=tool.name,
            attempt=intent.attempt,
            cause=cause,
            way=intent.in_doubt,
            settle_at=settle_at,
        )
        ctx.record(call, doubted)
    waiting = Waiting("doubt", call.path, tool.name, until=settle_at)
    letter = await ctx.mail.wait(waiting, f"settle:{call.path}:{intent.attempt}")
    if letter is not None:
        ctx.log.consume(letter.dedup)
        late = msgspec.json.decode(letter.body, type=LateOutcome)
        return _conclude(
            ctx,
            call,
            intent,
            late.status,
            again=late.status == "did_not_happen" and not call.branch.cut,
            settled_by="late",
            data=late.result,
            failure=late.failure,
            taint=taint_of(tool, content=True),
        )
    way = intent.in_doubt
    if sum(isinstance(event, ToolDoubted) for event in call.recorded) > REPEATS:
        way = "escalate"
    if way == "keyed" and tool.key_seconds is not None and ctx.now() > committed + int(tool.key_seconds * 1e6):
        way = "escalate"
    if way in ("idempotent", "keyed"):
        return _conclude(ctx, call, intent, "error", again=True, settled_by="repeat", words="repeated")
    if way == "confirm":
        happened = await _confirm(ctx, tool, args, intent.key)
        if happened is not None:
            status = "happened" if happened else "did_not_happen"
            again = not happened and not call.branch.cut
            return _conclude(ctx, call, intent, status, again=again, settled_by="confirm")
    return _by_person(ctx, call, intent, happened=await _ask_person(ctx, call, tool, args))


def _is_told(event: Event) -> TypeGuard[ApprovalDecided]:
    """Whether a person said what became of the call."""
    return isinstance(event, ApprovalDecided) and event.decision in ("happened", "did_not_happen")


def _by_person(ctx: RunContext, call: Call, intent: ToolIntent, *, happened: bool) -> tuple[ToolOutcome, bytes]:
    status = "happened" if happened else "did_not_happen"
    again = not happened and not call.branch.cut
    return _conclude(ctx, call, intent, status, again=again, settled_by="person")


async def _ask_person(ctx: RunContext, call: Call, tool: ToolDef, args: dict[str, Any]) -> bool:
    while True:
        decided = await ask(ctx, call, tool, args, question="did_it_happen", verdicts=[], seconds=0)
        if _is_told(decided):
            return decided.decision == "happened"


async def _confirm(ctx: RunContext, tool: ToolDef, args: dict[str, Any], key: str) -> bool | None:
    """What the look-up says; None when it cannot tell."""
    if tool.confirm is None:
        return None
    try:
        kwargs = tool.bind(await revealed(ctx, tool.reveals, args))
        if tool.key_param:
            kwargs[tool.key_param] = IdempotencyKey(key)
        async with asyncio.timeout(tool.timeout_seconds):
            answer = await tool.confirm(**kwargs)
    except Exception:
        return None
    return answer if isinstance(answer, bool) else None


def _conclude(
    ctx: RunContext,
    call: Call,
    intent: ToolIntent,
    status: str,
    *,
    again: bool = False,
    settled_by: str = "",
    words: str = "",
    data: bytes = b"",
    failure: Failure | None = None,
    taint: dict[str, str] | None = None,
) -> tuple[ToolOutcome, bytes]:
    if words:
        failure = Failure("in_doubt", "unknown", words)
    outcome = ctx.event(
        ToolOutcome,
        call.path,
        attempt=intent.attempt,
        status=status,
        again=again,
        settled_by=settled_by,
        failure=failure,
        taint=taint or {},
        payloads={"result": [ctx.log.payload(data)]} if data else {},
    )
    ctx.ledger.settle(intent.reserved, outcome.used)
    ctx.record(call, outcome)
    ctx.unsettled.discard(call.path)
    return outcome, data
