"""Which release the runs get that a run makes: children, and the run in which it goes on."""

from penstock.gates.run.context import RunContext
from penstock.gates.run.insist import insist
from penstock.ports.agents import AgentDef
from penstock.ports.rollouts import Side


async def side_of(ctx: RunContext, agent: AgentDef, session: str = "") -> Side:
    """A run of the same agent gets the release of the run that makes it; one of another agent is on the side of its
    session, else of that of the family, so that a family sees one release of each agent while a canary lasts."""
    offered, routing = Side(agent.release, agent.budget), ctx.services.rollouts
    if routing is None:
        return offered
    if agent.name == ctx.claim.agent and routing.runs_here(agent.name, ctx.claim.release):
        pinned = routing.pinned(ctx.claim.release)
        return pinned or offered
    key = session or ctx.tape.submitted.session or str(ctx.root)
    return await insist(ctx, lambda: routing.side(ctx.claim.tenant, agent, key))


async def side_after(ctx: RunContext, agent: AgentDef) -> str:
    """The release in which a run goes on: that which a new run of its session, or of its key, would get now. An endless
    agent comes to a new release, and away from a bad one, where it goes on."""
    routing = ctx.services.rollouts
    if routing is None:
        return agent.release
    before = ctx.tape.submitted
    key = before.session or before.key or str(before.first or ctx.run_id)
    return (await insist(ctx, lambda: routing.side(ctx.claim.tenant, agent, key))).release
