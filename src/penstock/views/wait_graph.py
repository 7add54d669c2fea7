"""Who waits for whom: the runs of a tenant that wait, what they wait for, and the circles among them.

Circles that nothing would ever end are refused when their last edge is added. What is found here ends by itself, by a
time-out, or was closed by a way that is not looked at then; ``ends_at`` says when, 0 = never.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from penstock.events import Waiting
from penstock.kernel.errors import RunUnknown
from penstock.ports.journal import Journal
from penstock.ports.records import RunFilter, RunRow, Status
from penstock.ports.waits import Edge
from penstock.views.waiting import waits_of

LIMIT_MAX = 1000
"""Edges of each kind, and waiting runs, that are read at most."""
_BETWEEN_RUNS = ("child", "run")


@dataclass(slots=True, frozen=True)
class Node:
    """One run. ``waits`` holds what no other run brings: a person, a time, an event from outside."""

    run: UUID
    agent: str
    status: str
    code: str  # of one that was set aside
    session: str
    since: int  # when it was submitted, microseconds since the epoch
    waits: list[Waiting] = field(default_factory=list)


@dataclass(slots=True, frozen=True)
class Circle:
    """Runs each of which waits for the next, the last for the first. ``ends_at``: microseconds, 0 = never."""

    runs: list[UUID]
    ends_at: int


@dataclass(slots=True, frozen=True)
class WaitGraph:
    """Runs by id, edges among them, circles; ``complete``: there was nothing beyond the limit."""

    nodes: dict[UUID, Node]
    edges: list[Edge]
    circles: list[Circle]
    complete: bool


async def read_wait_graph(journal: Journal, tenant: str, *, run: UUID | None = None, limit: int = 200) -> WaitGraph:
    """The wait-for graph of a tenant, or the part of it that is connected with one run.

    Raises:
        RunUnknown: no such run for this tenant.
    """
    limit = min(limit, LIMIT_MAX)
    edges = await journal.waits.edges(tenant, limit)
    rows: dict[UUID, RunRow] = {}
    complete = len(edges) < limit
    for status in (Status.PARKED, Status.QUARANTINED):
        found = await journal.list_runs(tenant, RunFilter(status=status), limit)
        complete = complete and len(found) < limit
        rows |= {row.id: row for row in found}
    named = {end for edge in edges for end in (edge.run, edge.target)} | ({run} if run else set())
    for other in sorted(named - rows.keys()):
        row = await journal.get_run(tenant, other)
        if row is not None:
            rows[row.id] = row
    if run is not None and run not in rows:
        raise RunUnknown(f"there is no run {run} for tenant {tenant!r}", hint="see `penstock runs ls`")
    edges = [edge for edge in edges if edge.run in rows and edge.target in rows]
    if run is not None:
        near = connected(run, edges)
        rows = {key: row for key, row in rows.items() if key in near}
        edges = [edge for edge in edges if edge.run in near]
    return WaitGraph({key: _node(rows[key]) for key in sorted(rows)}, edges, circles(edges), complete)


def connected(run: UUID, edges: Iterable[Edge]) -> set[UUID]:
    """The runs that are connected with one by edges in either direction, itself included."""
    beside: dict[UUID, set[UUID]] = {}
    for edge in edges:
        beside.setdefault(edge.run, set()).add(edge.target)
        beside.setdefault(edge.target, set()).add(edge.run)
    found, left = {run}, [run]
    while left:
        new = beside.get(left.pop(), set()) - found
        found |= new
        left += new
    return found


def circles(edges: Sequence[Edge]) -> list[Circle]:
    """One circle of each set of runs that all wait for each other, the shortest through its lowest id; pure."""
    after: dict[UUID, dict[UUID, int]] = {}
    for edge in edges:
        known = after.setdefault(edge.run, {})
        until = known.get(edge.target)
        # Of two waits for the same run the one without an end counts: that one does not go away.
        if until is None or edge.until == 0:
            known[edge.target] = edge.until
        elif until:
            known[edge.target] = max(until, edge.until)
    found = []
    done: set[UUID] = set()
    for start in sorted(after):
        if start in done:
            continue
        way = _way_back(start, after)
        if way:
            done.update(way)
            ends = [after[one][other] for one, other in zip(way, [*way[1:], way[0]], strict=True)]
            found.append(Circle(way, min((end for end in ends if end), default=0)))
    return found


def _way_back(start: UUID, after: dict[UUID, dict[UUID, int]]) -> list[UUID]:
    """The shortest way from a run back to itself; [] = there is none."""
    before: dict[UUID, UUID] = {}
    generation = [start]
    while generation:
        following = []
        for run in generation:
            for target in sorted(after.get(run, {})):
                if target == start:
                    way = [run]
                    while way[-1] != start:
                        way.append(before[way[-1]])
                    return way[::-1]
                if target not in before:
                    before[target] = run
                    following.append(target)
        generation = following
    return []


def _node(row: RunRow) -> Node:
    waits = [wait for wait in waits_of(row) if wait.kind not in _BETWEEN_RUNS and not _sent_by_run(wait)]
    return Node(row.id, row.agent, row.status.value, row.code, row.session, row.created_at, waits)


def _sent_by_run(wait: Waiting) -> bool:
    """Whether it is an event that only a run may send: an edge, and no leaf."""
    if wait.kind != "event" or not wait.id:
        return False
    try:
        UUID(wait.id)
    except ValueError:
        return False
    return True
