"""Releases as people handle them: draft, review, approve, roll out, roll back."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from penstock.kernel.canonical import NAME_MAX_CHARS, check_name
from penstock.kernel.errors import (
    AgentUnknown,
    InputInvalid,
    ReleaseInvalid,
    ReleaseKeyMissing,
    ReleaseMoved,
    ReleaseState,
    ReleaseUnknown,
    ReleaseUnsigned,
)
from penstock.ports.agents import AgentDef
from penstock.ports.journal import Journal
from penstock.ports.records import Sealed
from penstock.ports.rollouts import Accepted, Manifest, Refusal, Release, Route, Step
from penstock.runs.rollouts import manifest as manifests
from penstock.runs.rollouts import statements, states
from penstock.runs.rollouts.sessions import TakenBack
from penstock.runs.rollouts.signing import TOOL, Keyring, tool_form
from penstock.runs.rollouts.statements import Ledger
from penstock.runs.rollouts.states import Decided

BEGINNING_MIN = 4
REASON_MAX_CHARS = 2000
TRIES = 8
"""Of a rollback, over changes that others make at the same time."""
REFUSALS_SHOWN = 100
STATES = "see `penstock releases ls`"


@dataclass(slots=True, frozen=True)
class Shown:
    """A release with all that is known of it.

    Attributes:
        objection: why it is not to be believed here; "" = it is.
        problem: why what is kept of decisions about its agent's releases does not all count here; "" = it does.
        keys: ids of the keys that signed what counts of those decisions.
    """

    release: Release
    manifest: Manifest
    steps: Sequence[Step]
    refusals: Sequence[Refusal]
    objection: str
    problem: str = ""
    keys: Sequence[str] = ()


@dataclass(slots=True, frozen=True)
class RolledBack:
    """What a rollback did. ``bad``: releases that new runs get no more; ``live``: the one that they get now, "" = the
    code as it is offered; ``stops``: what came of stopping runs of the bad ones."""

    agent: str
    bad: Sequence[str]
    live: str
    stops: Sequence[Sealed] = ()
    sessions: TakenBack = field(default_factory=TakenBack)


class Releasing:
    """The releases of one tenant.

    Args:
        journal: the store.
        tenant: whose.
        keyring: signs drafts and decisions, and says which signatures count.
    """

    def __init__(self, journal: Journal, tenant: str, keyring: Keyring) -> None:
        self._journal = journal
        self._store = journal.rollouts
        self._tenant = tenant
        self._keyring = keyring

    @property
    def trusts(self) -> bool:
        """Whether any key is trusted here: without one nothing that was decided counts."""
        return bool(self._keyring.trusted)

    async def draft(self, agent: AgentDef, author: str, *, reason: str = "", **changes: Any) -> Release:
        """Keep a release of an agent as it is offered here, with these changes (`manifest.draft`), signed.

        The same content by the same author is the same release, wherever and however often it is drafted.

        Raises:
            ReleaseInvalid: a change that cannot be.
            ReleaseKeyMissing: there is no key to sign it with.
            InputInvalid: the agent has too many releases.
        """
        _check_reason(reason)
        data = manifests.encode(manifests.draft(agent, author, **changes))
        key, signature = self._keyring.sign(data)
        made = Release(self._tenant, manifests.address(data), agent.name, data, signature, key, author)
        await self._store.add(made, reason)
        return await self._get(made.id)

    async def find(self, text: str) -> Release:
        """The release of that id, or the only one whose id begins so.

        Raises:
            ReleaseUnknown: there is none, or there are several.
        """
        text = text.strip().lower()
        known = len(text) >= BEGINNING_MIN and not set(text) - set("0123456789abcdef")
        found = await self._store.find(self._tenant, text, 2) if known else []
        if len(found) > 1:
            raise ReleaseUnknown(f"several releases have ids that begin with {text[:64]!r}", hint="give more digits")
        if not found:
            raise ReleaseUnknown(f"no release has the id {text[:64]!r}, nor one that begins so")
        return await self._get(found[0])

    async def show(self, text: str) -> Shown:
        """One release.

        Raises:
            ReleaseUnknown: there is none, or there are several.
            ReleaseInvalid: it cannot be read.
        """
        release = await self.find(text)
        ledger = await self.ledger(release.agent)
        return Shown(
            release,
            manifests.read(release.manifest),
            await self._store.steps(self._tenant, release.id),
            await self._store.refusals(release.id, REFUSALS_SHOWN),
            self._keyring.objection(release),
            ledger.problem,
            sorted(ledger.keys),
        )

    async def ledger(self, agent: str) -> Ledger:
        """What was decided about an agent's releases, as far as it counts here."""
        ledger = Ledger(self._store, self._keyring, self._tenant, agent)
        await ledger.follow(*await self._store.head(self._tenant, agent))
        return ledger

    def objection(self, release: Release) -> str:
        """Why it is not to be believed here; "" = it is."""
        return self._keyring.objection(release)

    async def page(self, agent: str | None, before: tuple[int, str] | None, limit: int) -> list[Release]:
        """Releases, newest first."""
        return await self._store.page(self._tenant, agent, before, limit)

    async def route(self, agent: str) -> Route:
        """Which releases new runs of an agent get."""
        return await self._store.route(self._tenant, agent)

    async def submit(self, text: str, actor: str, reason: str = "") -> Release:
        """Put it up for review.

        Raises:
            ReleaseUnknown, ReleaseState, ReleaseMoved: nothing was changed.
        """
        return await self._decide(
            text, reason, actor, lambda release, route: states.submit(release, route, actor, reason)
        )

    async def approve(self, text: str, actor: str, reason: str = "") -> Release:
        """Find it good.

        Raises:
            ReleaseOwn: it is the actor's own.
            ReleaseInvalid: its signature does not count here, so that nobody knows who wrote it.
            ReleaseUnknown, ReleaseState, ReleaseMoved: nothing was changed.
        """
        release = await self._believed(await self.find(text))
        submitter = (await self.ledger(release.agent)).standing.submitter(release.id)
        return await self._decide(
            release.id, reason, actor, lambda release, route: states.approve(release, route, submitter, actor, reason)
        )

    async def reject(self, text: str, actor: str, reason: str = "") -> Release:
        """Do not let it be rolled out.

        Raises:
            ReleaseUnknown, ReleaseState, ReleaseMoved: nothing was changed.
        """
        return await self._decide(
            text, reason, actor, lambda release, route: states.reject(release, route, actor, reason)
        )

    async def canary(self, text: str, share: int, actor: str, reason: str = "") -> Release:
        """Give it a share of new runs, in hundredths of a percent.

        Raises:
            ReleaseInvalid: its signature does not count here.
            ReleaseUnknown, ReleaseState, ReleaseMoved: nothing was changed.
        """
        release = await self._believed(await self.find(text))
        return await self._decide(
            release.id, reason, actor, lambda release, route: states.canary(release, route, share, actor, reason)
        )

    async def promote(self, text: str, actor: str, reason: str = "") -> Release:
        """Give it all new runs.

        Raises:
            ReleaseInvalid: its signature does not count here.
            ReleaseUnknown, ReleaseState, ReleaseMoved: nothing was changed.
        """
        release = await self._believed(await self.find(text))
        return await self._decide(
            release.id, reason, actor, lambda release, route: states.promote(release, route, actor, reason)
        )

    async def retire(self, text: str, actor: str, reason: str = "") -> Release:
        """Take it out of use.

        Raises:
            ReleaseUnknown, ReleaseState, ReleaseMoved: nothing was changed.
        """
        return await self._decide(
            text, reason, actor, lambda release, route: states.retire(release, route, actor, reason)
        )

    async def roll_back(self, agent: str, actor: str, to: str | None = None, reason: str = "") -> RolledBack:
        """New runs get the canary no more; where there is none, what was live before in place of what is live.

        ``to``: a release, or "offered" for the code as it is offered. When this returns it is durable, and every
        submission that begins a moment later (`routing.FRESH_SECONDS`) goes by it.

        Raises:
            ReleaseUnknown, ReleaseState, ReleaseMoved: nothing was changed.
        """
        _check_reason(reason)
        target = states.OFFERED if to == "offered" else None if to is None else (await self.find(to)).id
        if target not in (None, states.OFFERED) and (await self._get(str(target))).agent != agent:
            raise ReleaseUnknown(f"the release {str(to)[:64]} is of another agent than {agent[:NAME_MAX_CHARS]}")
        for _ in range(TRIES):
            ledger = await self._sound(agent)
            route = ledger.standing.route
            named = {route.live, route.canary, route.previous, target} - {"", states.OFFERED, None}
            known = {str(name): await self._get(str(name)) for name in named}
            signed = {name: ledger.standing.release(release) for name, release in known.items()}
            decided, bad = states.roll_back(route, target, signed, actor, reason)
            if await self._make(ledger, decided, actor, known):
                return RolledBack(agent, bad, decided.route.live)
        raise ReleaseMoved(f"the releases of {agent} were changed {TRIES} times meanwhile")

    async def accept_tool(self, tool: str, digest: str, actor: str, reason: str = "") -> Accepted:
        """Accept that a tool of a server is what it is now, in all releases that were approved with another.

        ``tool``: as its server and it are named, with a slash between; ``digest``: of its definition, as the refusal
        said it.

        Raises:
            InputInvalid: no such names can be.
        """
        _check_reason(reason)
        server, slash, name = tool.partition("/")
        if not slash:
            raise InputInvalid(f"{tool[:64]!r} names no tool of a server", hint="write SERVER/TOOL")
        check_name(server, "server")
        check_name(name, "tool")
        if not digest.startswith("sha256:") or len(digest) != 71 or set(digest[7:]) - set("0123456789abcdef"):
            raise InputInvalid(
                f"{digest[:80]!r} is no digest", hint="sha256: and 64 hex digits, as the refusal says it"
            )
        accepted = Accepted(self._tenant, tool, digest, 0, actor, reason)
        if self._keyring.trusted:  # where no key is trusted nobody asks for a signature
            accepted = replace(accepted, at=await self._journal.now())
            key, signature = self._keyring.sign(tool_form(accepted), TOOL)
            accepted = replace(accepted, key=key, signature=signature)
        await self._store.accept(accepted)
        return accepted

    async def in_question(self, agent: str) -> list[Release]:
        """Releases of an agent that are in use, or that runs may still need, as their rows have it or as it counts."""
        row, view = await self._store.route(self._tenant, agent), await self._store.view()
        routes = row, (await self.ledger(agent)).standing.route
        named = {name for route in routes for name in (route.live, route.canary, route.previous)}
        named -= {"", states.OFFERED}
        known = [item.id for item in view.releases if (item.tenant, item.agent) == (self._tenant, agent)]
        found = [await self._store.get(self._tenant, release) for release in dict.fromkeys([*sorted(named), *known])]
        return [release for release in found if release is not None and release.agent == agent]

    async def confirm(self, agent: str, approved: Sequence[str], actor: str, reason: str = "") -> Route:
        """Approve anew what is in use of an agent, signed, where what was decided before is not signed, or by a key
        that is not trusted any more. What is in use by the rows, and where that is not among ``approved`` (ids) what
        is in use by what counts, stays so; what is in use and not among them is rolled back.

        Raises:
            ReleaseOwn: one of them is the actor's own.
            ReleaseInvalid: one of them is not what was signed.
            ReleaseState: one of them is neither in use nor was it.
            ReleaseUnknown, ReleaseMoved, ReleaseKeyMissing: nothing was changed.
        """
        _check_reason(reason)
        row, head = await self._store.head(self._tenant, agent)
        known = {
            release.id: replace(release, author=statements.author_of(release))
            for release in await self.in_question(agent)
        }
        ids = [(await self._believed(await self.find(text))).id for text in approved]
        if strange := [release for release in ids if release not in known]:
            raise ReleaseState(f"the release {strange[0][:12]} is not in use of {agent[:NAME_MAX_CHARS]}", hint=STATES)
        counts = (await self.ledger(agent)).standing.route
        route = row
        if row.live not in ids and counts.live in ids:
            route = replace(route, live=counts.live)
        if row.canary not in ids and counts.canary in ids:
            route = replace(route, canary=counts.canary, share=counts.share)
        decided = states.confirm(route, list(known.values()), ids, max(row.number, head) + 1, actor, reason)
        ledger = Ledger(self._store, self._keyring, self._tenant, agent)
        if not await self._make(ledger, decided, actor, known, row.number, ids):
            raise ReleaseMoved(f"somebody else decided about releases of {agent[:NAME_MAX_CHARS]} at the same time")
        return decided.route

    async def _decide(self, text: str, reason: str, actor: str, decide: Callable[[Release, Route], Decided]) -> Release:
        _check_reason(reason)
        release = await self.find(text)
        ledger = await self._sound(release.agent)
        release = await self._get(release.id)
        decided = decide(
            replace(ledger.standing.release(release), author=statements.author_of(release)), ledger.standing.route
        )
        known = {move.release: await self._get(move.release) for move in decided.moves}
        if not await self._make(ledger, decided, actor, known):
            raise ReleaseMoved(f"somebody else decided about releases of {release.agent} at the same time")
        return await self._get(release.id)

    async def _sound(self, agent: str) -> Ledger:
        """What was decided, where all of it counts: nothing is decided upon anything else."""
        if not self._keyring.trusted:
            raise ReleaseKeyMissing("no key is trusted here: nobody can say who decided about releases before")
        ledger = await self.ledger(agent)
        if ledger.problem:
            raise ReleaseUnsigned(f"what was decided about releases of {agent} does not count here: {ledger.problem}")
        return ledger

    async def _make(
        self,
        ledger: Ledger,
        decided: Decided,
        actor: str,
        known: Mapping[str, Release],
        before: int | None = None,
        anew: Sequence[str] | None = None,
    ) -> bool:
        """Sign and keep what was decided; False when somebody was quicker. ``known``: the releases that move, as their
        rows have them. With ``anew`` nothing from before counts, and those are what is approved."""
        moves = [replace(move, before=known[move.release].state) for move in decided.moves]
        authors = {release.id: statements.author_of(release) for release in known.values()}
        told = moves if anew is None else [move for move in moves if move.release in anew]
        said = statements.state_of(
            decided.route,
            told,
            authors,
            before=ledger.standing.digest,
            actor=actor,
            at=await self._journal.now(),
            anew=anew is not None,
        )
        signed = statements.sign(self._keyring, said)
        if why := ledger.standing.take(said, statements.digest_of(signed.body)):
            raise ReleaseState(why)
        return await self._store.change(decided.route, moves, signed, before)

    async def _believed(self, release: Release) -> Release:
        if why := self._keyring.objection(release):
            raise ReleaseInvalid(
                f"the release {release.id[:12]} is not to be believed: {why}",
                hint="name the keys that count in PENSTOCK_RELEASE_TRUSTED_FILE, or draft it anew",
            )
        return release

    async def _get(self, release: str) -> Release:
        found = await self._store.get(self._tenant, release)
        if found is None:
            raise ReleaseUnknown(f"there is no release {release[:64]}")
        return found


def agent_named(agents: Mapping[str, AgentDef], name: str) -> AgentDef:
    """The agent of that name.

    Raises:
        AgentUnknown: it is not among them.
    """
    found = agents.get(name)
    if found is None:
        offered = ", ".join(sorted(agents)) or "none"
        raise AgentUnknown(f"there is no agent {name[:64]!r} here", hint=f"the agents offered are: {offered}")
    return found


def _check_reason(reason: str) -> None:
    if len(reason) > REASON_MAX_CHARS or "\x00" in reason:
        raise InputInvalid(f"a reason has at most {REASON_MAX_CHARS:,} characters, none of them NUL")
