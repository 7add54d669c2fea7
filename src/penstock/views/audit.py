"""Audit: check what is stored against the hash chains, run by run, and each tenant's list of actions; name the first
event, or action, that does not fit."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import msgspec

from penstock.journal.actions import ActionChain
from penstock.journal.chain import verify
from penstock.journal.payloads import ref_address, unpack
from penstock.kernel.errors import ChainBroken, EventUnreadable
from penstock.kernel.groups import in_groups
from penstock.ports.journal import Journal
from penstock.ports.records import Payload, Row, RunFilter, RunRow, Status
from penstock.ports.retention import Tombstone
from penstock.views.rows import known_row
from penstock.views.snapshots import check_snapshot

PAGE = 1000
EVENTS_AT_A_TIME = 20_000
BYTES_AT_A_TIME = 32 * 1024 * 1024
"""Of events that are held at a time; a run with more of them is read by itself."""
NO_RUN = UUID(int=0)
"""Instead of a run: the list of actions."""
TRIES = 5
"""How often a run that is being written while it is read is read again."""


@dataclass(slots=True, frozen=True)
class Broken:
    """A record that is not what was written. ``run``: or `NO_RUN`. ``seq``: the first that does not fit; 0 = none."""

    tenant: str
    run: UUID
    agent: str
    seq: int
    problem: str
    words: str


@dataclass(slots=True)
class Audit:
    """What a verification found."""

    runs: int = 0
    events: int = 0
    payloads: int = 0
    pruned: int = 0  # runs whose record is gone, as their tombstones say
    erased: int = 0  # payloads whose subject was erased; the chain holds without them
    snapshots: int = 0  # of runs that go on, held against their events
    actions: int = 0  # of people and programs, through the server
    broken: list[Broken] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.broken


class _Payloads(msgspec.Struct):
    payloads: dict[str, list[str]] = {}


_refs = msgspec.json.Decoder(_Payloads)


async def verify_run(journal: Journal, tenant: str, run: UUID, *, payloads: bool = True) -> Audit:
    """Verify one run.

    Raises:
        RunUnknown: no such run for this tenant.
    """
    row = await known_row(journal, tenant, run)
    audit = Audit()
    await _verify_batch(journal, [row], audit, payloads=payloads)
    return audit


async def verify_tenant(journal: Journal, tenant: str, audit: Audit | None = None, *, payloads: bool = True) -> Audit:
    """Verify all runs of a tenant, and its list of actions."""
    audit = audit or Audit()
    async for batch in _batches(journal, tenant):
        await _verify_batch(journal, batch, audit, payloads=payloads)
    await _verify_actions(journal, tenant, audit)
    return audit


async def verify_everything(journal: Journal, *, payloads: bool = True) -> Audit:
    """Verify all runs, and the lists of actions, of all tenants."""
    audit = Audit()
    for tenant in sorted({*await journal.tenants(), *await journal.actions.tenants()}):
        await verify_tenant(journal, tenant, audit, payloads=payloads)
    return audit


async def _verify_actions(journal: Journal, tenant: str, audit: Audit) -> None:
    """The head is read first: what is added meanwhile is beyond it, and for the next verification."""
    head = await journal.actions.head(tenant)
    chain = ActionChain(tenant)
    last = 0 if head is None else head.seq
    try:
        while page := await journal.actions.since(tenant, chain.seq):
            chain.follow(action for action in page if action.seq <= last or head is None)
            if chain.seq >= last:
                break
        if head is not None:
            chain.finish(head.seq, head.hash)
        elif chain.seq:
            raise ChainBroken(f"the list of actions of tenant {tenant!r} has lost its head", seq=0, problem="head")
    except ChainBroken as error:
        seq, problem = int(error.fields.get("seq", 0)), str(error.fields.get("problem", ""))
        audit.broken.append(Broken(tenant, NO_RUN, "", seq, problem, error.what))
    audit.actions += chain.seq


async def _batches(journal: Journal, tenant: str) -> AsyncIterator[list[RunRow]]:
    """All runs of a tenant, newest first, in groups whose events fit into memory."""
    before: UUID | None = None
    while True:
        page = await journal.list_runs(tenant, RunFilter(before=before), PAGE)
        for batch in in_groups(page, lambda row: row.last_seq, EVENTS_AT_A_TIME):
            yield batch
        if len(page) < PAGE:
            return
        before = page[-1].id


async def _verify_batch(journal: Journal, rows: Sequence[RunRow], audit: Audit, *, payloads: bool) -> None:
    sizes = await journal.snapshots.weigh([(row.tenant, row.id, 0) for row in rows])
    for group in in_groups(rows, lambda row: sizes.get((row.tenant, row.id), 0), BYTES_AT_A_TIME):
        await _verify_together(journal, group, audit, payloads=payloads)


async def _verify_together(journal: Journal, rows: Sequence[RunRow], audit: Audit, *, payloads: bool) -> None:
    keys = [(row.tenant, row.id) for row in rows]
    tapes = await journal.tapes(keys)
    gone = [(row.tenant, row.id) for row in rows if row.pruned_at is not None]
    stones = await journal.retention.tombstones(gone) if gone else {}
    for row in rows:
        audit.runs += 1
        tape = tapes.get((row.tenant, row.id), [])
        if row.pruned_at is not None:
            _check_tombstone(row, stones.get((row.tenant, row.id)), tape, audit)
            continue
        audit.events += len(tape)
        try:
            tape = await _check_chain(journal, row, tape)
            if payloads:
                await _check_payloads(journal, row, tape, audit)
                audit.snapshots += await check_snapshot(journal, row, tape)
        except ChainBroken as error:
            seq, problem = int(error.fields.get("seq", 0)), str(error.fields.get("problem", ""))
            audit.broken.append(Broken(row.tenant, row.id, row.agent, seq, problem, error.what))


def _check_tombstone(row: RunRow, stone: Tombstone | None, tape: Sequence[Row], audit: Audit) -> None:
    """A run that was pruned has a tombstone with the head of its row, and until it is swept all its events."""
    audit.pruned += 1
    if stone is None:
        words = f"run {row.id} says that it was pruned, but has no tombstone"
        audit.broken.append(Broken(row.tenant, row.id, row.agent, 0, "tombstone", words))
    elif (stone.last_seq, stone.head) != (row.last_seq, row.head):
        words = f"run {row.id} was pruned with another number of events or another head than its row has now"
        audit.broken.append(Broken(row.tenant, row.id, row.agent, row.last_seq, "head", words))
    elif tape and tape[-1].seq == row.last_seq:
        audit.events += len(tape)
        try:
            verify(row.tenant, row.id, tape, row.head, row.last_seq)
        except ChainBroken as error:
            seq, problem = int(error.fields.get("seq", 0)), str(error.fields.get("problem", ""))
            audit.broken.append(Broken(row.tenant, row.id, row.agent, seq, problem, error.what))


async def _check_chain(journal: Journal, row: RunRow, tape: list[Row]) -> list[Row]:
    """The row and its events are read one after the other: a run that went on in between is read again."""
    for _ in range(TRIES):
        try:
            verify(row.tenant, row.id, tape, row.head, row.last_seq)
        except ChainBroken:
            fresh = None if row.status is Status.ENDED else await journal.get_run(row.tenant, row.id)
            if fresh is None or fresh.last_seq == row.last_seq:
                raise
            row = fresh
            # No further than the row knows: what was appended since is for the next verification.
            tape = [item for item in await _whole_tape(journal, row) if item.seq <= row.last_seq]
        else:
            return tape
    return tape


async def _whole_tape(journal: Journal, row: RunRow) -> list[Row]:
    key = (row.tenant, row.id)
    return (await journal.tapes([key]))[key]


async def _check_payloads(journal: Journal, row: RunRow, tape: Sequence[Row], audit: Audit) -> None:
    """Each payload must be what its event committed to; after an erasure there is none, and no key to test one with."""
    first_use: dict[bytes, int] = {}
    for item in tape:
        for where in _addresses(row, item):
            first_use.setdefault(where, item.seq)
    if not first_use:
        return
    key = await journal.subject_key(row.tenant, row.subject)
    wanted = list(first_use)
    for start in range(0, len(wanted), PAGE):
        part = wanted[start : start + PAGE]
        stored = await journal.get_payloads(row.tenant, row.subject, part)
        for where in part:
            if where in stored:
                audit.payloads += 1
                _check_payload(row, first_use[where], stored[where], key)
            elif key is None:
                audit.erased += 1
            else:
                words = f"a payload of event {first_use[where]} of run {row.id} is not in the store"
                raise ChainBroken(words, seq=first_use[where], problem="payload_missing")


def _addresses(row: RunRow, item: Row) -> list[bytes]:
    try:
        return [ref_address(ref) for refs in _refs.decode(item.body).payloads.values() for ref in refs]
    except (msgspec.DecodeError, UnicodeDecodeError, EventUnreadable) as error:
        words = f"event {item.seq} of run {row.id} fits its chain but cannot be read: {error}"
        raise ChainBroken(words, seq=item.seq, problem="unreadable") from error


def _check_payload(row: RunRow, seq: int, payload: Payload, key: bytes | None) -> None:
    try:
        unpack(payload, key)
    except (ChainBroken, EventUnreadable) as error:
        words = f"a payload of event {seq} of run {row.id} is not what was recorded"
        raise ChainBroken(words, seq=seq, problem="payload") from error
