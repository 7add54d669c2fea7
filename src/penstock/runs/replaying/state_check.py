"""A run's snapshot against the agent's code: replayed to the same event, both must stand at the same place."""

from collections.abc import Iterable

from penstock.gates.run.services import Services
from penstock.gates.snapshots.state import FORMAT, Loop, decode_state, encode_state
from penstock.journal.payloads import unpack
from penstock.kernel.errors import ChainBroken, EventUnreadable
from penstock.ports.agents import AgentDef
from penstock.ports.records import RunRow
from penstock.runs.replaying.replay import replay


async def check_state(services: Services, row: RunRow, agents: Iterable[AgentDef]) -> bool:
    """Whether there is a snapshot of this code's release that could be compared, byte for byte.

    Raises:
        ChainBroken: it cannot be read, or the code comes to another state; ``problem`` is ``snapshot``.
        PenstockError: as `replay`.
    """
    journal = services.journal
    snapshot = (await journal.snapshots.latest([(row.tenant, row.id)])).get((row.tenant, row.id))
    key = await journal.subject_key(row.tenant, row.subject)
    if snapshot is None or snapshot.format != FORMAT or snapshot.release != row.release or key is None:
        return False
    stored = await journal.get_payloads(row.tenant, row.subject, [snapshot.address])
    words = "its payload is not in the store"
    if snapshot.address in stored:
        found: list[Loop] = []
        done = await replay(services, row, agents, on_state=found.append, upto=snapshot.seq)
        try:
            state = decode_state(unpack(stored[snapshot.address], key))
        except (ChainBroken, EventUnreadable) as error:
            words = error.what
        else:
            words = ""
            if state is None or done.release != snapshot.release:
                return False
            if not found or encode_state(found[-1]) != encode_state(state.loop):
                words = "the code, replayed to that event, stands elsewhere"
    if words and (await journal.snapshots.latest([(row.tenant, row.id)])).get((row.tenant, row.id)) == snapshot:
        said = f"the snapshot of run {row.id} after event {snapshot.seq} does not hold: {words}"
        raise ChainBroken(said, seq=snapshot.seq, problem="snapshot")
    return not words
