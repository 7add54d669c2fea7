"""Whether a tool of a server still is what it was when its agent was approved."""

from penstock.gates.run.context import RunContext
from penstock.gates.run.insist import insist
from penstock.ports.tools import ToolDef
from penstock.rules.verdict import Decision, Verdict

CODE = "tool_changed"


async def look(ctx: RunContext, tool: ToolDef | None) -> Decision | None:
    """What there is against a call, for a tool that its server defines in other words by now; None = nothing.

    A server that cannot be asked is no change: the call itself finds that out, and comes to nothing.
    """
    remote = tool.remote if tool is not None else None
    if tool is None or remote is None:
        return None
    now = await remote.look(tool.timeout_seconds)
    if now is None or now.digest == remote.digest:
        return None
    if not now.digest:
        return Decision(Verdict.DENY, f"the tool {remote.tool} is not there any more: {now.why}", CODE)
    routing, tenant = ctx.services.rollouts, ctx.claim.tenant
    if routing is not None and await insist(ctx, lambda: routing.accepts(tenant, remote.tool, now.digest)):
        remote.allow(tenant, now.digest)
        return None
    return Decision(
        Verdict.DENY,
        f"the tool {remote.tool} is another than the one that was approved, until somebody accepts it: "
        f"penstock releases approve-tool {remote.tool} {now.digest}",
        CODE,
    )
