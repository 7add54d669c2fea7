"""What a store knows of managed releases: their records, which of them new runs get, and what was decided about them.

Reached as ``journal.rollouts``. Both stores pass `tests/contract/rollouts_suite.py`. What may follow upon what is
decided in `penstock.runs.rollouts.states`; a store keeps it, all of a change or nothing, and only over the standing
that whoever decided had before him. Times are microseconds since the epoch, by the store's clock.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, get_args

import msgspec

from penstock.events import BudgetRecord
from penstock.ports.documents import Content

State = Literal["draft", "review", "approved", "canary", "live", "retired", "rejected", "rolled_back"]
STATES: tuple[State, ...] = get_args(State)
WHOLE = 10_000
"""All new runs, in the hundredths of a percent in which a canary's share is counted."""
MANIFEST_MAX_BYTES = 1024 * 1024
RELEASES_MAX = 2_000
"""Releases that a tenant keeps of one agent, at most."""
OFFERED_MAX = 500
"""Releases that one worker runs, at most: those that new runs get, then those that went out of use last."""
IDLE_SECONDS = 3600.0
"""How long a release is run on after it went out of use, also without open runs."""
ROUTES_MAX = 5_000
TOOLS_MAX = 5_000
"""Changed tools that were accepted, at most, of all tenants."""
PAGE_MAX = 1_000
TALLIED_MAX = 100_000


class ToolPart(msgspec.Struct, frozen=True):
    """A tool as a release was reviewed with it. ``schema``: SHA-256 of what models are shown of it (name, description,
    JSON Schema; RFC 8785); ``digest``: of its declaration and code, as far as Python can tell."""

    name: str
    schema: str
    digest: str
    effect: str = ""


class Manifest(msgspec.Struct, frozen=True):
    """All that a release is: its canonical form (RFC 8785) is what is addressed, by SHA-256, and signed.

    Attributes:
        agent: whose.
        code: of all that a release cannot change and a worker must offer: tools, output, stages, kind of memory.
        offered: the release of the code it was drafted from, as that names itself.
        prompts: texts by name; of an `Agent`: ``instructions``.
        models: names, the first choice first.
        settings: of an `Agent`: max_tokens, temperature, timeout_seconds, extra, prompt_cache, attempts, repairs,
            show_budget.
        tools: sorted by name.
        policy: sources by file name; empty = the policy that the worker has.
        budget: of one run.
        version: of the code, in the words of whoever drafted it, such as a commit; without any as ``offered``.
        author: who drafted it.
        filters: what is taken out of what, as `penstock.rules.filters.plain` has it; not there = those of the code.
    """

    agent: str
    code: str
    offered: str
    prompts: dict[str, str]
    models: tuple[str, ...]
    settings: dict[str, Any]
    tools: tuple[ToolPart, ...]
    policy: dict[str, str]
    budget: BudgetRecord
    version: str
    author: str
    format: int = 1
    filters: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


@dataclass(slots=True, frozen=True)
class Release:
    """A release as it is kept. ``id``: SHA-256 of ``manifest``, 64 hex digits, and the release of its runs.

    ``signature``: Ed25519, 64 bytes, by the key whose id is ``key``. ``share``: of a canary, hundredths of a percent of
    new runs. ``at``: when it came into its state.
    """

    tenant: str
    id: str
    agent: str
    manifest: bytes
    signature: bytes
    key: str
    author: str
    state: State = "draft"
    share: int = 0
    approved_by: str = ""
    drafted_at: int = 0
    at: int = 0


@dataclass(slots=True, frozen=True)
class Step:
    """One step of a release's life, from 1 on."""

    release: str
    number: int
    at: int
    state: State
    share: int
    actor: str
    reason: str


@dataclass(slots=True, frozen=True)
class Route:
    """Which releases new runs of an agent get. "" = the code as it is offered. ``number``: of changes so far.

    ``previous``: what was live before; a rollback goes back to it.
    """

    tenant: str
    agent: str
    number: int = 0
    live: str = ""
    canary: str = ""
    share: int = 0
    previous: str = ""


@dataclass(slots=True, frozen=True)
class Move:
    """A release goes from one state to another. ``approved_by``: None = as it was."""

    release: str
    before: State
    state: State
    actor: str
    reason: str = ""
    share: int = 0
    approved_by: str | None = None


@dataclass(slots=True, frozen=True)
class Accepted:
    """Somebody accepts that a tool is another than the one that releases were approved with.

    ``tool``: as the server that offers it and the tool are named, with a slash between; ``digest``: of its definition.
    """

    tenant: str
    tool: str
    digest: str
    at: int
    actor: str
    reason: str
    key: str = ""
    signature: bytes = b""


@dataclass(slots=True, frozen=True)
class SignedStatement:
    """What was decided about the releases of an agent, signed. ``number``: of the route that it leads to; ``body``: the
    canonical form (RFC 8785) of a `penstock.runs.rollouts.statements.Statement`; ``signature``: by the key ``key``."""

    tenant: str
    agent: str
    number: int
    body: bytes
    key: str
    signature: bytes


@dataclass(slots=True, frozen=True)
class View:
    """All that a process needs to know: routes, and the releases that workers run. ``version`` grows with changes.

    ``heads``: the number of the last signed statement about each agent's releases, by tenant and agent. It is of the
    same moment as the routes: in what was decided here the two agree.
    """

    version: int
    routes: tuple[Route, ...]
    releases: tuple[Release, ...]
    accepted: tuple[Accepted, ...]
    heads: Mapping[tuple[str, str], int] = field(default_factory=dict)


@dataclass(slots=True, frozen=True)
class Refusal:
    """Why a worker cannot run a release."""

    worker: str
    release: str
    why: str
    at: int = 0


@dataclass(slots=True, frozen=True)
class Boundary:
    """A document of a session that a release has written to. ``first``: the first version that the release wrote and
    that was not taken back before; ``versions`` since then, of which ``others`` are by other releases or people;
    ``pruned_to``: no version up to this one is kept."""

    kind: Literal["session", "memory"]
    name: str
    first: int
    latest: int
    others: int
    pruned_to: int

    @property
    def versions(self) -> int:
        return self.latest - self.first + 1


@dataclass(slots=True, frozen=True)
class Back:
    """A document is to hold again what it held before a release wrote to it first.

    ``expected``: its latest version; ``version``: whose content it gets; 0: there was none, it gets ``empty``, under
    the subject of the latest version.
    """

    tenant: str
    release: str
    kind: Literal["session", "memory"]
    name: str
    expected: int
    version: int
    actor: str
    empty: Content


@dataclass(slots=True, frozen=True)
class Tally:
    """Runs of a release that ended so (``outcome`` "": that have not ended), with what they have used, and how long
    half of them took at most (microseconds from submission to end)."""

    release: str
    outcome: str
    runs: int
    nano: int
    tokens: int
    steps: int
    tool_calls: int
    median_us: int


BackAnswer = Literal["restored", "changed", "gone"]
"""``changed``: somebody wrote meanwhile. ``gone``: the content of that version is not kept."""


class Rollouts(Protocol):
    """Releases of all tenants."""

    async def add(self, release: Release, reason: str) -> bool:
        """Keep a new draft, with its first step; False when it is kept already.

        Raises:
            InputInvalid: the tenant keeps as many releases of the agent as it may.
        """
        ...

    async def get(self, tenant: str, release: str) -> Release | None:
        """A release with its manifest."""
        ...

    async def find(self, tenant: str, beginning: str, limit: int) -> list[str]:
        """Ids that begin so, in order."""
        ...

    async def page(self, tenant: str, agent: str | None, before: tuple[int, str] | None, limit: int) -> list[Release]:
        """Releases by when they were drafted, newest first, from after ``before`` (its time and id)."""
        ...

    async def steps(self, tenant: str, release: str) -> list[Step]:
        """What became of a release, oldest first."""
        ...

    async def route(self, tenant: str, agent: str) -> Route:
        """Which releases new runs of an agent get."""
        ...

    async def change(
        self, route: Route, moves: Sequence[Move], signed: SignedStatement | None = None, before: int | None = None
    ) -> bool:
        """Make ``route``, whose number is one more than that of the route before, and the moves, in one transaction.

        ``signed``: the statement of it, with the route's number, which is kept with it. ``before``: the number of the
        route before, where it is not one less. False, and nothing done, when the route or the state of a release is
        not what it was taken for, or there is a statement of that number or a later one.
        """
        ...

    async def statements(self, tenant: str, agent: str, after: int, limit: int) -> list[SignedStatement]:
        """Signed statements about an agent's releases with a greater number, in order, at most ``limit``."""
        ...

    async def head(self, tenant: str, agent: str) -> tuple[Route, int]:
        """The route, and the number of the last signed statement, 0 = there is none; both of one moment."""
        ...

    async def version(self) -> int:
        """That of `view`, at little cost."""
        ...

    async def view(self) -> View:
        """Routes, releases that are canary, live, were live before that, or are out of use but not idle, and what was
        accepted of changed tools; each up to its bound."""
        ...

    async def sweep(self) -> int:
        """Take for idle what has been out of use for `IDLE_SECONDS` and has no open runs; how many."""
        ...

    async def accept(self, accepted: Accepted) -> None:
        """Keep that a changed tool is accepted; ``at`` 0 = now, by the store's clock. What is kept unsigned is kept
        again when it is signed.

        Raises:
            InputInvalid: there are as many as there may be.
        """
        ...

    async def refuse(self, worker: str, refusals: Sequence[Refusal]) -> None:
        """What a worker cannot run, and why; in place of what it said before."""
        ...

    async def refusals(self, release: str, limit: int) -> list[Refusal]:
        """Live workers that cannot run a release."""
        ...

    async def tallies(self, tenant: str, agent: str, since: int, limit: int) -> list[Tally]:
        """Of the newest runs of an agent that were submitted since then, at most ``limit`` (`TALLIED_MAX`) that have
        ended and as many that have not: by release and outcome. Runs whose records were pruned do not count."""
        ...

    async def written(self, tenant: str, release: str, after: tuple[str, str] | None, limit: int) -> list[Boundary]:
        """Documents of sessions that runs of a release have written to, by kind and name from after ``after``."""
        ...

    async def go_back(self, back: Back, keep: int) -> tuple[BackAnswer, int]:
        """Write the older content as a new version, over the expected one only, and record it; the version made, or
        the latest. ``keep``: versions whose content is kept."""
        ...


@dataclass(slots=True, frozen=True)
class Side:
    """What a new run is of: its release, the budget when none was given, and the filters that its release brings, as
    its manifest has them; None = those of the code."""

    release: str
    budget: BudgetRecord
    filters: Mapping[str, Any] | None = None


class Routing(Protocol):
    """Reached as ``services.rollouts``: what of all that a process acts by, never older than a moment.

    Attributes:
        on_change: called when the process can run other releases than before.
        worker: the name of its worker; "" = it has none.
    """

    on_change: Callable[[], None]
    worker: str

    async def side(self, tenant: str, agent: Any, key: str) -> Side:
        """The release that a new run of an agent gets. ``key``: what stays on one side: its session, else itself.

        Raises:
            JournalUnavailable: it cannot be asked.
        """
        ...

    async def accepts(self, tenant: str, tool: str, digest: str) -> bool:
        """Whether somebody has accepted that a tool is what it is now."""
        ...

    def runs_here(self, agent: str, release: str) -> bool:
        """Whether it is a managed release of that agent that this process can run."""
        ...

    def pinned(self, release: str) -> Side | None:
        """The side of runs that stay on a managed release; None = it is not known here."""
        ...

    async def look(self) -> None:
        """Have this process run the releases that it can run as of now.

        Raises:
            JournalUnavailable: it cannot be asked.
        """
        ...

    async def follow(self) -> None:
        """`look` for ever, as a worker's duty; and say under its name what it cannot run."""
        ...
