"""Snapshots: the standard loop's state, kept between two of its steps, so that a long run goes on without all its tape.

A snapshot is a cache. It is taken when nothing is in flight and everything recorded is durable; it names the event it
follows and that event's hash. Whoever claims the run takes the state from it, and replays what came after. Anything
odd about it, and the run is replayed from the beginning.

Only the standard loop can be kept like this: what it holds is known. The local variables of an `@agent` function are
Python's.
"""

import logging

import msgspec

from penstock.events.messages import decode_message
from penstock.gates.model.conversation import Conversation
from penstock.gates.order.branches import Branch
from penstock.gates.run.context import RunContext
from penstock.gates.snapshots.state import FORMAT, Engine, Loop, State, encode_state, engine_of, unclaimed_letters
from penstock.journal.payloads import address, make_payload, ref_address
from penstock.kernel.canonical import stable_json
from penstock.kernel.errors import InputTooLarge, JournalError, PenstockError
from penstock.ports.snapshots import Snapshot

SHARE = 20
"""A snapshot is taken after a twentieth of the history at the earliest, so that all of a run's snapshots together cost
no more than a small multiple of the last."""

_logger = logging.getLogger("penstock.runs")


def apply(ctx: RunContext, state: State) -> None:
    """Let a fresh context go on from a snapshot; its ledger has been made with the restored facts."""
    engine = state.engine
    tokens_in, tokens_out, at_maximum = engine.spent
    ctx.ledger.tokens_in += tokens_in
    ctx.ledger.tokens_out += tokens_out
    ctx.ledger.at_maximum += at_maximum
    ctx.simulated |= engine.simulated
    ctx.patches |= dict.fromkeys(engine.patches, True)
    ctx.safe.restored = state
    ctx.safe.last_seq = engine.seq
    ctx.safe.stored = True


async def resume_loop(ctx: RunContext) -> tuple[Conversation, int] | None:
    """The conversation and the repairs that the loop goes on with; None when it starts from its opening."""
    state, ctx.safe.restored = ctx.safe.restored, None
    if state is None:
        return None
    loop = state.loop
    branch = ctx.schedule.bind()
    data = await _messages(ctx, [ref_address(ref) for ref in loop.refs])
    ctx.schedule.unbind(branch)
    decoded = {where: decode_message(message) for where, message in data.items()}
    conversation = Conversation.restored(
        [decoded[ref_address(ref)] for ref in loop.refs],
        loop.refs,
        level=loop.level,
        sent=loop.sent,
        latest_model=loop.latest_model,
        authors=loop.authors,
        counted=loop.counted,
    )
    branch.counter = loop.counter
    seen = ctx.seen
    seen.at, seen.tokens, seen.nano, seen.steps, seen.tool_calls = state.engine.seen
    ctx.partial = msgspec.json.decode(loop.partial)
    return conversation, loop.repairs


async def _messages(ctx: RunContext, wanted: list[bytes]) -> dict[bytes, bytes]:
    reader, claim = ctx.services.reader, ctx.claim
    return await ctx.reading(lambda: reader.read_in_bulk(claim.tenant, claim.subject, wanted))


async def keep_state(ctx: RunContext, conversation: Conversation, repairs: int) -> None:
    """Between two steps of the standard loop: take a snapshot if it is time for one and nothing is under way."""
    safe = ctx.safe
    due = ctx.log.last_seq + ctx.log.queued - safe.last_seq
    if safe.on_state is None and (not safe.every or due < max(safe.every, ctx.log.last_seq // SHARE)):
        return
    branch = ctx.schedule.bind()
    try:
        if not _is_at_rest(ctx, branch):
            return
        if safe.on_state is not None:
            conversation.commit(ctx.log)
            safe.on_state(_loop(ctx, branch, conversation, repairs))
            return
        await _keep(ctx, branch, conversation, repairs)
    except (PenstockError, TypeError, ValueError, RecursionError) as error:
        # The claim is lost, which the next call will meet; or the state is too large, or has no JSON form.
        _logger.debug("no snapshot of run %s: %s", ctx.run_id, error)
        safe.last_seq = ctx.log.last_seq
    finally:
        ctx.schedule.unbind(branch)


async def _keep(ctx: RunContext, branch: Branch, conversation: Conversation, repairs: int) -> None:
    conversation.commit(ctx.log)
    await ctx.log.flush()
    if ctx.log.queued or not _is_at_rest(ctx, branch):
        return
    claim = ctx.claim
    seq, head = ctx.log.last_seq, ctx.log.head
    loop = _loop(ctx, branch, conversation, repairs)
    state = State(FORMAT, str(ctx.run_id), claim.release, _engine(ctx), loop)
    data = encode_state(state)
    ctx.safe.last_seq = seq
    most = ctx.services.settings.payload_max_bytes
    if len(data) > most:
        raise InputTooLarge(f"the state has {len(data):,} bytes; the bound is {most:,}")
    where = address(claim.subject_key, data)
    snapshot = Snapshot(claim.tenant, claim.run, claim.epoch, seq, head, FORMAT, claim.release, where)
    ctx.errand(_store(ctx, snapshot, data))


async def _store(ctx: RunContext, snapshot: Snapshot, data: bytes) -> None:
    """While the run goes on. A snapshot that does not get there is missed by nobody."""
    payload = make_payload(snapshot.tenant, ctx.claim.subject, snapshot.address, data)
    try:
        ctx.safe.stored |= await ctx.services.journal.snapshots.put(snapshot, payload)
    except JournalError as error:
        _logger.debug("a snapshot of run %s was not kept: %s", snapshot.run, error)


async def forget(ctx: RunContext) -> bool:
    """Nobody is to go on from the run's snapshot any more; False when the store could not be told."""
    await ctx.last_errands()
    if ctx.safe.stored:
        try:
            await ctx.services.journal.snapshots.drop(ctx.claim.tenant, ctx.claim.run, ctx.claim.subject)
        except JournalError as error:
            _logger.debug("the snapshot of run %s was left behind: %s", ctx.run_id, error)
            return False
    return True


def _is_at_rest(ctx: RunContext, branch: Branch) -> bool:
    """Whether the state between two steps is all there is: one branch, nothing in flight, nothing in doubt."""
    schedule = ctx.schedule
    over = not ctx.tape.order and len(ctx.made) >= len(ctx.recorded_paths)
    still = schedule.branches == [branch] and not schedule.busy and not schedule.doubts
    calls = ctx.ledger.open_intents or ctx.ledger.has_children() or ctx.unsettled or ctx.scopes or ctx.mail.waiting
    stopped = ctx.fault is not None or ctx.draining or not ctx.claim.subject_key
    return over and still and not calls and not stopped and ctx.safe.restored is None


def _engine(ctx: RunContext) -> Engine:
    claimed = ctx.claim.last_seq + 1  # the holder's first event says that it holds the run
    letters = unclaimed_letters(ctx.tape.events)
    stages = {event.seq for call in ctx.safe.stages if "." not in call.path for event in call.recorded}
    return engine_of(
        ctx.ledger,
        ctx.seen,
        ctx.patches,
        simulated=ctx.simulated,
        kept=list({1, claimed, *letters, *stages}),
        seq=ctx.log.last_seq,
        claimed=claimed,
        active_us=ctx.tape.active_us(),
        size=ctx.tape.size + ctx.log.bytes,
        tape_format=ctx.tape.format,
    )


def _loop(ctx: RunContext, branch: Branch, conversation: Conversation, repairs: int) -> Loop:
    return Loop(
        counter=branch.counter,
        repairs=repairs,
        partial=msgspec.Raw(stable_json(ctx.partial) if ctx.partial is not None else b"null"),
        refs=list(conversation.refs),
        level=conversation.level,
        sent=(conversation.sent_path, conversation.sent_count),
        latest_model=conversation.latest_model,
        authors=conversation.authors(),
        counted=conversation.counted(),
    )
