"""The queue in memory."""

from collections import Counter
from collections.abc import Sequence

from penstock.adapters.memory.line import Lane, Line, customer_of
from penstock.adapters.memory.records import Run, Store
from penstock.kernel.clock import Clock
from penstock.kernel.errors import QueueFull
from penstock.ports.queue import (
    BACKLOG_SECONDS,
    LIST_MAX,
    PRIORITY_UNIT,
    UNIT,
    Bounds,
    Depth,
    HeldSession,
    Order,
    check_weight,
    expected_wait,
    queue_full,
)
from penstock.ports.records import Status, Stop


class MemoryQueue:
    """Implements `penstock.ports.queue.Queue`; see there. Counts are exact here."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def admit(self, orders: Sequence[Order], bounds: Bounds) -> list[int | None]:
        new = [order.key is None or (order.tenant, order.key) not in self._store.keys for order in orders]
        wanted = [order for order, is_new in zip(orders, new, strict=True) if is_new]
        self._check_bounds(wanted, bounds)
        line = self._store.line
        flows = dict(line.flows)
        ranks: list[int | None] = []
        seen: set[tuple[str, str]] = set()
        for order, is_new in zip(orders, new, strict=True):
            session = order.tenant, order.session
            behind = bool(order.session) and (session in line.sessions or session in seen)
            seen.add(session)
            if not is_new or behind:
                ranks.append(None)
                continue
            rank = line.rank((order.release, order.tenant, order.customer, order.priority))
            if order.max_wait and self._waits_longer(order, rank):
                line.flows = flows
                raise self._refused(order, "wait", 1, None, rank)
            ranks.append(rank)
        return ranks

    async def depths(self, tenant: str | None = None, agent: str | None = None, limit: int = LIST_MAX) -> list[Depth]:
        groups: dict[tuple[str, str, str], list[Run]] = {}
        for run in self._store.runs.values():
            if run.status is not Status.ENDED and tenant in (None, run.new.tenant) and agent in (None, run.new.agent):
                groups.setdefault((run.new.tenant, run.new.agent, customer_of(run.new)), []).append(run)
        depths = [self._depth(key, runs) for key, runs in groups.items()]
        depths.sort(key=lambda depth: (-depth.queued, depth.tenant, depth.agent, depth.customer))
        return depths[: min(limit, LIST_MAX)]

    async def sessions(self, tenant: str | None = None, limit: int = LIST_MAX) -> list[HeldSession]:
        found = []
        for (whose, name), waiting in sorted(self._store.line.sessions.items()):
            holder, *others = (self._store.runs[whose, run] for run in waiting)
            behind = [run for run in others if run.status is not Status.ENDED][:LIST_MAX]
            if tenant in (None, whose) and behind and holder.status is not Status.ENDED:
                since = min(run.created_at for run in behind)
                found.append(
                    HeldSession(whose, name, holder.new.id, holder.status, holder.stop, holder.code, len(behind), since)
                )
        return found[: min(limit, LIST_MAX)]

    async def set_weight(self, tenant: str, customer: str, weight: float) -> None:
        check_weight(weight)
        self._store.line.weights[tenant, customer] = weight
        if weight == 1:
            del self._store.line.weights[tenant, customer]

    async def weights(self, tenant: str) -> dict[str, float]:
        found = sorted(item for item in self._store.line.weights.items() if item[0][0] == tenant)
        return {customer: weight for (_, customer), weight in found[:LIST_MAX]}

    def _check_bounds(self, wanted: Sequence[Order], bounds: Bounds) -> None:
        asked: Counter[tuple[str, str, str]] = Counter()
        for order in wanted:
            for customer in {"", order.customer}:
                asked[order.tenant, order.agent, customer] += 1
        for (tenant, agent, customer), count in sorted(asked.items()):
            bound = bounds.per_customer if customer else bounds.per_agent
            queued = self._count(tenant, agent, customer)
            if queued + count > bound:
                first = next(
                    order
                    for order in wanted
                    if (order.tenant, order.agent) == (tenant, agent) and customer in ("", order.customer)
                )
                why = "customer" if customer else "agent"
                raise self._refused(first, why, count, bound, None)

    def _count(self, tenant: str, agent: str, customer: str) -> int:
        return sum(
            run.status is Status.QUEUED
            and (run.new.tenant, run.new.agent) == (tenant, agent)
            and customer in ("", customer_of(run.new))
            for run in self._store.runs.values()
        )

    def _refused(self, order: Order, why: str, count: int, bound: int | None, rank: int | None) -> QueueFull:
        line, now = self._store.line, self._clock.now_us()
        lane = line.lanes.get(order.release) or Lane()
        speed, rate, _ = lane.pace(now)
        theirs = {
            key: finish
            for key, finish in line.flows.items()
            if key[:2] == (order.release, order.tenant) and (why == "agent" or key[2] == order.customer)
        }
        ahead = max(theirs.values(), default=0) - order.priority * PRIORITY_UNIT if rank is None else rank
        active = {key[2] for key, finish in theirs.items() if finish > lane.tag}
        shares = sum(line.weight(order.tenant, customer) for customer in active)
        return queue_full(
            order,
            why=why,
            count=count,
            queued=self._count(order.tenant, order.agent, "" if why == "agent" else order.customer),
            bound=bound,
            rate=min(rate, speed * shares / UNIT),
            expected_seconds=max(0, ahead - lane.tag) / speed if speed else None,
        )

    def _waits_longer(self, order: Order, rank: int) -> bool:
        line, now = self._store.line, self._clock.now_us()
        lane = line.lanes.get(order.release) or Lane()
        speed, _, waited = lane.pace(now)
        if speed:
            return waited >= BACKLOG_SECONDS * 1e6 and (rank - lane.tag) / speed * 1e6 > order.max_wait
        queued = [
            run
            for run in self._store.runs.values()
            if run.release == order.release and run.status is Status.QUEUED and run.stop is not Stop.PAUSE
        ]
        following = line.in_order(queued)[:1]
        return any(now - run.created_at > order.max_wait for run in following)

    def _depth(self, key: tuple[str, str, str], runs: list[Run]) -> Depth:
        tenant, agent, customer = key
        line, now = self._store.line, self._clock.now_us()
        counts = Counter(run.status for run in runs)
        queued = [run for run in runs if run.status is Status.QUEUED]
        weight = line.weight(tenant, customer)
        rate, waits = 0.0, [0.0]
        for release in {run.release for run in runs} & line.lanes.keys():
            ahead = self._finish(line, release, tenant, customer) - line.tag(release)
            speed, taken, _ = line.lanes[release].pace(now)
            if ahead > 0 and speed:
                rate += min(taken, speed * weight / UNIT)
                waits.append(ahead / speed)
        return Depth(
            tenant,
            agent,
            customer,
            counts[Status.QUEUED],
            sum(run.turn == 2 for run in queued),
            counts[Status.RUNNING],
            counts[Status.PARKED],
            counts[Status.QUARANTINED],
            min((run.created_at for run in queued), default=None),
            weight,
            rate,
            expected_wait(len(queued), rate, max(waits)),
        )

    @staticmethod
    def _finish(line: Line, release: str, tenant: str, customer: str) -> int:
        return max((finish for key, finish in line.flows.items() if key[:3] == (release, tenant, customer)), default=0)
