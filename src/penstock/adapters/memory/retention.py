"""`penstock.ports.retention.Retention` in memory."""

from collections.abc import Container, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import UUID

from penstock.adapters.memory.records import Run, Store
from penstock.kernel.clock import Clock
from penstock.kernel.errors import RunPruned, RunUnknown
from penstock.ports.records import RunKey, RunRow, Status
from penstock.ports.retention import (
    MAX_LIST,
    TENANT,
    Hold,
    Marking,
    MonthTotals,
    Policy,
    Sharer,
    Tombstone,
    Weight,
)


@dataclass(slots=True)
class _Turn:
    holder: UUID | None = None
    lease_until: int = 0
    due_at: int = 0


@dataclass(slots=True)
class MemoryRetention:
    """See the port. ``unsettled``: runs whose end asks for something that was not done yet."""

    store: Store
    clock: Clock
    unsettled: Container[RunKey]
    rules: dict[tuple[str, str], Policy] = field(default_factory=dict)
    held: dict[RunKey, Hold] = field(default_factory=dict)
    stones: dict[RunKey, Tombstone] = field(default_factory=dict)
    archives: set[tuple[str, str]] = field(default_factory=set)
    sums: dict[tuple[str, str, str, str], MonthTotals] = field(default_factory=dict)
    turn: _Turn = field(default_factory=_Turn)

    async def origin(self) -> UUID:
        return TENANT

    async def put_policy(self, policy: Policy) -> None:
        self.rules[policy.tenant, policy.agent] = replace(policy, set_at=self.clock.now_us())

    async def remove_policy(self, tenant: str, agent: str) -> bool:
        return self.rules.pop((tenant, agent), None) is not None

    async def policies(self, tenant: str | None, after: tuple[str, str] = ("", ""), limit: int = 100) -> list[Policy]:
        keys = sorted(key for key in self.rules if tenant in (None, key[0]) and (after == ("", "") or key > after))
        return [self.rules[key] for key in keys[: min(limit, MAX_LIST)]]

    async def hold(self, tenant: str, run: UUID, actor: str, reason: str) -> bool:
        if run != TENANT:
            known = self.store.runs.get((tenant, run))
            if known is None:
                raise RunUnknown(f"there is no run {run} for tenant {tenant!r}")
            if known.pruned_at is not None:
                raise RunPruned(f"run {run} cannot be held any more: its record was pruned", run=run)
        if (tenant, run) in self.held:
            return False
        self.held[tenant, run] = Hold(tenant, run, reason, actor, self.clock.now_us())
        return True

    async def release(self, tenant: str, run: UUID, actor: str) -> bool:
        del actor
        return self.held.pop((tenant, run), None) is not None

    async def holds(self, tenant: str, limit: int = 100) -> list[Hold]:
        found = [hold for key, hold in self.held.items() if key[0] == tenant]
        return sorted(found, key=lambda hold: hold.run)[: min(limit, MAX_LIST)]

    async def take_turn(self, holder: UUID, lease_seconds: float, *, due: bool) -> bool:
        now, turn = self.clock.now_us(), self.turn
        mine = turn.holder == holder and turn.lease_until > now
        if not mine and (turn.lease_until > now or (due and turn.due_at > now)):
            return False
        turn.holder, turn.lease_until = holder, now + int(lease_seconds * 1e6)
        return True

    async def end_turn(self, holder: UUID, again_seconds: float) -> None:
        if self.turn.holder == holder:
            self.turn = _Turn(due_at=self.clock.now_us() + int(again_seconds * 1e6))

    async def agents(self, tenant: str) -> list[str]:
        return sorted({run.new.agent for run in self._kept(tenant) if run.status is Status.ENDED})

    async def due(
        self, tenant: str, agent: str, ended_before: int, after: UUID | None = None, limit: int = 100
    ) -> list[RunRow]:
        found = [
            run
            for run in self._kept(tenant)
            if run.new.agent == agent and run.new.id > (after or TENANT) and self._may_go(run, ended_before)
        ]
        found.sort(key=lambda run: run.new.id)
        return [run.row() for run in found[: min(limit, MAX_LIST)]]

    async def weigh(self, tenant: str, runs: Sequence[UUID]) -> Weight:
        events = size = 0
        for run in runs:
            known = self.store.runs.get((tenant, run))
            tape = [] if known is None else known.tape
            events += len(tape)
            size += sum(len(row.body) for row in tape)
            size += sum(len(payload.data) for payload in self.store.payloads.get((tenant, str(run)), {}).values())
        return Weight(events, size)

    async def mark(self, marking: Marking) -> list[UUID]:
        if marking.archive and (marking.tenant, marking.archive) in self.archives:
            return await self.archived_in(marking.tenant, marking.archive) or []
        now = self.clock.now_us()
        going = []
        for run_id, last_seq, head, keyed in marking.runs:
            run = self.store.runs.get((marking.tenant, run_id))
            if run is None or (run.last_seq, run.head) != (last_seq, head):
                continue
            if not self._may_go(run, marking.ended_before) or (keyed and self._erased(run)):
                continue
            going.append(run)
        for run in going:
            run.pruned_at = now
            self.stones[run.key] = Tombstone(
                *run.key, run.new.agent, run.new.subject, run.last_seq, run.head, marking.archive, now, False, False
            )
        if marking.archive:
            self.archives.add((marking.tenant, marking.archive))
        return sorted(run.new.id for run in going)

    async def archived_in(self, tenant: str, archive: str) -> list[UUID] | None:
        if (tenant, archive) not in self.archives:
            return None
        return sorted(stone.run for stone in self.stones.values() if (stone.tenant, stone.archive) == (tenant, archive))

    async def tombstones(self, runs: Sequence[RunKey]) -> dict[RunKey, Tombstone]:
        return {key: self.stones[key] for key in runs if key in self.stones}

    async def empty(self, tenant: str, limit: int) -> bool:
        if (tenant, TENANT) in self.held:
            return True
        for key, stone in sorted(self.stones.items()):
            if stone.tenant != tenant or stone.emptied or stone.subject != str(stone.run):
                continue
            payloads = self.store.payloads.get((tenant, stone.subject), {})
            for where in list(payloads)[:limit]:
                del payloads[where]
                limit -= 1
            if limit <= 0:
                return False
            self.store.payloads.pop((tenant, stone.subject), None)
            self.store.runs[key].subject_key = None
            self._set_emptied(key)
            limit -= 1
            if limit <= 0:
                return False
        return True

    async def unemptied(self, tenant: str, after: UUID | None = None, limit: int = 100) -> list[Tombstone]:
        if (tenant, TENANT) in self.held:
            return []
        found = [
            stone
            for stone in self.stones.values()
            if stone.tenant == tenant
            and not stone.emptied
            and stone.subject != str(stone.run)
            and stone.run > (after or TENANT)
        ]
        return sorted(found, key=lambda stone: stone.run)[: min(limit, MAX_LIST)]

    async def sharers(self, tenant: str, subject: str, after: UUID | None = None, limit: int = 1000) -> list[Sharer]:
        found = [
            Sharer(run.new.id, run.last_seq, run.status is Status.RUNNING)
            for run in self._sharing(tenant, subject)
            if run.new.id > (after or TENANT)
        ]
        return sorted(found, key=lambda sharer: sharer.run)[: min(limit, MAX_LIST)]

    async def drop_payloads(
        self, tenant: str, subject: str, addresses: Sequence[bytes], known: tuple[int, int]
    ) -> bool:
        sharing = self._sharing(tenant, subject)
        if (tenant, TENANT) in self.held or any(run.status is Status.RUNNING for run in sharing):
            return False
        if (len(sharing), sum(run.last_seq for run in sharing)) != known:
            return False
        payloads = self.store.payloads.get((tenant, subject), {})
        for where in addresses:
            payloads.pop(where, None)
        return True

    async def set_emptied(self, tenant: str, runs: Sequence[UUID]) -> None:
        for run in runs:
            if (tenant, run) in self.stones:
                self._set_emptied((tenant, run))

    async def sweep(self, tenant: str, pruned_before: int, limit: int) -> bool:
        if (tenant, TENANT) in self.held:
            return True
        for key, stone in self.stones.items():
            if stone.tenant != tenant or not stone.emptied or stone.swept or stone.pruned_at > pruned_before:
                continue
            run = self.store.runs[key]
            run.swept = stone.last_seq, stone.head
            kept = max(0, len(run.tape) - limit)
            limit -= len(run.tape) - kept
            del run.tape[kept:]
            if limit <= 0:
                return False
            self.stones[key] = replace(stone, swept=True)
            limit -= 1
            if limit <= 0:
                return False
        return True

    async def drop_months(self) -> list[str]:
        return []  # nothing is kept by the month

    async def add_months(self) -> list[str]:
        return []

    async def forget(self, tenant: str, agent: str, ended_before: int, limit: int) -> int:
        if (tenant, TENANT) in self.held:
            return 0
        parents = {run.new.parent for run in self.store.runs.values() if run.new.tenant == tenant}
        gone = [
            run
            for key, run in self.store.runs.items()
            if key in self.stones
            and key[0] == tenant
            and run.new.agent == agent
            and self.stones[key].swept
            and (run.ended_at or 0) <= ended_before
            and run.new.id not in parents
        ][:limit]
        for run in gone:
            self._count(run)
            del self.stones[run.key], self.store.runs[run.key]
            if run.new.key is not None:
                self.store.keys.pop((tenant, run.new.key), None)
        return len(gone)

    async def forgettable(self, tenant: str) -> list[str]:
        return sorted({stone.agent for stone in self.stones.values() if stone.tenant == tenant and stone.swept})

    async def forgotten(self, tenant: str, limit: int = 1000) -> list[MonthTotals]:
        found = [total for key, total in sorted(self.sums.items()) if key[0] == tenant]
        found.sort(key=lambda total: total.month, reverse=True)
        return found[: min(limit, MAX_LIST)]

    def _kept(self, tenant: str) -> list[Run]:
        return [run for run in self.store.runs.values() if run.new.tenant == tenant and run.pruned_at is None]

    def _sharing(self, tenant: str, subject: str) -> list[Run]:
        return [run for run in self._kept(tenant) if run.new.subject == subject != str(run.new.id)]

    def _may_go(self, run: Run, ended_before: int) -> bool:
        tenant, root = run.new.tenant, run.root
        if run.status is not Status.ENDED or run.pruned_at is not None or run.key in self.unsettled or run.turn == 1:
            return False
        if (tenant, TENANT) in self.held:
            return False
        family = [item for item in self.store.runs.values() if item.new.tenant == tenant and item.root == root]
        return not any(
            item.key in self.held or item.status is not Status.ENDED or (item.ended_at or 0) > ended_before
            for item in family
        )

    def _erased(self, run: Run) -> bool:
        named = self.store.subjects.get((run.new.tenant, run.new.subject))
        return named is None and run.subject_key is None

    def _set_emptied(self, key: RunKey) -> None:
        run = self.store.runs[key]
        run.inbox.clear()
        run.consumed.clear()
        self.store.snapshots.pop(key, None)
        self.stones[key] = replace(self.stones[key], emptied=True)

    def _count(self, run: Run) -> None:
        month = datetime.fromtimestamp((run.ended_at or 0) / 1e6, UTC).strftime("%Y-%m")
        key = run.new.tenant, month, run.new.agent, run.outcome or ""
        known = self.sums.get(key) or MonthTotals(run.new.agent, month, run.outcome or "", 0, 0, 0)
        self.sums[key] = replace(
            known,
            runs=known.runs + 1,
            tokens=known.tokens + run.summary.tokens,
            nano=known.nano + run.summary.nano,
        )
