"""The append protocol without a database: the same decisions in the same order, one batch at a time."""

from dataclasses import replace

from penstock.adapters.memory.records import Run, Store
from penstock.kernel.errors import JournalError, ShareLost
from penstock.ports.records import Answer, Applied, Batch, Letter, Move, Row, Status, Stop


def append(store: Store, batch: Batch, now: int) -> Applied:
    """Write one batch, or say why not."""
    refusal = _refusal(batch)
    if refusal is not None:
        return Applied(Answer.REFUSED, error=refusal)
    run = store.runs.get((batch.tenant, batch.run))
    if run is None:
        return Applied(Answer.ABSENT, at=now)
    stop = store.stop_of(run)
    answer = _judge(run, batch, stop)
    if answer is None and _is_stale(batch, store.breaker_version):
        answer = Answer.STALE
    if answer is None:
        if batch.charges:
            try:
                store.charge(batch.tenant, batch.charges)
            except ShareLost as error:
                return Applied(Answer.REFUSED, error=error)
        answer = Answer.APPLIED
        _write(store, run, batch, now)
    return Applied(answer, len(run.letters()), stop, now)


def _judge(run: Run, batch: Batch, stop: Stop | None) -> Answer | None:
    """The answer when nothing is to be written; None when the batch is to be written."""
    held = run.epoch == batch.epoch and run.status is Status.RUNNING
    if held and run.last_seq == batch.last_seq:
        return Answer.STOPPED if stop is not None and (batch.intent or batch.children) else None
    if not batch.rows:
        again = run.epoch == batch.epoch and run.last_seq == batch.last_seq
    else:
        end = batch.last_seq + len(batch.rows)
        again = run.last_seq >= end and run.tape[end - 1].hash == batch.rows[-1].hash
    if again:
        return Answer.APPLIED
    return Answer.GAP if held else Answer.FENCED


def _is_stale(batch: Batch, version: int) -> bool:
    """Whether its intents were checked against circuit breakers that have changed since."""
    return batch.checked is not None and (batch.intent or bool(batch.children)) and batch.checked < version


def _write(store: Store, run: Run, batch: Batch, now: int) -> None:
    move = batch.move
    if move is not None and move.post is not None:
        parent = store.runs.get((batch.tenant, move.post.run))
        if parent is not None and parent.status is not Status.ENDED:
            parent.receive(Letter(move.post.dedup, move.post.kind, move.post.body, now))
    run.consumed.update(dedup for dedup in batch.consumed if dedup in run.inbox)
    before = run.status, run.waiting
    run.tape += [Row(row.seq, row.body, row.hash, now) for row in batch.rows]
    run.summary = batch.summary
    run.claims = 0
    if move is not None:
        _move(run, move, now)
        if run.status is Status.ENDED:
            store.ends.append(run)
    elif batch.waiting is not None:
        run.waiting = batch.waiting
    for child in batch.children:
        store.create(replace(child, tenant=batch.tenant, parent=batch.run), now)
    store.when_moved(run, *before)


def _move(run: Run, move: Move, now: int) -> None:
    run.worker = None
    run.status, run.wake_at = move.status, move.wake_at
    run.waiting, run.outcome, run.code = move.waiting, move.outcome, move.code
    if move.status is Status.ENDED:
        run.ended_at, run.wake_at = now, None
        run.inbox = {dedup: letter for dedup, letter in run.inbox.items() if letter.kind == "settle"}
    elif move.status is Status.QUARANTINED:
        run.wake_at = None
    elif move.status is Status.QUEUED:
        run.wake_at = now if move.wake_at is None else move.wake_at
    elif run.letters() or run.stop in (Stop.CANCEL, Stop.KILL):
        run.wake(now, only=Status.PARKED)


def _refusal(batch: Batch) -> JournalError | None:
    """What PostgreSQL would not store either: a NUL in a text column."""
    move = batch.move
    texts = [*batch.consumed, *([move.code, move.outcome or ""] if move else [])]
    if any("\x00" in text for text in texts):
        return JournalError("the journal refused what was to be stored: a text contains a NUL character")
    return None
