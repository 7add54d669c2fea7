"""Snapshots held against the tape: what the engine counted, and what was said, must follow from the run's events.

A snapshot is a cache that a worker goes on from. One that says something else than the events would make a run that
nobody can explain, so the audit computes each again. Where the loop stands beyond that (how often an answer was sent
back, say) only the agent's code can tell: `penstock runs replay`.
"""

from collections.abc import Sequence

from penstock.events import ModelIntent
from penstock.events.prompts import prompt_refs
from penstock.gates.order.tape import Tape
from penstock.gates.snapshots.state import FORMAT, Engine, Loop, State, decode_state, encode_state, fold, is_foldable
from penstock.journal.payloads import unpack
from penstock.kernel.errors import ChainBroken, EventUnreadable
from penstock.ports.journal import Journal
from penstock.ports.records import Row, RunRow, Status
from penstock.ports.snapshots import Snapshot


async def check_snapshot(journal: Journal, row: RunRow, tape: Sequence[Row]) -> bool:
    """Whether there is a snapshot that could be checked: not one of another format, or whose subject was erased.

    ``tape`` are the run's events, whose chain holds.

    Raises:
        ChainBroken: it is damaged, or does not follow from the events; ``problem`` is ``snapshot``.
    """
    key = row.tenant, row.id
    snapshot = None if row.status is Status.ENDED else (await journal.snapshots.latest([key])).get(key)
    if snapshot is None or snapshot.format != FORMAT:
        return False
    try:
        state = await _read(journal, row, snapshot)
        if state is None:
            return False
        words = _difference(tape, snapshot, state)
    except (ChainBroken, EventUnreadable) as error:
        words = error.what
    if words:
        if (await journal.snapshots.latest([key])).get(key) != snapshot:
            return False  # the run went on meanwhile, and its snapshot with it
        said = f"the snapshot of run {row.id} after event {snapshot.seq} does not hold: {words}"
        raise ChainBroken(said, seq=snapshot.seq, problem="snapshot")
    return True


async def _read(journal: Journal, row: RunRow, snapshot: Snapshot) -> State | None:
    key = await journal.subject_key(row.tenant, row.subject)
    if key is None:
        return None
    stored = await journal.get_payloads(row.tenant, row.subject, [snapshot.address])
    if snapshot.address not in stored:
        raise EventUnreadable("its payload is not in the store")
    return decode_state(unpack(stored[snapshot.address], key))


def _difference(tape: Sequence[Row], snapshot: Snapshot, state: State) -> str:
    """What of the state does not follow from the events; '' when all does."""
    seq = snapshot.seq
    if not 0 < seq <= len(tape) or tape[seq - 1].hash != snapshot.head:
        return "it follows another history, or one that goes further"
    if (state.run, state.release, state.engine.seq) != (str(snapshot.run), snapshot.release, seq):
        return "it is another run's"
    folded = fold(tape[:seq])
    arranged = Tape(tape[:seq])
    said = state.engine
    if not is_foldable(arranged.events):
        folded.seen = said.seen
    if encode_state(said) != encode_state(folded):
        names = (name for name in Engine.__struct_fields__ if getattr(said, name) != getattr(folded, name))
        return f"the events come to another {', '.join(names)}"
    return _other_prompt(arranged, state.loop)


def _other_prompt(tape: Tape, loop: Loop) -> str:
    """Whether the conversation is another than the one that was sent last."""
    path, count = loop.sent
    if not path:
        return ""
    intents = [event for event in tape.calls.get(path, ()) if isinstance(event, ModelIntent) and not event.shortened]
    if not intents or prompt_refs(tape.calls, intents[-1]) != loop.refs[:count]:
        return f"its conversation is not the one that was sent at {path}"
    return ""
