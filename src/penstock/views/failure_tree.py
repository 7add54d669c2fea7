"""Why a run did not succeed: the first cause of the cascade it is in, the way from there, and how far it spread.

Times are those of the store's commits: one clock, whichever worker a run was on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from penstock.events import RunEnded, RunHandedBack, decode
from penstock.kernel.errors import UsageError
from penstock.ports.journal import Journal
from penstock.ports.records import RunFilter, RunRow, Status
from penstock.views.failing_calls import Failing, Stored, contributors, open_calls, recovered
from penstock.views.loops import worst_circle
from penstock.views.rows import known_row

FAMILY_MAX = 1000
"""Runs of one family that are looked at."""
TAPES_MAX = 200
"""Tapes that are read; each is that of a run which did not succeed."""
PAGE = 10_000
_STOPPED = ("cancelled", "killed")


@dataclass(slots=True, frozen=True)
class Cause:
    """What a cascade began with: a call, or (``path`` = "") the run itself. Times in microseconds."""

    run: UUID
    agent: str
    path: str
    kind: str  # tool | model | child | approval | rule | wait | note | limit | code | stop | quarantine
    name: str
    code: str
    words: str
    at: int


@dataclass(slots=True, frozen=True)
class Link:
    """A run on the way from the first cause, and how it took it. ``by``: path of the call that handed it on."""

    run: UUID
    agent: str
    state: str  # its outcome, or its status
    code: str
    words: str
    at: int
    by: str = ""


@dataclass(slots=True, frozen=True)
class Relative:
    """A run of the family. ``parent`` None = the top."""

    run: UUID
    agent: str
    parent: UUID | None
    state: str
    code: str
    at: int


@dataclass(slots=True)
class FailureTree:
    """``way``: the runs from the first cause to the one asked about. ``affected`` failed by the same cause.

    ``others`` failed by other causes. ``recovered``: failures in the run asked about that its code went on from.
    ``notes``: that the run asked about went round in circles.
    """

    run: UUID
    agent: str
    state: str
    code: str
    reason: str
    ended_at: int
    cause: Cause
    way: list[Link]
    affected: list[Relative]
    unaffected: list[Relative]
    others: list[Relative]
    recovered: list[Failing]
    complete: bool = True
    notes: list[str] = field(default_factory=list)


async def read_failure_tree(journal: Journal, tenant: str, run: UUID) -> FailureTree:
    """Why that run did not succeed.

    Raises:
        RunUnknown: no such run for this tenant.
        UsageError: it succeeded, or has not ended.
    """
    row = await known_row(journal, tenant, run)
    if not _is_bad(row):
        how = "succeeded" if row.outcome else f"has not ended: it is {row.status.value}"
        raise UsageError(f"run {run} {how}", hint="see `penstock runs show`, or `penstock runs waits`")
    family = await journal.list_runs(tenant, RunFilter(root=row.root), FAMILY_MAX)
    search = _Search(journal, tenant, {item.id: item for item in [*family, row]})
    cause, way = await search.explain(row)
    tree = FailureTree(
        run,
        row.agent,
        _state(row),
        row.code,
        (await search.end_words(row)),
        row.ended_at or 0,
        cause,
        way,
        *([], [], []),
        recovered(await search.tape(row)),
        complete=len(family) < FAMILY_MAX,
    )
    circle = worst_circle(stored.event for stored in await search.tape(row))
    if circle:
        tree.notes.append(f"it went round in circles: {circle}")
    for other in sorted(search.rows.values(), key=lambda item: (item.ended_at or 0, item.id)):
        if other.root != row.root:
            continue
        shown = Relative(other.id, other.agent, other.parent, _state(other), other.code, other.ended_at or 0)
        if not _is_bad(other):
            tree.unaffected.append(shown)
        elif search.read >= TAPES_MAX and other.id not in search.known:
            tree.complete = False
        else:
            its, _ = await search.explain(other)
            same = (its.run, its.path, its.at) == (cause.run, cause.path, cause.at)
            (tree.affected if same else tree.others).append(shown)
    return tree


class _Search:
    """Finds causes; remembers what it has read and found."""

    def __init__(self, journal: Journal, tenant: str, rows: dict[UUID, RunRow]) -> None:
        self.rows = rows
        self.known: dict[UUID, tuple[Cause, list[Link]]] = {}
        self.read = 0
        self._journal = journal
        self._tenant = tenant
        self._tapes: dict[UUID, list[Stored]] = {}
        self._looking: set[UUID] = set()

    async def explain(self, row: RunRow) -> tuple[Cause, list[Link]]:
        """The first cause of what became of a run, and the way from there to it."""
        if row.id not in self.known:
            self._looking.add(row.id)
            self.known[row.id] = await self._explain(row)
            self._looking.discard(row.id)
        return self.known[row.id]

    async def _explain(self, row: RunRow) -> tuple[Cause, list[Link]]:
        link = Link(row.id, row.agent, _state(row), row.code, await self.end_words(row), row.ended_at or 0)
        if row.outcome in _STOPPED:
            above = await self._stopped_with(row)
            if above is not None:
                cause, way = await self.explain(above)
                return cause, [*way, link]
            return await self._itself(row, "stop"), [link]
        if row.status is Status.QUARANTINED:
            return await self._itself(row, "quarantine"), [link]
        found = [await self._behind(row, call) for call in contributors(await self.tape(row))]
        if not found:
            return await self._itself(row, "code" if row.code == "agent_raised" else "limit"), [link]
        cause, way, by = min(found, key=lambda item: item[0].at)
        handed = Link(link.run, link.agent, link.state, link.code, link.words, link.at, by)
        return cause, [*way, handed]

    async def _behind(self, row: RunRow, call: Failing) -> tuple[Cause, list[Link], str]:
        """The cause behind a failing call: the call itself, or what made the run fail that it was about."""
        leaf = Cause(row.id, row.agent, call.path, call.kind, call.name, call.code, call.words, call.at)
        if call.run is None:
            return leaf, [], call.path
        other = await self._row(call.run)
        if other is None or other.id in self._looking:
            return leaf, [], call.path
        if call.open:
            return await self._busy_with(other, leaf), [], call.path
        if not _is_bad(other):
            return leaf, [], call.path
        cause, way = await self.explain(other)
        return cause, way, call.path

    async def _busy_with(self, row: RunRow, leaf: Cause) -> Cause:
        """What a run was busy with while another ran out of time waiting for it."""
        for call in reversed(open_calls(await self.tape(row))):
            inner = Cause(row.id, row.agent, call.path, call.kind, call.name, call.code, call.words, call.at)
            other = await self._row(call.run) if call.run is not None and call.kind == "child" else None
            return await self._busy_with(other, inner) if other is not None else inner
        return leaf

    async def _stopped_with(self, row: RunRow) -> RunRow | None:
        """The parent whose stop or end took this run along; None when it was stopped itself."""
        parent = await self._row(row.parent) if row.parent else None
        if parent is None or parent.id in self._looking or not _is_bad(parent):
            return None
        if parent.outcome in _STOPPED:
            return parent
        return parent if (parent.ended_at or 0) <= (row.ended_at or 0) and parent.ended_at else None

    async def _itself(self, row: RunRow, kind: str) -> Cause:
        words = await self.end_words(row)
        at = row.ended_at or (await self._last_at(row))
        return Cause(row.id, row.agent, "", kind, row.agent, row.code or row.outcome or "", words, at)

    async def end_words(self, row: RunRow) -> str:
        """What the run's own end says."""
        for stored in reversed(await self.tape(row)):
            if isinstance(stored.event, RunEnded | RunHandedBack):
                return stored.event.reason.split("\n", maxsplit=1)[0]
        return row.code

    async def tape(self, row: RunRow) -> Sequence[Stored]:
        """Its events with the store's times."""
        if row.id not in self._tapes:
            self.read += 1
            found: list[Stored] = []
            while len(found) < row.last_seq:
                rows = await self._journal.tape(row.tenant, row.id, after=len(found), limit=PAGE)
                if not rows:
                    break
                found += [Stored(event, stored.at or event.at) for stored in rows for event in [decode(stored.body)]]
            self._tapes[row.id] = found
        return self._tapes[row.id]

    async def _last_at(self, row: RunRow) -> int:
        tape = await self.tape(row)
        return tape[-1].at if tape else row.created_at

    async def _row(self, run: UUID) -> RunRow | None:
        if run not in self.rows:
            row = await self._journal.get_run(self._tenant, run)
            if row is None:
                return None
            self.rows[run] = row
        return self.rows[run]


def _is_bad(row: RunRow) -> bool:
    return row.outcome not in (None, "succeeded") or row.status is Status.QUARANTINED


def _state(row: RunRow) -> str:
    return row.outcome or row.status.value
