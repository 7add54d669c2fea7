"""Which tool calls may be served from the cache, which results are kept, and what a write makes wrong."""

import asyncio

from penstock.events import ToolIntent
from penstock.gates.cache.keys import policy, scope_name
from penstock.gates.cache.standing import Standing, Wanted, look
from penstock.gates.run.call import Call
from penstock.gates.run.context import RunContext
from penstock.gates.run.deadline import at_most
from penstock.kernel.backoff import until_answered
from penstock.kernel.canonical import stable_json
from penstock.kernel.errors import JournalError
from penstock.ports.tools import ToolDef
from penstock.rules.default import TOOL_RULES

LOOK_SECONDS = 0.1
"""From one look at whether the run is stopped to the next, while the store is away."""


async def look_up(ctx: RunContext, call: Call, tool: ToolDef, args: dict[str, object]) -> Standing | None:
    """How a call that is allowed, and about to be made, stands to the cache; None: it is made as if there were none."""
    cache = tool.cache
    if cache is None or tool.effect != "read" or call.last_of(ToolIntent) is not None:
        return None
    name = scope_name(ctx, cache.scope)
    if name is None:
        return None
    meant = args if cache.key is None else {argument: args.get(argument) for argument in cache.key}
    request = stable_json([*policy(ctx, "tool", cache.scope, name, TOOL_RULES), tool.name, tool.digest, meant])
    wanted = Wanted("tool", tool.name, cache.scope, name, request, cache.seconds, cache.tags)
    standing = await look(ctx, call, wanted, at_most(ctx, tool.timeout_seconds))
    if standing is not None:
        call.cache = "miss" if standing.entry is None else "hit"
    return standing


async def invalidate(ctx: RunContext, tool: ToolDef) -> None:
    """Drop what a write has made wrong, before the agent sees that it was done: what it reads next is read anew.

    While the store cannot be reached this waits, unless the run is stopped or handed back; then it is done beside it.
    """
    cache = ctx.services.cache
    if cache is None or not tool.invalidates:
        return
    try:
        await cache.entries.drop(ctx.claim.tenant, tool.invalidates)
    except JournalError:
        dropped = asyncio.get_running_loop().create_future()
        cache.errand(_drop(ctx, tool, dropped))
        while not dropped.done() and ctx.fault is None and not ctx.draining:
            pause = asyncio.ensure_future(ctx.services.clock.sleep(LOOK_SECONDS))
            await asyncio.wait([dropped, pause], return_when=asyncio.FIRST_COMPLETED)
            pause.cancel()


async def _drop(ctx: RunContext, tool: ToolDef, dropped: "asyncio.Future[None]") -> None:
    entries, tenant = ctx.services.journal.cache, ctx.claim.tenant
    try:
        await until_answered(lambda: entries.drop(tenant, tool.invalidates), ctx.services.clock.sleep)
    finally:
        if not dropped.done():
            dropped.set_result(None)
