"""Going on in another run: the same task with a fresh history, what is left of the budget, and the same waiters.

The record of it and the new run are one transaction: there is one successor or none, wherever the worker dies. The
run's end follows in a transaction of its own; a worker that finds the record on the tape writes only that end.
"""

from typing import Any, NoReturn

import msgspec

from penstock.events import BudgetRecord, RunContinued, RunSubmitted, Totals, encode
from penstock.gates.filters.taint import handed
from penstock.gates.run.call import Call
from penstock.gates.run.context import RunContext
from penstock.gates.waits.side import side_after
from penstock.journal.chain import genesis, link
from penstock.journal.payloads import address, make_payload, ref_text
from penstock.kernel.canonical import canonical_digest, check_size, digest, stable_json
from penstock.kernel.errors import AgentUnknown, GateMisused
from penstock.kernel.ids import new_id
from penstock.kernel.randomness import token_bytes
from penstock.ports.agents import AgentDef
from penstock.ports.records import CONTINUED, NewRun, Row
from penstock.rules.retries import in_base

"""Code of a run that ended as ``succeeded`` because it goes on in another."""


async def continue_as(ctx: RunContext, value: Any) -> NoReturn:
    """End this run and go on with ``value`` in a new one of the same agent. Does not return.

    Raises:
        GateMisused: from a branch of a gather, map, stage or time-out: others may be in the middle of a call.
        InputInvalid, InputTooLarge: the value is no input of the agent.
    """
    branch = ctx.schedule.bind()
    if branch.prefix:
        ctx.schedule.unbind(branch)
        raise GateMisused("continue_as was called inside a branch", hint="join the branches first, then continue")
    ctx.schedule.unbind(branch)
    agent = ctx.services.agents.find(ctx.claim.agent)
    if agent is None:
        raise AgentUnknown(f"no agent {ctx.claim.agent} is offered here")
    plain = agent.plain_input(value)
    data = check_size(stable_json(plain), ctx.services.settings.input_max_bytes, "the input", "input_max_bytes")
    call = ctx.enter("continue", ctx.claim.agent, digest(plain), shown=plain)
    if isinstance(call.last, RunContinued):
        await ctx.replay(call)
        ctx.schedule.hold(branch)
        await _leave(ctx)
    await ctx.schedule.live(call.path)
    await ctx.perform(call, _continue(ctx, call, agent, plain, data))
    raise AssertionError("a run that went on in another goes no further itself")


async def _continue(ctx: RunContext, call: Call, agent: AgentDef, plain: Any, data: bytes) -> NoReturn:
    release = await side_after(ctx, agent)
    successor = new_id(ctx.services.clock)  # of its own time: a chain of years must not lie in its first month
    event = ctx.event(
        RunContinued,
        call.path,
        next_run=successor,
        digest=call.identity.digest,
        payloads={"input": [ctx.log.payload(data)]},
    )
    ctx.log.child(_new_run(ctx, agent, event, plain, data, release))
    await ctx.intend(call, event)
    await _leave(ctx)


async def _leave(ctx: RunContext) -> NoReturn:
    ctx.continued = True
    ctx.end("succeeded", CONTINUED, "the run goes on in another")
    await ctx.halt()
    raise AssertionError("unreachable")


def _new_run(ctx: RunContext, agent: AgentDef, event: RunContinued, plain: Any, data: bytes, release: str) -> NewRun:
    before, successor = ctx.tape.submitted, event.next_run
    subject = before.subject or str(successor)
    key = ctx.claim.subject_key if before.subject else token_bytes(32)
    where = address(key, data)
    ctx.log.foreign_payload(make_payload(before.tenant, subject, where, data))
    submitted = RunSubmitted(
        tenant=before.tenant,
        run=successor,
        agent=agent.name,
        at=ctx.services.clock.now_us(),
        seq=1,
        env=before.env,
        parent=before.parent,
        release=release,
        actor=agent.name,
        behalf=before.behalf,
        tags=before.tags,
        payloads={"input": [ref_text(where)]},
        budget=_left(ctx),
        session=before.session,
        priority=before.priority,
        deadline=before.deadline,
        depth=before.depth,
        subject=before.subject,
        format=ctx.tape.format,
        continues=ctx.run_id,
        first=before.first or ctx.run_id,
        carried=added(before.carried, ctx.ledger.totals()),
        taint=handed(ctx.facts.taint, ctx.claim.agent),
    )
    body = encode(submitted)
    return NewRun(
        tenant=before.tenant,
        id=successor,
        agent=agent.name,
        release=release,
        event=Row(1, body, link(genesis(before.tenant, successor), body)),
        subject=subject,
        subject_key=key,
        env=before.env,
        request_digest=canonical_digest({"agent": agent.name, "input": plain}),
        session=before.session,
        priority=before.priority,
        parent=ctx.run_id,
        parent_path=CONTINUED,
        root=ctx.root,
        deadline=before.deadline,
        format=ctx.tape.format,
        tags=before.tags,
    )


def _left(ctx: RunContext) -> BudgetRecord:
    """What the run has left. Where that is nothing it is the least there is, for 0 would mean no limit."""
    budget, facts = ctx.facts.budget, ctx.facts
    return msgspec.structs.replace(
        budget,
        tokens=budget.tokens and max(1, budget.tokens - facts.tokens),
        nano=budget.nano and max(1, budget.nano - facts.nano),
        steps=budget.steps and max(1, budget.steps - facts.steps),
        calls=budget.calls and max(1, budget.calls - facts.tool_calls),
        retries=in_base(facts) or -1,
        seconds=budget.seconds and max(0.001, budget.seconds - ctx.active_seconds()),
    )


def added(one: Totals, other: Totals) -> Totals:
    """What both have used."""
    return Totals(**{name: getattr(one, name) + getattr(other, name) for name in Totals.__struct_fields__})
