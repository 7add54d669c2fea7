"""The child gate: delegating to another agent is a tool call whose tool is a run of its own."""

from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import msgspec

from penstock.events import (
    Amount,
    BudgetRecord,
    ChildIntent,
    ChildOutcome,
    RunSubmitted,
    Totals,
    VerdictRecorded,
    WaitEnded,
    Waiting,
    encode,
)
from penstock.gates.breakers.admission import hold, let_go
from penstock.gates.filters.incoming import Incoming, filters_for, released_input
from penstock.gates.filters.taint import handed
from penstock.gates.filters.vault import sealed
from penstock.gates.run.call import ID_MAX_CHARS, Call
from penstock.gates.run.context import RunContext
from penstock.gates.run.deadline import deadline_of, seconds_to_deadline
from penstock.gates.run.denial import denial, denied
from penstock.gates.run.ledger import child_used, first_ref
from penstock.gates.waits.circle import join_session
from penstock.gates.waits.side import side_of
from penstock.journal.chain import genesis, link
from penstock.journal.payloads import address, make_payload, ref_text
from penstock.kernel.backoff import Backoff
from penstock.kernel.canonical import canonical_digest, clean_text, digest, stable_json
from penstock.kernel.errors import ChildFailed, JournalError, JournalUnavailable, WaitCycle
from penstock.kernel.ids import derived_id
from penstock.kernel.randomness import token_bytes
from penstock.ports.agents import AgentDef
from penstock.ports.records import NewRun, Row, Stop
from penstock.rules.default import CHILD_RULES
from penstock.rules.retries import is_retry, share_of_child
from penstock.rules.verdict import CallFacts, Verdict


class ChildEnd(msgspec.Struct, omit_defaults=True, frozen=True):
    """Body of the letter that a child's last transaction posts to its parent."""

    child: UUID
    outcome: str
    subject: str
    code: str = ""
    reason: str = ""
    totals: Totals = Totals()
    output: str = ""  # commitment under the child's subject
    simulated: bool = False
    taint: dict[str, str] = {}


@dataclass(slots=True, frozen=True)
class ChildAsked:
    """What an agent asks of the child gate. ``value`` is the plain input."""

    agent: AgentDef
    value: Any
    budget: BudgetRecord
    call_id: str = ""
    session: str = ""  # the child waits its turn in it


async def call_child(ctx: RunContext, asked: ChildAsked) -> bytes:
    """Run another agent as a child and wait for its end; the stored JSON of its output.

    Raises:
        CallDenied: a rule denied it.
        ChildFailed: it ended without success; ``fields`` hold its outcome and code.
        WaitCycle: it would wait in its session behind a run that waits for this one.
    """
    plain = digest(asked.value)
    call = ctx.enter("child", asked.agent.name, plain, shown=asked.value)
    last = call.last
    if isinstance(last, VerdictRecorded):
        await ctx.replay(call)
        raise denial("child", last.verdicts[-1].reason, last.verdicts[-1].code)
    if isinstance(last, WaitEnded):
        await ctx.replay(call)
        raise WaitCycle(last.reason, circle=[str(run) for run in last.circle])
    if isinstance(last, ChildOutcome):
        data = await _output(ctx, last)
        await ctx.replay(call)
        return _give(asked, last, data)
    await ctx.schedule.live(call.path)
    try:
        ended: tuple[ChildOutcome, bytes] = await ctx.perform(call, _live(ctx, call, asked))
    finally:
        let_go(ctx, call)
    return _give(asked, *ended)


async def _live(ctx: RunContext, call: Call, asked: ChildAsked) -> tuple[ChildOutcome, bytes]:
    if not call.recorded:
        if asked.session:
            await join_session(ctx, call, asked.session, derived_id(ctx.run_id, f"child:{call.path}"))
        await _start(ctx, call, asked)
    intent = call.recorded[0]
    assert isinstance(intent, ChildIntent)
    child = intent.child
    call.on_cut = lambda: ctx.errand(_cancel(ctx, child))
    if call.branch.cut:
        call.on_cut()
    waiting = Waiting("child", call.path, asked.agent.name, str(intent.child))
    letter = await ctx.mail.wait(waiting, f"child:{intent.child}")
    assert letter is not None
    end = msgspec.json.decode(letter.body, type=ChildEnd)
    data = b""
    if end.output:
        data = await ctx.load(end.output, end.subject)
    ctx.log.consume(letter.dedup)  # with the outcome, not with what other branches record while the output is read
    outcome = ctx.event(
        ChildOutcome,
        call.path,
        child=end.child,
        outcome=end.outcome,
        code=end.code,
        reason=end.reason,
        totals=end.totals,
        simulated=end.simulated,
        taint=end.taint,
        payloads={"output": [ctx.log.payload(data)]} if data else {},
    )
    used = child_used(outcome)
    ctx.ledger.settle(intent.reserved, used)
    ctx.ledger.end_child(outcome)
    ctx.record(call, outcome)
    return outcome, data


async def _start(ctx: RunContext, call: Call, asked: ChildAsked) -> None:
    """Ask the rules, then create the child in the transaction that commits the intent."""
    held = await hold(ctx, call, "child", asked.agent.name)
    side = await side_of(ctx, asked.agent, asked.session)
    if asked.budget == asked.agent.budget:  # none was given for this call
        asked = replace(asked, budget=side.budget)
    again = is_retry(ctx.facts, asked.agent.name, call.identity.digest)
    budget = carve(ctx, asked.budget, again=again)
    reserved = Amount(tokens_in=budget.tokens, nano=budget.nano)
    depth = ctx.facts.depth + 1
    ctx.facts.seconds = ctx.active_seconds()
    facts = CallFacts(
        "child",
        asked.agent.name,
        call.identity.digest,
        asked.value,
        reserved=reserved,
        depth=depth,
        seconds_left=seconds_to_deadline(ctx, call.branch),
        breaker=held,
    )
    ruling = CHILD_RULES.decide(facts, ctx.facts)
    if ruling.verdict is not Verdict.ALLOW and ruling.verdict is not Verdict.FLAG:
        about = {"args": [ctx.args_ref(asked.value)]}
        await denied(ctx, call, ruling, call_id=clean_text(asked.call_id, ID_MAX_CHARS), payloads=about)
        raise denial("child", ruling.reason, ruling.code)
    child = derived_id(ctx.run_id, f"child:{call.path}")
    key = ctx.claim.subject_key if ctx.tape.submitted.subject else token_bytes(32)
    filters = filters_for(asked.agent, side.filters, ctx.services.filters)
    given = await released_input(asked.agent, asked.value, filters, key, ctx.services.clock)
    intent = ctx.event(
        ChildIntent,
        call.path,
        child=child,
        child_agent=asked.agent.name,
        digest=call.identity.digest,
        call_id=clean_text(asked.call_id, ID_MAX_CHARS),
        budget=budget,
        reserved=reserved,
        because="retry" if again else "",
        passed=ruling.passed,
        verdicts=ruling.verdicts,
        payloads={"input": [ctx.log.payload(stable_json(asked.value))]},
    )
    ctx.ledger.reserve(reserved)
    ctx.ledger.start_child(intent)
    ctx.facts.children += 1
    ctx.facts.tool_calls += 1
    ctx.log.child(_new_run(ctx, call, asked, side.release, child, budget, given))
    await ctx.intend(call, intent)


async def _cancel(ctx: RunContext, child: UUID) -> None:
    """Nobody wants this child's result any more; its end is still waited for."""
    backoff = Backoff()
    while ctx.fault is None and not ctx.schedule.stopping:
        try:
            reason = "the time-out around it has fired"
            await ctx.services.journal.stop_run(ctx.claim.tenant, child, Stop.CANCEL, ctx.claim.agent, reason)
        except JournalUnavailable:
            await ctx.services.clock.sleep(backoff.next_seconds())
        except JournalError:  # it goes on within its own budget and deadline
            return
        else:
            return


def carve(ctx: RunContext, asked: BudgetRecord, *, again: bool = False) -> BudgetRecord:
    """The child's budget: what it asks for, never more than the parent has free; no limit becomes what is free.

    Where nothing is free it is 1, not 0, which would mean no limit: the budget rule then denies the child. ``again``:
    the child failed before, so that its start is itself taken from the retry budget.
    """
    facts = ctx.facts
    tokens, nano, seconds, attempts = asked.tokens, asked.nano, asked.seconds, asked.attempts
    if facts.budget.tokens:
        free = max(1, facts.budget.tokens - facts.tokens - facts.held_tokens - facts.aside_tokens)
        tokens = min(tokens, free) if tokens else free
    if facts.budget.nano:
        free = max(1, facts.budget.nano - facts.nano - facts.held_nano - facts.aside_nano)
        nano = min(nano, free) if nano else free
    if facts.budget.seconds:
        left = max(0.001, facts.budget.seconds - ctx.active_seconds())
        seconds = min(seconds, left) if seconds else left
    if facts.budget.attempts:
        attempts = min(attempts, facts.budget.attempts) if attempts else facts.budget.attempts
    retries = share_of_child(facts, asked.retries, again=again) or -1
    return msgspec.structs.replace(asked, tokens=tokens, nano=nano, seconds=seconds, attempts=attempts, retries=retries)


def _new_run(
    ctx: RunContext,
    call: Call,
    asked: ChildAsked,
    release: str,
    child: UUID,
    budget: BudgetRecord,
    given: Incoming,
) -> NewRun:
    parent = ctx.tape.submitted
    subject, key, data = parent.subject or str(child), given.subject_key, stable_json(given.value)
    where = address(key, data)
    ctx.log.foreign_payload(make_payload(parent.tenant, subject, where, data))
    for payload in sealed(parent.tenant, subject, key, given.tokens):
        ctx.log.foreign_payload(payload)
    deadline = deadline_of(ctx, call.branch)
    event = RunSubmitted(
        tenant=parent.tenant,
        run=child,
        agent=asked.agent.name,
        at=ctx.services.clock.now_us(),
        seq=1,
        env=parent.env,
        path="",
        parent=parent.run,
        release=release,
        actor=parent.agent,
        behalf=parent.behalf,
        tags=parent.tags,
        payloads={"input": [ref_text(where)]},
        budget=budget,
        session=asked.session,
        priority=parent.priority,
        deadline=deadline,
        depth=ctx.facts.depth + 1,
        subject=parent.subject,
        format=ctx.tape.format,
        taint=handed(ctx.facts.taint, ctx.claim.agent),
        filtered=given.filtered,
        withheld=given.withheld,
    )
    body = encode(event)
    return NewRun(
        tenant=parent.tenant,
        id=child,
        agent=asked.agent.name,
        release=release,
        event=Row(1, body, link(genesis(parent.tenant, child), body)),
        subject=subject,
        subject_key=key,
        env=parent.env,
        request_digest=canonical_digest({"agent": asked.agent.name, "input": given.told_apart}),
        session=asked.session,
        priority=parent.priority,
        parent=parent.run,
        parent_path=call.path,
        root=ctx.root,
        deadline=deadline,
        format=ctx.tape.format,
        tags=parent.tags,
    )


async def _output(ctx: RunContext, outcome: ChildOutcome) -> bytes:
    ref = first_ref(outcome, "output")
    return await ctx.load(ref) if ref else b""


def _give(asked: ChildAsked, outcome: ChildOutcome, data: bytes) -> bytes:
    if outcome.outcome == "succeeded":
        return data
    raise ChildFailed(
        f"the child run {outcome.child} of {asked.agent.name} ended as {outcome.outcome}: "
        f"{outcome.reason or outcome.code}",
        child=str(outcome.child),
        outcome=outcome.outcome,
        child_code=outcome.code,
    )
