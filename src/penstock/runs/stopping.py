"""Stopping and resuming by scope: what it would reach, doing it once, and how far it has come.

A scope is a row of `SCOPES`: what it is called, what may be done to it, and the keys by which the journal knows it.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from penstock.kernel.clock import Clock
from penstock.kernel.errors import (
    ControlUnknown,
    IdempotencyConflict,
    InputInvalid,
    NotArmed,
    RunUnknown,
    ScopeUnsupported,
)
from penstock.kernel.ids import derived_id, new_id
from penstock.ports.controls import Control, Reach
from penstock.ports.journal import Journal
from penstock.ports.records import OpenIntent, Stop

OPEN_SHOWN = 100
LOOKED_BACK = 100
"""Stops of one run that are looked through for the one that was lifted."""


@dataclass(slots=True, frozen=True)
class Target:
    """What a stop is of, as the journal has it: a run of a tenant, a tenant (no run), or everything (neither)."""

    tenant: str | None
    run: UUID | None = None


@dataclass(slots=True, frozen=True)
class Kind:
    """A kind of scope. ``permission``: needed besides that of stopping; ``armed``: what has to be typed again."""

    actions: frozenset[str]
    target: Callable[[str, str], Target]  # of the tenant and the scope's name
    armed: Callable[[str, str], str] | None = None  # of the tenant and the environment
    permission: str = ""


@dataclass(slots=True, frozen=True)
class Preview:
    """What an action would reach, as of one moment of the store's clock."""

    as_of: int
    reach: Reach
    intents: list[OpenIntent]
    not_reached: list[str]
    command: str


@dataclass(slots=True, frozen=True)
class Progress:
    """How far a stop has come: requested | not_sealed | sealed | quiesced | lifted."""

    control: Control
    state: str
    intents: list[OpenIntent]
    in_doubt: int
    stopped: int

    @property
    def latest_end(self) -> int | None:
        """When the last of the calls under way has ended or passed its time."""
        return max((intent.ends_by for intent in self.intents), default=None)


def _run(tenant: str, name: str) -> Target:
    try:
        return Target(tenant, UUID(name))
    except ValueError as error:
        raise InputInvalid(f"{name[:100]!r} is not the id of a run") from error


SCOPES: dict[str, Kind] = {
    "run": Kind(frozenset({"kill", "cancel", "pause", "resume"}), _run),
    "tenant": Kind(
        frozenset({"kill", "resume"}), lambda tenant, name: Target(tenant), lambda tenant, environment: tenant
    ),
    "everything": Kind(
        frozenset({"kill", "resume"}),
        lambda tenant, name: Target(None),
        lambda tenant, environment: environment,
        "everything:stop",
    ),
}


def kind_of(scope: str, action: str) -> Kind:
    """The row of a scope.

    Raises:
        ScopeUnsupported: there is none, or it cannot be stopped in this way.
    """
    kind = SCOPES.get(scope)
    if kind is None:
        raise ScopeUnsupported(f"nothing can be stopped by {scope} yet", scope=scope, scopes=sorted(SCOPES))
    if action not in kind.actions:
        raise ScopeUnsupported(f"{action} does not work on the scope {scope}", scope=scope, action=action)
    return kind


def scope_of(control: Control) -> tuple[str, str]:
    """Kind and name of the scope that a control is of."""
    if control.run is not None:
        return "run", str(control.run)
    return ("everything", "") if control.tenant is None else ("tenant", control.tenant)


class Stopping:
    """Stops as one tenant's operator orders them.

    Args:
        journal: the store.
        clock: for ids.
        tenant: whose operator it is.
        environment: what has to be typed to stop everything.
    """

    def __init__(self, journal: Journal, clock: Clock, tenant: str, environment: str) -> None:
        self._journal = journal
        self._clock = clock
        self._tenant = tenant
        self._environment = environment

    async def preview(self, scope: str, name: str, action: str) -> Preview:
        """What it would reach. Nothing is done.

        Raises:
            ScopeUnsupported, RunUnknown, InputInvalid: it cannot be.
        """
        target = await self._target(scope, name, action)
        as_of = await self._journal.now()
        is_narrow = action in ("pause", "resume") and target.run is not None
        return Preview(
            as_of,
            await self._journal.controls.reach(target.tenant, target.run),
            await self._journal.open_intents(target.tenant, target.run),
            _not_reached(action, is_narrow=is_narrow, is_run=target.run is not None),
            _command(scope, name, action, self._tenant),
        )

    async def act(
        self, scope: str, name: str, action: str, *, actor: str, reason: str, armed: str, key: str | None
    ) -> UUID:
        """Do it; the control's id. A stop is sealed, or known not to be, when this returns.

        The same ``key`` again does nothing new, unless it is not known that the first was sealed.

        Raises:
            ScopeUnsupported, RunUnknown, InputInvalid: it cannot be; nothing was done.
            NotArmed: ``armed`` is not the scope's name; nothing was done.
            ControlUnknown: there is nothing to resume.
            IdempotencyConflict: the key was used for another stop.
        """
        target = await self._target(scope, name, action)
        arm = SCOPES[scope].armed
        if arm is not None and armed != arm(self._tenant, self._environment):
            raise NotArmed(f"to {action} {scope}, `armed` must be {arm(self._tenant, self._environment)!r}")
        if action == "resume":
            return await self._resume(target, actor)
        control = new_id(self._clock) if key is None else _id_by(self._tenant, key)
        known = await self._journal.controls.get(self._tenant, control)
        if known is not None:
            if (known.tenant, known.run, known.action) != (target.tenant, target.run, action):
                raise IdempotencyConflict(f"the key {key!r} was used for another stop", control=known.id)
            if known.sealed_at is not None or known.lifted_at is not None:
                return control
        if target.run is None:
            await self._journal.stop_all(target.tenant, actor, reason, control)
        else:
            await self._journal.stop_run(self._tenant, target.run, Stop(action), actor, reason, control)
        return control

    async def progress(self, control: UUID, *, everything: bool) -> Progress:
        """How far a stop has come. ``everything``: also show calls of other tenants that a stop of everything reaches.

        Raises:
            ControlUnknown: no such control for this tenant.
        """
        known = await self._journal.controls.get(self._tenant, control)
        if known is None:
            raise ControlUnknown(f"there is no control {control}")
        scope = None if known.tenant is None and everything else self._tenant
        now = await self._journal.now()
        intents = await self._journal.open_intents(scope, known.run) if known.in_force else []
        running = [intent for intent in intents if intent.ends_by > now]
        if known.lifted_at is not None:
            state = "lifted"
        elif known.sealed_at is None:
            state = "not_sealed" if known.blockers else "requested"
        else:
            state = "sealed" if running else "quiesced"
        stopped = await self._journal.controls.stopped(scope, known.run, known.at)
        return Progress(known, state, running, len(intents) - len(running), stopped)

    async def _target(self, scope: str, name: str, action: str) -> Target:
        target = kind_of(scope, action).target(self._tenant, name)
        if target.run is not None and await self._journal.get_run(self._tenant, target.run) is None:
            raise RunUnknown(f"there is no run {target.run} for tenant {self._tenant!r}")
        return target

    async def _resume(self, target: Target, actor: str) -> UUID:
        journal = self._journal
        if target.run is not None:
            known = await journal.controls.of_run(self._tenant, target.run, LOOKED_BACK)
            paused = next((item for item in known if item.action == "pause" and item.lifted_at is None), None)
            if not await journal.resume_run(self._tenant, target.run, actor) or paused is None:
                raise ControlUnknown(
                    f"run {target.run} is not paused", hint="a kill or cancel of a run cannot be taken back"
                )
            return paused.id
        wide = [item for item in await journal.controls.wide(self._tenant) if item.tenant == target.tenant]
        if not await journal.resume_all(target.tenant, actor) or not wide:
            raise ControlUnknown("no stop of this scope is in force")
        return wide[0].id


def _id_by(tenant: str, key: str) -> UUID:
    """The id of the stop that a key stands for."""
    return derived_id(UUID(bytes=hashlib.sha256(f"control:{tenant}".encode()).digest()[:16]), key)


def _not_reached(action: str, *, is_narrow: bool, is_run: bool) -> list[str]:
    said = ["calls under way go on until they end; they are listed"] if action != "resume" else []
    if is_narrow:
        said.append("its children go on" if action == "pause" else "runs that were killed or cancelled stay so")
    if action == "pause":
        said.append("it holds its place in its session: runs behind it wait")
    if action in ("kill", "cancel") and not is_run:
        said.append("queued runs are kept, and go on when it is lifted; runs that a worker takes up end as killed")
    if action == "resume" and not is_run:
        said.append("runs that were killed stay killed")
    if action in ("kill", "cancel"):
        said.append("what tools have set going at other systems")
    return said


def _command(scope: str, name: str, action: str, tenant: str) -> str:
    """The command line that does the same; of ids and names only."""
    if scope == "run":
        verb = "kill" if action == "kill" else f"runs {action}"
        return f"penstock {verb} {name} --tenant {tenant}" + (" --reason …" if action == "kill" else "")
    whose = f" --tenant {tenant}" if scope == "tenant" else ""
    return f"penstock {'kill' if action == 'kill' else 'resume'} --all{whose}" + (
        " --reason …" if action == "kill" else ""
    )
