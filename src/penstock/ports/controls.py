"""What a store knows of stops: which are or were in force, how far they have come, and what they reach.

Reached as ``journal.controls``. Two stores answer, PostgreSQL and memory; both pass
`tests/contract/questions_suite.py`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, Protocol
from uuid import UUID

from penstock.ports.records import RunRow, Status

PAGE_MAX = 500
COUNTED_MOST = 100_000
"""Runs that are counted of those that a stop reaches."""


HELD_BY_TOOL_STOPS = ("stop", "doubt")
"""What a run may wait for, as `penstock.events.Waiting` has it, that is over when the stop of a tool is lifted."""

ScopeKind = Literal["run", "session", "agent", "release", "tool", "customer", "environment", "tenant", "everything"]


@dataclass(slots=True, frozen=True)
class Scope:
    """What a stop is of.

    Attributes:
        kind: which runs: a single one (for some actions with its descendants), or all of which the kind's field is
            ``name``, also those that are submitted while the stop is in force. A stop of a ``tool`` is of no runs but
            of the calls of that tool, in all of them.
        tenant: whose; None with ``everything`` and nowhere else.
        name: the run's id, or the agent's, release's, tool's, session's, customer's, environment's or tenant's name;
            empty for everything.
    """

    kind: ScopeKind
    tenant: str | None
    name: str = ""

    def __str__(self) -> str:
        match self.kind:
            case "everything":
                return "everything"
            case "tenant":
                return f"everything of tenant {self.tenant}"
        return f"{self.kind} {self.name}"

    def covers(
        self, tenant: str, agent: str, release: str = "", session: str = "", customer: str = "", environment: str = ""
    ) -> bool:
        """Whether a run of these names is in it; of a scope wider than a run. None is in that of a tool."""
        if self.tenant not in (None, tenant):
            return False
        names = {
            "agent": agent,
            "release": release,
            "session": session,
            "customer": customer,
            "environment": environment,
        }
        return self.kind in ("tenant", "everything") or names.get(self.kind, "") == self.name != ""

    @property
    def run(self) -> UUID | None:
        """Of which single run it is; None = it is wider."""
        return UUID(self.name) if self.kind == "run" else None


def of_run(tenant: str, run: UUID) -> Scope:
    """One run."""
    return Scope("run", tenant, str(run))


def of_all(tenant: str | None) -> Scope:
    """All runs of a tenant, or (None) everything."""
    return Scope("everything", None) if tenant is None else Scope("tenant", tenant, tenant)


@dataclass(slots=True, frozen=True)
class Control:
    """A stop. Times in microseconds.

    Attributes:
        action: pause | cancel | kill | release (a run let out of quarantine).
        sealed_at: since when nothing new starts in its scope; None = it is not known to be so.
        blockers: what prevented it, in words.
        status: of its run.
    """

    id: UUID
    scope: Scope
    action: str
    actor: str
    reason: str
    at: int
    lifted_at: int | None = None
    lifted_by: str = ""
    sealed_at: int | None = None
    blockers: list[str] = field(default_factory=list)
    status: Status | None = None

    @property
    def in_force(self) -> bool:
        """Whether it still holds something back."""
        return self.lifted_at is None and self.status is not Status.ENDED


def holding(row: RunRow, controls: Iterable[Control]) -> list[Control]:
    """Of stops of more than a run those that a run is in, in their order."""
    names = row.tenant, row.agent, row.release, row.session, row.tags.get("customer", ""), row.env
    return [control for control in controls if control.scope.covers(*names)]


@dataclass(slots=True, frozen=True)
class Reach:
    """Unended runs of a scope, and what they have spent so far (nano-dollars). At most `COUNTED_MOST` are counted."""

    running: int = 0
    queued: int = 0
    parked: int = 0
    quarantined: int = 0
    nano: int = 0


@dataclass(slots=True, frozen=True)
class ToolStops:
    """All stops of tools that are in force, of every tenant, as of one ``version``.

    The version is that of breakers, too: an append whose intents were checked against an older one writes none of them
    (`penstock.ports.breakers.Breakers.version`).
    """

    version: int
    stops: tuple[Control, ...] = ()


@dataclass(slots=True, frozen=True)
class Claimed:
    """The answer to a write that asks for a resource.

    Attributes:
        answer: ``held``: it is the run's, with all of its family; ``taken``: it is that of ``holder``; ``fenced``: who
            asked does not hold the run any more.
        tool: with which the holder asked for it, at ``since`` (microseconds).
        has_others: the run's family holds other resources: if it waited for this one, two could wait for each other.
    """

    answer: Literal["held", "taken", "fenced"]
    holder: UUID | None = None
    tool: str = ""
    since: int = 0
    has_others: bool = False


class Controls(Protocol):
    """Stops, as one tenant sees them: its own, and those of everything."""

    async def get(self, tenant: str, control: UUID) -> Control | None:
        """One of them."""
        ...

    async def newest(self, tenant: str, before: tuple[int, UUID] | None, limit: int) -> list[Control]:
        """Those before the one of that time and id, newest first, at most ``limit``."""
        ...

    async def wide(self, tenant: str) -> list[Control]:
        """Those in force that are of no single run, newest first, at most ``PAGE_MAX``."""
        ...

    async def of_run(self, tenant: str, run: UUID, limit: int) -> list[Control]:
        """Those of one run, newest first, at most ``limit``."""
        ...

    async def reach(self, scope: Scope) -> Reach:
        """What a stop reaches; of a run, with its descendants."""
        ...

    async def of_tools(self) -> ToolStops:
        """The stops of tools, and the version that they are of."""
        ...

    async def claim_resource(self, tenant: str, run: UUID, epoch: int, resource: str, tool: str) -> Claimed:
        """Have a resource for a run and its family until all of them have ended; again is harmless.

        ``epoch``: of the claim under which the run is held.
        """
        ...

    async def forget_resources(self, most: int) -> int:
        """Forget claims of families that have ended, looking at the ``most`` oldest; how many. They hold nothing."""
        ...

    async def stopped(self, scope: Scope, since: int) -> int:
        """How many runs of a scope have ended as killed or cancelled since then; at most `COUNTED_MOST`."""
        ...
