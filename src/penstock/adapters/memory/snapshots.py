"""`penstock.ports.snapshots.Snapshots` in memory."""

from collections.abc import Sequence
from uuid import UUID

from penstock.adapters.memory.records import Store
from penstock.ports.records import Payload, PayloadKey, Row, RunKey, Status
from penstock.ports.snapshots import Snapshot


class MemorySnapshots:
    """See the port."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def put(self, snapshot: Snapshot, state: Payload) -> bool:
        key = snapshot.tenant, snapshot.run
        run = self._store.runs.get(key)
        known = self._store.snapshots.get(key)
        if run is None or run.status is Status.ENDED or run.epoch != snapshot.epoch or run.last_seq < snapshot.seq:
            return False
        if known is not None and known.seq >= snapshot.seq:
            return False
        subject = state.tenant, state.subject
        if self._store.subjects.get(subject, b"") is None:
            return False
        payloads = self._store.payloads.setdefault(subject, {})
        if known is not None:
            payloads.pop(known.address, None)
        payloads[state.address] = state
        self._store.snapshots[key] = snapshot
        return True

    async def latest(self, runs: Sequence[RunKey]) -> dict[RunKey, Snapshot]:
        return {key: self._store.snapshots[key] for key in runs if key in self._store.snapshots}

    async def drop(self, tenant: str, run: UUID, subject: str) -> bool:
        known = self._store.snapshots.pop((tenant, run), None)
        if known is None:
            return False
        self._store.payloads.get((tenant, subject), {}).pop(known.address, None)
        return True

    async def weigh(self, runs: Sequence[tuple[str, UUID, int]]) -> dict[RunKey, int]:
        found = {}
        for tenant, run, after in runs:
            known = self._store.runs.get((tenant, run))
            size = sum(len(row.body) for row in known.tape[after:]) if known is not None else 0
            if size:
                found[tenant, run] = size
        return found

    async def rows(self, tenant: str, run: UUID, seqs: Sequence[int]) -> list[Row]:
        known = self._store.runs.get((tenant, run))
        return [known.tape[seq - 1] for seq in sorted(set(seqs)) if 0 < seq <= len(known.tape)] if known else []

    async def page(self, tenant: str, run: UUID, after: int, most: int, most_bytes: int) -> list[Row]:
        known = self._store.runs.get((tenant, run))
        page: list[Row] = []
        size = 0
        for row in known.tape[after : after + most] if known is not None else ():
            if size >= most_bytes:
                break
            page.append(row)
            size += len(row.body)
        return page

    async def payloads(self, wanted: Sequence[PayloadKey], most_bytes: int) -> dict[PayloadKey, Payload]:
        found: dict[PayloadKey, Payload] = {}
        size = 0
        for key in wanted:
            if size >= most_bytes:
                break
            payload = self._store.payloads.get(key[:2], {}).get(key[2])
            if payload is not None and key not in found:
                found[key] = payload
                size += payload.size
        return found
