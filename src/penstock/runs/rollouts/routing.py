"""How a process acts by releases: which one a new run gets, and which ones its worker runs.

The store has the truth, here is a copy that is looked at again before it is used when it is older than `FRESH_SECONDS`.
So what was decided is in effect on every submission that begins that much later, whether or not anybody was told of it.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from penstock.gates.policy.guard import PolicyGuard
from penstock.gates.run.services import Services
from penstock.kernel.clock import Clock
from penstock.kernel.errors import JournalError, PolicyInvalid, ReleaseInvalid
from penstock.kernel.randomness import jitter
from penstock.ports.agents import AgentDef
from penstock.ports.journal import Journal
from penstock.ports.rollouts import WHOLE, Accepted, Manifest, Refusal, Release, Rollouts, Route, Side
from penstock.rules.policy.policy_set import PolicySet
from penstock.runs.registry import Registry
from penstock.runs.rollouts import manifest as manifests
from penstock.runs.rollouts.ledgers import Ledgers
from penstock.runs.rollouts.signing import Keyring

FRESH_SECONDS = 0.25
"""How old the copy may be that a submission, or the start of a child, goes by."""
FOLLOW_SECONDS = 0.5
"""From one look of a worker to the next, for which releases it runs."""
SWEEP_SECONDS = 60.0

_logger = logging.getLogger("penstock.releases")


def picked(route: Route, key: str) -> str:
    """The release that a new run gets: "" = the code as it is offered.

    ``key``: what stays on one side for as long as the canary is the same; as its share grows, keys only ever come to
    it. By SHA-256, so the same everywhere.
    """
    if route.canary:
        told = hashlib.sha256("\x1f".join([route.canary, route.tenant, route.agent, key]).encode()).digest()
        if int.from_bytes(told[:8], "big") % WHOLE < route.share:
            return route.canary
    return route.live


async def managed_agent(journal: Journal, agent: AgentDef, tenant: str, release: str) -> AgentDef | None:
    """An offered agent as a managed release has it, to replay its runs by; None when it is of no such release, or has
    other code by now. Who signed it does not matter here: a replay acts on nothing."""
    found = await journal.rollouts.get(tenant, release)
    if found is None or manifests.address(found.manifest) != release:
        return None
    try:
        manifest = manifests.read(found.manifest)
    except ReleaseInvalid:
        return None
    if manifest.agent != agent.name or manifests.mismatch(agent, manifest) or manifests.trial(agent, manifest):
        return None
    return manifests.offered_as(agent, release, manifest)


class Following:
    """The duty of a worker: that it runs the releases that it can run.

    Args:
        services: of the worker.
        name: the worker's.
        changed: called when it can run other releases than before.
    """

    def __init__(self, services: Services, name: str, changed: Callable[[], None]) -> None:
        self._routing = services.rollouts
        if self._routing is not None:
            self._routing.worker = name
            self._routing.on_change = changed

    async def run(self) -> None:
        """Until cancelled."""
        if self._routing is not None:
            await self._routing.follow()


class RolloutGuard:
    """Implements `penstock.ports.rollouts.Routing`; see there.

    Args:
        store: the truth.
        clock: for how old the copy is.
        registry: what this process offers; releases that it can run are added there.
        keyring: whose signatures count here.
        policy: what holds calls to rules; None = nothing does, and releases that bring rules are not run here.
    """

    def __init__(
        self,
        store: Rollouts,
        clock: Clock,
        registry: Registry,
        keyring: Keyring,
        policy: PolicyGuard | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._registry = registry
        self._keyring = keyring
        self._policy = policy
        self._pinned: dict[str, PolicySet] = {}
        self.worker = ""
        """The worker of this process, under whose name it says what it cannot run."""
        self.on_change: Callable[[], None] = lambda: None
        """Called when this process can run other releases than before."""
        self._version: int | None = None
        self._asked_ns: int | None = None
        self._looking = asyncio.Lock()
        self._ledgers = Ledgers(store, keyring)
        self._routes: dict[tuple[str, str], Route] = {}
        self._releases: dict[tuple[str, str], Release] = {}  # the same release may be of several tenants
        self._manifests: dict[str, Manifest] = {}
        self._accepted: dict[tuple[str, str, str], Accepted] = {}
        self._believed: set[Accepted] = set()
        self._refused: dict[str, str] = {}
        self._managed: dict[tuple[str, str], AgentDef] = {}
        self._made_of: tuple[int | None, tuple[str, ...]] = (None, ())

    async def side(self, tenant: str, agent: Any, key: str) -> Side:
        await self._fresh()
        route = self._routes.get((tenant, agent.name))
        if self._keyring.trusted:
            route = await self._ledgers.route(tenant, agent.name)
        release = picked(route, key) if route is not None else ""
        if not release:
            return Side(agent.release, agent.budget)
        known = self._manifests.get(release)
        return Side(release, agent.budget) if known is None else _side(release, known)

    async def accepts(self, tenant: str, tool: str, digest: str) -> bool:
        await self._fresh()
        known = self._accepted.get((tenant, tool, digest))
        if known is None or not self._keyring.trusted or known in self._believed:
            return known is not None
        if why := self._keyring.objection_to_tool(known):
            _logger.error("it does not count that %s was accepted: %s", tool, why)
            return False
        self._believed.add(known)
        return True

    def runs_here(self, agent: str, release: str) -> bool:
        return (agent, release) in self._managed

    def pinned(self, release: str) -> Side | None:
        known = self._manifests.get(release)
        return None if known is None else _side(release, known)

    @property
    def refused(self) -> dict[str, str]:
        """Releases that this process cannot run, and why."""
        return dict(self._refused)

    async def look(self) -> None:
        """Make the copy a fresh one, and the releases that this process runs those of the copy.

        Raises:
            JournalUnavailable: it cannot be asked.
        """
        await self._fresh()
        made_of = self._version, tuple(f"{agent.name} {agent.release}" for agent in self._registry.agents)
        if made_of != self._made_of:
            self._offer(await self._unsigned())
            self._made_of = made_of

    async def follow(self) -> None:
        """The duty of a worker: look again and again, and say what cannot be run here."""
        told: dict[str, str] | None = None
        swept_ns = self._clock.boot_ns()
        while True:
            pause = FOLLOW_SECONDS
            try:
                await self.look()
                if self._refused != (told or {}):
                    told = dict(self._refused)
                    await self._tell(told)
                if self._clock.boot_ns() - swept_ns > SWEEP_SECONDS * 1e9:
                    swept_ns = self._clock.boot_ns()
                    await self._sweep()
            except JournalError as error:
                _logger.warning("releases cannot be looked at: %s", error.what)
                pause += jitter(0, pause)
            await self._clock.sleep(pause)

    async def _sweep(self) -> None:
        if any(release.state in ("retired", "rolled_back") for release in self._releases.values()):
            await self._store.sweep()

    async def _tell(self, refused: dict[str, str]) -> None:
        for release, why in refused.items():
            _logger.warning("the release %s is not run here: %s", release[:12], why)
        await self._store.refuse(self.worker, [Refusal(self.worker, *item) for item in sorted(refused.items())])

    async def _fresh(self) -> None:
        if self._is_fresh():
            return
        async with self._looking:
            if self._is_fresh():
                return
            begun_ns = self._clock.boot_ns()
            if await self._store.version() != self._version:
                view = await self._store.view()
                self._routes = {(route.tenant, route.agent): route for route in view.routes}
                self._read(view.releases)
                self._accepted = {(item.tenant, item.tool, item.digest): item for item in view.accepted}
                self._believed &= set(view.accepted)
                self._ledgers.see(view)
                self._version = view.version
            self._asked_ns = begun_ns

    def _is_fresh(self) -> bool:
        return self._asked_ns is not None and self._clock.boot_ns() - self._asked_ns <= FRESH_SECONDS * 1e9

    def _read(self, releases: Iterable[Release]) -> None:
        known = self._manifests
        self._releases, self._manifests = {}, {}
        for release in releases:
            self._releases[release.tenant, release.id] = release
            if manifests.address(release.manifest) != release.id:  # it must not stand in for what has that id
                continue
            try:
                self._manifests[release.id] = known.get(release.id) or manifests.read(release.manifest)
            except ReleaseInvalid:  # said by `_objection`, where it would have to be run
                continue

    async def _unsigned(self) -> dict[tuple[str, str], str]:
        """Releases that nobody who counts here has approved and put in use, by tenant, and why it is thought so."""
        found = {}
        for place, release in list(self._releases.items()):
            known = self._manifests.get(release.id)
            if known is not None and self._registry.find(release.agent) is not None:
                found[place] = await self._ledgers.objection(release, known.author)
        return found

    def _offer(self, unsigned: Mapping[tuple[str, str], str]) -> None:
        """Have the registry offer the releases that this process can run; ``unsigned``: why some are not to be."""
        self._refused = {}
        pinned, self._pinned = self._pinned, {}
        before = set(self._managed)
        self._managed = {
            (release.agent, release.id): made
            for place, release in self._releases.items()
            if (made := self._made(release, unsigned.get(place, ""))) is not None
        }
        for _, release_id in self._managed:
            self._refused.pop(release_id, None)
        if self._policy is not None:  # before the first run of them can be claimed
            for release, policy in self._pinned.items():
                self._policy.pin(release, policy)
            for release in pinned.keys() - self._pinned.keys():
                self._policy.unpin(release)
        self._registry.manage(self._managed.values())
        if set(self._managed) != before:
            self.on_change()

    def _made(self, release: Release, unsigned: str) -> AgentDef | None:
        """The agent as that release has it; None when it cannot be run here, or its agent is not offered."""
        agent = self._registry.find(release.agent)
        if agent is None:
            return None
        why = self._objection(agent, release) or unsigned
        if why:
            self._refused[release.id] = why[:500]
            return None
        return manifests.offered_as(agent, release.id, self._manifest(release))

    def _objection(self, agent: AgentDef, release: Release) -> str:
        if why := self._keyring.objection(release):
            return why
        try:
            manifest = self._manifest(release)
        except ReleaseInvalid as error:
            return error.what
        if manifest.agent != agent.name:
            return f"it is of the agent {manifest.agent[:64]!r}"
        return (
            manifests.mismatch(agent, manifest) or manifests.trial(agent, manifest) or self._rules(release.id, manifest)
        )

    def _rules(self, release: str, manifest: Manifest) -> str:
        """Why its policy cannot be kept here; "" = it can, or there is none."""
        if not manifest.policy:
            return ""
        if self._policy is None:
            return "it brings a policy, and calls are held to none here: set PENSTOCK_POLICY"
        try:
            self._pinned[release] = PolicySet.compile(manifest.policy)
        except PolicyInvalid as error:
            return f"its policy cannot be read here: {error.what}"
        return ""

    def _manifest(self, release: Release) -> Manifest:
        return self._manifests.get(release.id) or manifests.read(release.manifest)


def _side(release: str, manifest: Manifest) -> Side:
    return Side(release, manifest.budget, None if manifest.filters is msgspec.UNSET else manifest.filters)
