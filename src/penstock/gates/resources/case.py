"""The run so far, for checks that look at it: read from the journal when one first asks, then kept in step.

Only runs that call a tool with such a check pay for it, and of their calls only those that some check looks at are
read. A call on the tape asks for none of it: what a check said is on the tape.
"""

import asyncio
import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from penstock.events import ToolIntent, ToolOutcome, decode
from penstock.journal.payloads import ref_address
from penstock.kernel.errors import ClaimLost
from penstock.rules.case import Case, CaseCall
from penstock.rules.checks import Check

if TYPE_CHECKING:
    from penstock.gates.run.call import Call
    from penstock.gates.run.context import RunContext
    from penstock.ports.tools import ToolDef

CALLS_KEPT = 1_000
"""Of the tools that are looked at, the latest of a run. Sums and counts over more deny."""
RESULT_BYTES_MOST = 1_048_576
"""A larger result is not looked through: what would be traced to it counts as not seen."""
ROWS_AT_ONCE = 2_000
NOT_DONE = frozenset({"not_started", "did_not_happen"})
"""How a call ends that certainly did nothing."""


@dataclass(slots=True)
class CaseFile(Case):
    """A case with what it covers. ``loading``: somebody reads it from the journal."""

    args_of: frozenset[str] = frozenset()
    results_of: frozenset[str] = frozenset()
    loading: "asyncio.Future[None] | None" = field(default=None, repr=False)

    @property
    def tools(self) -> frozenset[str]:
        """Those whose calls it has."""
        return self.args_of | self.results_of

    def trim(self) -> None:
        """Forget the oldest calls over the bound."""
        while len(self.calls) > CALLS_KEPT:
            self.forgotten.add(self.calls.pop(next(iter(self.calls))).tool)


async def look_at_case(ctx: "RunContext", tool: "ToolDef | None") -> None:
    """See to it that the checks of the tool find what they look at.

    While the journal cannot be reached this waits: what is not known allows nothing.
    """
    checks = [] if tool is None else [item for item in tool.validators if isinstance(item, Check) and item.needs_case]
    if tool is None or not checks:
        return
    args_of = frozenset(name or tool.name for check in checks for name in check.calls)
    results_of = frozenset(name for check in checks for name in check.results)
    case = ctx.facts.case
    if not isinstance(case, CaseFile):
        submitted = ctx.tape.submitted
        case = ctx.facts.case = CaseFile(submitted.agent, environment=submitted.env, tags=submitted.tags)
    while case.loading is not None:
        await asyncio.wait({case.loading})
    if not (args_of <= case.args_of and results_of <= case.results_of) or not case.now:
        await _load(ctx, case, args_of, results_of)
    case.now = ctx.now()


def begin(ctx: "RunContext", call: "Call", tool: "ToolDef | None", args: Any) -> None:
    """The call was permitted: from now on it counts, so that calls side by side share what there is."""
    case = ctx.facts.case
    if isinstance(case, CaseFile) and tool is not None and tool.name in case.tools:
        case.calls.setdefault(call.path, CaseCall(tool.name, args, at=ctx.now()))
        case.trim()


def end(ctx: "RunContext", call: "Call", value: Any) -> None:
    """The call is over, with that result; it counts no more if it certainly did nothing."""
    case = ctx.facts.case
    known = case.calls.get(call.path) if case is not None else None
    if not isinstance(case, CaseFile) or known is None:
        return
    last = next((event for event in reversed(call.recorded) if isinstance(event, ToolOutcome)), None)
    if last is None or last.again:
        if not any(isinstance(event, ToolIntent) for event in call.recorded):
            del case.calls[call.path]
    elif last.status in NOT_DONE:
        del case.calls[call.path]
    elif last.failure is None:
        known.state = "ok"
        known.result = value if known.tool in case.results_of else None
    else:
        known.state = "error"


async def _load(ctx: "RunContext", case: CaseFile, args_of: frozenset[str], results_of: frozenset[str]) -> None:
    """Read the run's calls from the journal, all of them: a tape that is not whole lacks the first."""
    case.loading = ctx.schedule.loop.create_future()
    try:
        case.args_of |= args_of
        case.results_of |= results_of
        try:
            await ctx.log.flush()
        except ClaimLost as lost:
            ctx.stop(lost)
            await ctx.halt()
        known = await _calls(ctx, case)
        case.input = await _plain(ctx, ctx.tape.submitted.payloads.get("input", []))
        under_way = {path: call for path, call in case.calls.items() if path not in known}
        case.calls = {path: call for path, (call, _) in known.items()}
        case.trim()
        for path, call in case.calls.items():
            intent, outcome = known[path][1]
            if call.tool in case.args_of:
                call.args = await _plain(ctx, intent.payloads.get("args", []))
            if call.tool in case.results_of and call.state == "ok" and outcome is not None:
                call.result = await _plain(ctx, outcome.payloads.get("result", []))
        case.calls |= under_way
    finally:
        case.loading.set_result(None)
        case.loading = None


_Told = tuple[CaseCall, tuple[ToolIntent, ToolOutcome | None]]


async def _calls(ctx: "RunContext", case: CaseFile) -> dict[str, _Told]:
    """The calls of the tools that are looked at, by path, without their content."""
    found: dict[str, _Told] = {}
    claim, after = ctx.claim, 0
    while True:
        ask = functools.partial(ctx.services.journal.tape, claim.tenant, claim.run, after, ROWS_AT_ONCE)
        rows = await ctx.reading(ask)
        for row in rows:
            if b'"kind":"tool.' not in row.body:
                continue
            event = decode(row.body)
            if isinstance(event, ToolIntent) and event.tool in case.tools:
                begun = found[event.path][0].at if event.path in found else row.at or event.at
                found[event.path] = CaseCall(event.tool, at=begun), (event, None)
            elif isinstance(event, ToolOutcome) and event.path in found and not event.again:
                call, (intent, _) = found[event.path]
                if event.status in NOT_DONE:
                    del found[event.path]
                    continue
                call.state = "ok" if event.failure is None else "error"
                found[event.path] = call, (intent, event)
        if len(rows) < ROWS_AT_ONCE:
            return found
        after = rows[-1].seq


async def _plain(ctx: "RunContext", refs: list[str]) -> Any:
    """The value of a payload; None when there is none, it is too large to look through, or it was erased."""
    if not refs:
        return None
    claim, where = ctx.claim, ref_address(refs[0])
    reader = ctx.services.reader
    found = await ctx.reading(lambda: reader.read_some(claim.tenant, claim.subject, [where], RESULT_BYTES_MOST))
    data = found.get(where)
    return msgspec.json.decode(data) if data is not None and len(data) <= RESULT_BYTES_MOST else None
