"""Releases as people handle them: draft, review, approve, roll out, roll back."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from penstock.kernel.canonical import NAME_MAX_CHARS, check_name
from penstock.kernel.errors import AgentUnknown, InputInvalid, ReleaseInvalid, ReleaseMoved, ReleaseUnknown
from penstock.ports.agents import AgentDef
from penstock.ports.journal import Journal
from penstock.ports.records import Sealed
from penstock.ports.rollouts import Accepted, Manifest, Refusal, Release, Route, Step
from penstock.runs.rollouts import manifest as manifests
from penstock.runs.rollouts import states
from penstock.runs.rollouts.sessions import TakenBack
from penstock.runs.rollouts.signing import Keyring
from penstock.runs.rollouts.states import Decided

BEGINNING_MIN = 4
REASON_MAX_CHARS = 2000
TRIES = 8
"""Of a rollback, over changes that others make at the same time."""
REFUSALS_SHOWN = 100


@dataclass(slots=True, frozen=True)
class Shown:
    """A release with all that is known of it. ``objection``: why it is not to be believed here; "" = it is."""

    release: Release
    manifest: Manifest
    steps: Sequence[Step]
    refusals: Sequence[Refusal]
    objection: str


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
        keyring: signs drafts, and says which signatures count.
    """

    def __init__(self, journal: Journal, tenant: str, keyring: Keyring) -> None:
        self._store = journal.rollouts
        self._tenant = tenant
        self._keyring = keyring

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
        return Shown(
            release,
            manifests.read(release.manifest),
            await self._store.steps(self._tenant, release.id),
            await self._store.refusals(release.id, REFUSALS_SHOWN),
            self._keyring.objection(release),
        )

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
        return await self._decide(text, reason, lambda release, route: states.submit(release, route, actor, reason))

    async def approve(self, text: str, actor: str, reason: str = "") -> Release:
        """Find it good.

        Raises:
            ReleaseOwn: it is the actor's own.
            ReleaseInvalid: its signature does not count here, so that nobody knows who wrote it.
            ReleaseUnknown, ReleaseState, ReleaseMoved: nothing was changed.
        """
        release = await self._believed(await self.find(text))
        steps = await self._store.steps(self._tenant, release.id)
        submitter = next((step.actor for step in reversed(steps) if step.state == "review"), "")
        return await self._decide(
            release.id, reason, lambda release, route: states.approve(release, route, submitter, actor, reason)
        )

    async def reject(self, text: str, actor: str, reason: str = "") -> Release:
        """Do not let it be rolled out.

        Raises:
            ReleaseUnknown, ReleaseState, ReleaseMoved: nothing was changed.
        """
        return await self._decide(text, reason, lambda release, route: states.reject(release, route, actor, reason))

    async def canary(self, text: str, share: int, actor: str, reason: str = "") -> Release:
        """Give it a share of new runs, in hundredths of a percent.

        Raises:
            ReleaseInvalid: its signature does not count here.
            ReleaseUnknown, ReleaseState, ReleaseMoved: nothing was changed.
        """
        release = await self._believed(await self.find(text))
        return await self._decide(
            release.id, reason, lambda release, route: states.canary(release, route, share, actor, reason)
        )

    async def promote(self, text: str, actor: str, reason: str = "") -> Release:
        """Give it all new runs.

        Raises:
            ReleaseInvalid: its signature does not count here.
            ReleaseUnknown, ReleaseState, ReleaseMoved: nothing was changed.
        """
        release = await self._believed(await self.find(text))
        return await self._decide(
            release.id, reason, lambda release, route: states.promote(release, route, actor, reason)
        )

    async def retire(self, text: str, actor: str, reason: str = "") -> Release:
        """Take it out of use.

        Raises:
            ReleaseUnknown, ReleaseState, ReleaseMoved: nothing was changed.
        """
        return await self._decide(text, reason, lambda release, route: states.retire(release, route, actor, reason))

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
            route = await self._store.route(self._tenant, agent)
            named = {route.live, route.canary, route.previous, target} - {"", states.OFFERED, None}
            known = {str(name): await self._get(str(name)) for name in named}
            decided, bad = states.roll_back(route, target, known, actor, reason)
            if await self._store.change(decided.route, decided.moves):
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
        await self._store.accept(accepted)
        return accepted

    async def _decide(self, text: str, reason: str, decide: Callable[[Release, Route], Decided]) -> Release:
        _check_reason(reason)
        release = await self.find(text)
        route = await self._store.route(self._tenant, release.agent)
        decided = decide(await self._get(release.id), route)
        if not await self._store.change(decided.route, decided.moves):
            raise ReleaseMoved(f"somebody else decided about releases of {release.agent} at the same time")
        return await self._get(release.id)

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
