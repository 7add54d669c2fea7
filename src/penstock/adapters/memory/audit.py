"""`penstock.ports.audit.Audit` in memory."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from penstock.adapters.memory.actions import MemoryActions
from penstock.adapters.memory.records import Run, Store
from penstock.kernel.clock import Clock
from penstock.ports.audit import (
    LEAVES_MAX,
    MAX_LIST,
    Ahead,
    Found,
    Growth,
    Leaf,
    LogHead,
    LogKey,
    SealingState,
    StoredCheckpoint,
    Tile,
    Turn,
)
from penstock.ports.records import RunKey, Status


@dataclass(slots=True)
class _Log:
    head: LogHead = field(default_factory=LogHead)
    leaves: list[Leaf] = field(default_factory=list)
    times: list[int] = field(default_factory=list)  # of the leaves
    covered: dict[UUID, int] = field(default_factory=dict)
    tiles: dict[tuple[int, int], Tile] = field(default_factory=dict)
    checkpoints: dict[int, StoredCheckpoint] = field(default_factory=dict)  # by size


class MemoryAudit:
    """See the port."""

    def __init__(self, store: Store, actions: MemoryActions, clock: Clock) -> None:
        self._store = store
        self._actions = actions
        self._clock = clock
        self._logs: dict[str, _Log] = {}
        self._keys: list[LogKey] = []
        self._holder: UUID | None = None
        self._lease_until = 0
        self._state = SealingState()

    async def take_turn(self, holder: UUID, lease_seconds: float) -> Turn:
        now = self._clock.now_us()
        if self._holder != holder and self._lease_until > now:
            return Turn(mine=False, now=now)
        self._holder, self._lease_until = holder, now + int(lease_seconds * 1e6)
        return Turn(mine=True, now=now)

    async def end_turn(self, holder: UUID) -> None:
        if self._holder == holder:
            self._holder, self._lease_until = None, 0

    async def report(self, problem: str) -> None:
        if problem != self._state.problem:
            at = self._clock.now_us() if problem else 0
            self._state = replace(self._state, problem=problem, problem_at=at)

    async def state(self) -> SealingState:
        waiting = [run.created_at for run in self._runs(lambda run: run.status is Status.RUNNING) if not self._seq(run)]
        leaves = sum(len(log.leaves) for log in self._logs.values())
        return replace(self._state, logs=len(self._logs), leaves=leaves, oldest=min(waiting, default=None))

    async def ahead(self, seen: Sequence[RunKey], limit: int) -> Found:
        lists = []
        for tenant in await self._actions.tenants():
            head = await self._actions.head(tenant)
            if head is not None and head.seq > self._head(tenant).actions:
                lists.append(Ahead(tenant, None, head.seq, head.hash))
        found = self._ahead(self._store.runs.values())
        running = [run.key for run in self._runs(lambda run: run.status is Status.RUNNING)]
        return Found([*lists, *found[:limit]], running, b"", len(found) > limit)

    async def looked(self, place: bytes) -> None:
        pass

    async def ahead_of(self, tenant: str, runs: Sequence[UUID]) -> list[Ahead]:
        known = (self._store.runs.get((tenant, run)) for run in runs)
        return self._ahead([run for run in known if run is not None])

    async def heads(self, tenants: Sequence[str]) -> dict[str, LogHead]:
        return {tenant: self._logs[tenant].head for tenant in tenants if tenant in self._logs}

    async def grow(self, growths: Sequence[Growth], keep_checkpoints: int) -> list[bool]:
        return [self._grow(growth, keep_checkpoints) for growth in growths]

    def _grow(self, growth: Growth, keep: int) -> bool:
        if self._head(growth.tenant).size != growth.was.size:
            return False
        log = self._logs.setdefault(growth.tenant, _Log())
        log.head = growth.now
        for leaf in growth.leaves:
            log.leaves.append(leaf)
            log.times.append(growth.now.at)
            if leaf.run is not None:
                log.covered[leaf.run] = leaf.seq
        log.tiles.update({(tile.level, tile.index): tile for tile in growth.tiles})
        log.checkpoints[growth.now.size] = StoredCheckpoint(growth.now.size, growth.checkpoint, growth.now.at)
        for size in sorted(log.checkpoints)[:-keep]:
            if not log.checkpoints[size].witnesses:
                del log.checkpoints[size]
        self._state = replace(self._state, problem="", problem_at=0, sealed_at=self._clock.now_us())
        return True

    async def leaves(self, tenant: str, begin: int, end: int) -> list[Leaf]:
        return self._log(tenant).leaves[begin:end][:LEAVES_MAX]

    async def leaves_of(self, tenant: str, runs: Sequence[UUID]) -> list[Leaf]:
        wanted = set(runs)
        return [leaf for leaf in self._log(tenant).leaves if leaf.run in wanted]

    async def leaf_since(self, tenant: str, at: int) -> int:
        return bisect_left(self._log(tenant).times, at)

    async def tiles(self, tenant: str, level: int, indexes: Sequence[int]) -> dict[int, bytes]:
        tiles = self._log(tenant).tiles
        return {index: tiles[level, index].nodes for index in indexes if (level, index) in tiles}

    async def tile_roots(self, tenant: str, level: int, begin: int, end: int) -> list[bytes]:
        tiles = self._log(tenant).tiles
        return [tiles[level, index].root for index in range(begin, end) if (level, index) in tiles]

    async def checkpoint(self, tenant: str, size: int | None = None) -> StoredCheckpoint | None:
        known = self._log(tenant).checkpoints
        return known.get(max(known, default=0) if size is None else size)

    async def checkpoints(self, tenant: str, before: int | None = None, limit: int = 100) -> list[StoredCheckpoint]:
        known = self._log(tenant).checkpoints
        sizes = [size for size in sorted(known, reverse=True) if before is None or size < before]
        return [known[size] for size in sizes[: min(limit, MAX_LIST)]]

    async def cosign(self, tenant: str, size: int, lines: Sequence[str]) -> bool:
        known = self._log(tenant).checkpoints
        if size not in known:
            return False
        known[size] = replace(known[size], witnesses=sorted({*known[size].witnesses, *lines}))
        return True

    async def keys(self) -> list[LogKey]:
        return list(self._keys)

    async def add_key(self, key: LogKey) -> bool:
        if key.number != len(self._keys) + 1:
            return False
        self._keys.append(replace(key, at=self._clock.now_us()))
        return True

    def _log(self, tenant: str) -> _Log:
        return self._logs.get(tenant) or _Log()

    def _head(self, tenant: str) -> LogHead:
        return self._log(tenant).head

    def _seq(self, run: Run) -> int:
        return self._log(run.new.tenant).covered.get(run.new.id, 0)

    def _runs(self, which: Callable[[Run], bool]) -> list[Run]:
        return [run for run in self._store.runs.values() if which(run)]

    def _ahead(self, runs: Iterable[Run]) -> list[Ahead]:
        return [
            Ahead(run.new.tenant, run.new.id, run.last_seq, run.head) for run in runs if run.last_seq > self._seq(run)
        ]
