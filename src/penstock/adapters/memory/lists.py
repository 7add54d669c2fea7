"""Lists of runs in memory: the same answers as the database's, by looking at all of them."""

from collections import Counter
from collections.abc import Iterable
from uuid import UUID

from penstock.adapters.memory.records import Run, Store
from penstock.kernel.ids import first_id_at
from penstock.ports.lists import (
    BEFORE_COUNTED,
    BINS,
    FACET_NAMES,
    FACET_VALUES,
    FACETS_OF,
    LOOKED_AT_MOST,
    PAGE_MAX,
    Bin,
    Ended,
    Ends,
    Page,
    Place,
    Shared,
    Sharing,
    shown,
)
from penstock.ports.records import CONTINUED, RunFilter, Status


class MemoryLists:
    """Implements `penstock.ports.lists.Lists`; see there."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def page(self, tenant: str, where: RunFilter, limit: int) -> Page:
        limit = min(limit, PAGE_MAX)
        stretch = self._stretch(tenant, where)
        found: list[Run] = []
        for run in stretch[:LOOKED_AT_MOST]:
            if not fits(run, where):
                continue
            if len(found) == limit:
                return Page([item.row() for item in found], found[-1].new.id)
            found.append(run)
        rows = [run.row() for run in found]
        if len(stretch) <= LOOKED_AT_MOST:
            return Page(rows)
        edge = stretch[LOOKED_AT_MOST - 1].new.id
        return Page(rows, edge, edge)

    async def sharing(self, tenant: str, where: RunFilter) -> Sharing:
        stretch = self._stretch(tenant, where)
        found = [run for run in stretch[:LOOKED_AT_MOST] if fits(run, where)][:FACETS_OF]
        sampled = len(stretch) > LOOKED_AT_MOST or len(found) == FACETS_OF
        if not found:
            return Sharing(0, 0, sampled)
        low, high = found[-1].new.id, found[0].new.id
        span = [run for run in self._of(tenant) if low <= run.new.id <= high][:LOOKED_AT_MOST]
        others = [run for run in span if not fits(run, where)][:FACETS_OF]
        first = min(run.created_at for run in found)
        width = max(1_000_000, (max(run.created_at for run in found) - first) // BINS + 1)
        bins = Counter(((run.created_at - first) // width * width + first, _shown(run)) for run in found)
        return Sharing(
            len(found),
            len(others),
            sampled,
            _shared(found, others),
            [Bin(at, word, count) for (at, word), count in sorted(bins.items())],
            width,
        )

    async def place(self, tenant: str, run: UUID) -> Place | None:
        known = self._store.runs.get((tenant, run))
        if known is None or known.status is not Status.QUEUED or known.turn == 2:
            return None
        queued = [
            item
            for item in self._store.runs.values()
            if item.status is Status.QUEUED and item.turn < 2 and item.release == known.release
        ]
        before = sum((item.rank, item.new.id) < (known.rank, run) for item in queued)
        return Place(min(before, BEFORE_COUNTED), None)

    async def ends(self, tenant: str, after: int, limit: int, *, children: bool = False) -> Ends:
        items: list[Ended] = []
        ended = self._store.ends
        for number, run in enumerate(ended[after:], after + 1):
            if self._store.runs.get((tenant, run.new.id)) is not run or not (children or _is_result(run)):
                continue
            items.append(Ended(run.row(), run.tape[-1] if run.swept is None else None))
            if len(items) == min(limit, PAGE_MAX):
                return Ends(items, number)
        return Ends(items, max(after, len(ended)))

    def _of(self, tenant: str) -> list[Run]:
        runs = [run for run in self._store.runs.values() if run.new.tenant == tenant]
        return sorted(runs, key=lambda run: run.new.id, reverse=True)

    def _stretch(self, tenant: str, where: RunFilter) -> list[Run]:
        low, high = max(where.from_id or UUID(int=0), first_id_at(where.since)), where.before
        if where.until:
            end = first_id_at(where.until)
            high = end if high is None else min(high, end)
        return [run for run in self._of(tenant) if run.new.id >= low and (high is None or run.new.id < high)]


def fits(run: Run, where: RunFilter) -> bool:
    """Whether the filter lets the run through, whatever its id."""
    new = run.new
    exact = (
        (where.status, run.status),
        (where.outcome, run.outcome),
        (where.agent, new.agent),
        (where.root, run.root),
        (where.parent, new.parent),
        (where.release, run.release),
        (where.session, new.session),
        (where.code, run.code),
        (where.shown, _shown(run) if where.shown else None),
    )
    return (
        all(asked is None or asked == there for asked, there in exact)
        and all(new.tags.get(name) == value for name, value in where.tags.items())
        and (where.any_tag is None or where.any_tag in new.tags.values())
        and (where.waiting_for is None or run.waits_for(where.waiting_for))
        and run.summary.nano >= where.min_nano
    )


def _shown(run: Run) -> str:
    return shown(run.status, run.stop, run.outcome, run.waiting)


def _is_result(run: Run) -> bool:
    submitted = run.new.parent is None or run.new.parent_path == "continued"
    return submitted and run.code != CONTINUED


def _facets(run: Run) -> Iterable[tuple[str, str]]:
    tags = run.new.tags
    known = {"agent": run.new.agent, "release": run.release, "outcome": run.outcome or "", "code": run.code}
    return ((name, known[name] if name in known else tags.get(name, "")) for name in FACET_NAMES)


def _shared(found: list[Run], others: list[Run]) -> list[Shared]:
    here = Counter(facet for run in found for facet in _facets(run) if facet[1])
    there = Counter(facet for run in others for facet in _facets(run))
    shared: list[Shared] = []
    for name in sorted(FACET_NAMES):
        values = sorted((-count, value) for (facet, value), count in here.items() if facet == name)
        shared += [Shared(name, value, -count, there[name, value]) for count, value in values[:FACET_VALUES]]
    return shared
