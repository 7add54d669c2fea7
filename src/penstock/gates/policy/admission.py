"""What a policy is told of a call, and the run's calls that count in its sums.

Sums and counts are over what the run's tape says, in memory while one worker has the run, and read from the journal
when another takes it up, or another policy asks for something else. So they are the same wherever the run goes on, and
a call on the tape asks for none of it.
"""

import asyncio
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from penstock.events import ToolIntent, ToolOutcome, decode
from penstock.journal.payloads import ref_address
from penstock.rules.policy.measures import RunUses, Use, Uses
from penstock.rules.policy.policy_set import PolicyCall, PolicySet, use_of
from penstock.rules.verdict import Decision

if TYPE_CHECKING:
    from penstock.gates.run.call import Call
    from penstock.gates.run.context import RunContext
    from penstock.ports.tools import ToolDef

NOT_DONE = frozenset(("not_started", "did_not_happen"))
"""How a call ends that certainly did nothing."""
ROWS_AT_ONCE = 5000
PAYLOADS_AT_ONCE = 500
PAYLOAD_BYTES = 16 * 1024 * 1024


async def prepare(ctx: "RunContext", tool: "ToolDef | None") -> None:
    """Learn which policy is in force, and what the run has done so far where the policy asks for that.

    While the journal cannot be reached this waits: a sum that is not known allows nothing.
    """
    while True:
        policy = _in_force(ctx)
        ctx.facts.policy = policy.version if policy is not None else ""
        if policy is None:
            return
        uses = ctx.facts.uses
        if uses is None:
            uses = ctx.facts.uses = RunUses()
        if tool is None or uses.measures == policy.measures:
            return
        if not policy.asks_uses(_call(ctx, policy, tool.name, tool.effect, tool.risk, None, "", approved=False)):
            return
        if ctx.facts.tool_calls == 0 and uses.loading is None:
            _take(uses, policy, {})
        elif uses.loading is not None:
            await asyncio.wait({uses.loading})
        else:
            await _load(ctx, uses, policy)


def asking(
    ctx: "RunContext", call: "Call", tool: "ToolDef | None", args: Any, *, approved: bool
) -> Callable[[], Decision] | None:
    """How to ask the policy in force about the call; None when there is none. `prepare` comes before."""
    policy = _in_force(ctx)
    if policy is None or tool is None:
        return None
    ctx.facts.policy = policy.version
    asked = _call(ctx, policy, tool.name, tool.effect, tool.risk, args, call.path, approved=approved)
    return lambda: policy.decide(asked)


def count_in(ctx: "RunContext", call: "Call", tool: "ToolDef | None", args: Any) -> None:
    """The call was permitted: from now on it counts, so that calls side by side share what there is."""
    uses = ctx.facts.uses
    if uses is None or tool is None:
        return
    uses.pending[call.path] = (tool.name, args, ctx.now())
    if uses.counted is not None:
        _add(uses, call.path)


def count_out(ctx: "RunContext", call: "Call") -> None:
    """The call is over: it counts no more if it certainly did nothing."""
    uses = ctx.facts.uses
    if uses is None:
        return
    if not _counts(call.recorded):
        uses.pending.pop(call.path, None)
        if uses.counted is not None:
            uses.counted.take_out(call.path)
    elif uses.loading is None:
        uses.pending.pop(call.path, None)
    else:  # whether the journal's answer has it already is not known
        uses.over.add(call.path)


def _in_force(ctx: "RunContext") -> PolicySet | None:
    guard = ctx.services.policy
    if guard is None:
        return None
    submitted = ctx.tape.submitted
    return guard.for_run(submitted.agent, ctx.claim.release, submitted.env)


def _call(
    ctx: "RunContext", policy: PolicySet, name: str, effect: str, risk: str, args: Any, path: str, *, approved: bool
) -> PolicyCall:
    submitted = ctx.tape.submitted
    uses = ctx.facts.uses
    known = uses is not None and uses.measures == policy.measures
    return PolicyCall(
        tool=name,
        effect=effect,
        risk=risk,
        args=args,
        agent=submitted.agent,
        release=ctx.claim.release,
        environment=submitted.env,
        tenant=submitted.tenant,
        behalf=submitted.behalf or None,
        tags=submitted.tags,
        taint=ctx.facts.taint,
        uses=uses.counted if known and uses is not None else None,
        at=ctx.now(),
        path=path,
        approved=approved,
    )


def _counts(recorded: list[Any]) -> bool:
    """Whether a call has begun, and is not known to have done nothing."""
    begun = False
    for event in recorded:
        if isinstance(event, ToolIntent):
            begun = True
        elif isinstance(event, ToolOutcome) and event.status in NOT_DONE and not event.again:
            begun = False
    return begun


async def _load(ctx: "RunContext", uses: RunUses, policy: PolicySet) -> None:
    """Read the run's calls from the journal, all of them: a tape that is not whole lacks the first."""
    loading = uses.loading = ctx.schedule.loop.create_future()
    try:
        await ctx.log.flush()
        intents = await _counted_intents(ctx, policy)
        args = await _arguments(ctx, [ref_address(intent.payloads["args"][0]) for intent, _ in intents.values()])
        counted = {}
        for path, (intent, at) in intents.items():
            data = args.get(ref_address(intent.payloads["args"][0]))
            plain = msgspec.json.decode(data) if data is not None else None  # erased: it has no number there
            counted[path] = use_of(intent.tool, plain, at, policy.paths)
        _take(uses, policy, counted)
    finally:
        uses.loading = None
        for path in uses.over:
            uses.pending.pop(path, None)
        uses.over.clear()
        loading.set_result(None)


async def _counted_intents(ctx: "RunContext", policy: PolicySet) -> dict[str, tuple[ToolIntent, int]]:
    found: dict[str, tuple[ToolIntent, int]] = {}
    claim, after = ctx.claim, 0
    while True:
        page = functools.partial(ctx.services.journal.tape, claim.tenant, claim.run, after, ROWS_AT_ONCE)
        rows = await ctx.reading(page)
        for row in rows:
            event = decode(row.body)
            if isinstance(event, ToolIntent) and policy.counts(event.tool) and event.payloads.get("args"):
                found[event.path] = (event, row.at or event.at)
            elif isinstance(event, ToolOutcome) and event.status in NOT_DONE and not event.again:
                found.pop(event.path, None)
        if len(rows) < ROWS_AT_ONCE:
            return found
        after = rows[-1].seq


async def _arguments(ctx: "RunContext", wanted: list[bytes]) -> dict[bytes, bytes]:
    reader, claim = ctx.services.reader, ctx.claim
    found: dict[bytes, bytes] = {}
    left = list(dict.fromkeys(wanted))
    while left:
        part = left[:PAYLOADS_AT_ONCE]
        ask = functools.partial(reader.read_some, claim.tenant, claim.subject, part, PAYLOAD_BYTES)
        got = await ctx.reading(ask)
        found |= got
        asked = set(part) if not got or len(got) == len(part) else set(part[: _reached(part, got)])
        left = [where for where in left if where not in asked and where not in found]
    return found


def _reached(part: list[bytes], got: dict[bytes, bytes]) -> int:
    """How far an answer of bounded size came: what is missing after the last that was given may still be there."""
    return 1 + max(place for place, where in enumerate(part) if where in got)


def _take(uses: RunUses, policy: PolicySet, counted: dict[str, Use]) -> None:
    uses.measures, uses.paths, uses.counts = policy.measures, policy.paths, policy.counts
    uses.counted = Uses(counted)
    for path in uses.pending:
        _add(uses, path)


def _add(uses: RunUses, path: str) -> None:
    tool, args, at = uses.pending[path]
    if uses.counted is not None and uses.counts(tool):
        uses.counted.add(path, use_of(tool, args, at, uses.paths))
