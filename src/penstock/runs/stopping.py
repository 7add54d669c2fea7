"""Stopping and resuming by scope: what it would reach, doing it once, and how far it has come.

A kind of scope is a row of `SCOPES`: what may be done to it, what has to be typed again, and which right it needs.
"""

import hashlib
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from penstock.kernel.clock import Clock
from penstock.kernel.errors import (
    ControlUnknown,
    IdempotencyConflict,
    InputInvalid,
    NotArmed,
    RunIsOver,
    RunUnknown,
    ScopeUnsupported,
)
from penstock.kernel.ids import derived_id, new_id
from penstock.ports.controls import PAGE_MAX, Control, Reach, Scope, ScopeKind, of_all
from penstock.ports.journal import Journal
from penstock.ports.records import OpenIntent, RunRow, Status, Stop

OPEN_SHOWN = 100
LOOKED_BACK = 100
"""Stops of one run that are looked through for the one that was lifted."""


@dataclass(slots=True, frozen=True)
class Kind:
    """A kind of scope. ``permission``: needed besides that of stopping."""

    actions: frozenset[str]
    armed: Callable[[Scope, str], str] | None = None  # what has to be typed again, of the scope and the environment
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


_WIDE = frozenset({"kill", "pause", "resume"})


SCOPES: dict[ScopeKind, Kind] = {
    "run": Kind(frozenset({"kill", "cancel", "pause", "resume"})),
    "session": Kind(_WIDE, lambda scope, _: scope.name),
    "agent": Kind(_WIDE, lambda scope, _: scope.name),
    "release": Kind(_WIDE, lambda scope, _: scope.name),
    "tool": Kind(_WIDE, lambda scope, _: scope.name),
    "customer": Kind(_WIDE, lambda scope, _: scope.name),
    "environment": Kind(_WIDE, lambda scope, _: scope.name),
    "tenant": Kind(_WIDE, lambda scope, _: scope.name),
    "everything": Kind(_WIDE, lambda _, environment: environment, "everything:stop"),
}


def kind_of(scope: str, action: str) -> Kind:
    """The row of a scope.

    Raises:
        ScopeUnsupported: there is none, or it cannot be stopped in this way.
    """
    kind = next((kind for name, kind in SCOPES.items() if name == scope), None)
    if kind is None:
        raise ScopeUnsupported(f"nothing can be stopped by {scope}", scope=scope, scopes=sorted(SCOPES))
    if action not in kind.actions:
        raise ScopeUnsupported(f"{action} does not work on the scope {scope}", scope=scope, action=action)
    return kind


def scope_named(kind: ScopeKind, tenant: str, name: str) -> Scope:
    """The scope that is called so.

    Raises:
        InputInvalid: it needs a name, or that is no id of a run.
    """
    if kind in ("tenant", "everything"):
        return of_all(None if kind == "everything" else tenant)
    if not name.strip():
        raise InputInvalid(f"which {kind}?", hint="the scope has no name")
    if kind == "run":
        try:
            name = str(UUID(name))
        except ValueError as error:
            raise InputInvalid(f"{name[:100]!r} is not the id of a run") from error
    return Scope(kind, tenant, name)


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

    async def preview(self, kind: ScopeKind, name: str, action: str) -> Preview:
        """What it would reach. Nothing is done.

        Raises:
            ScopeUnsupported, RunUnknown, InputInvalid: it cannot be.
        """
        scope, _ = await self._scope(kind, name, action)
        return Preview(
            await self._journal.now(),
            await self._journal.controls.reach(scope),
            await self._journal.open_intents(scope),
            _not_reached(action, scope),
            _command(scope, action, self._tenant),
        )

    async def act(
        self, kind: ScopeKind, name: str, action: str, *, actor: str, reason: str, armed: str, key: str | None
    ) -> UUID:
        """Do it; the control's id. A stop is sealed, or known not to be, when this returns.

        The same ``key`` again does nothing new, unless it is not known that the first was sealed. A resume with a key
        that finds nothing in force answers with what the same actor has lifted last.

        Raises:
            ScopeUnsupported, RunUnknown, InputInvalid: it cannot be; nothing was done.
            NotArmed: ``armed`` is not the scope's name; nothing was done.
        RunIsOver: the run has ended; nothing was done.
            ControlUnknown: there is nothing to resume.
            IdempotencyConflict: the key was used for another stop.
        """
        scope, row = await self._scope(kind, name, action)
        arm = SCOPES[kind].armed
        if arm is not None and armed != arm(scope, self._environment):
            raise NotArmed(f"to {action} this {kind}, `armed` must be {arm(scope, self._environment)!r}")
        if action == "kill" and not reason.strip():
            raise InputInvalid("a kill needs a reason", hint="it goes on the record, for whoever asks why")
        if action == "resume":
            return await self._resume(scope, actor, again=key is not None)
        control = new_id(self._clock) if key is None else _id_by(self._tenant, key)
        known = await self._journal.controls.get(self._tenant, control)
        if known is not None:
            if (known.scope, known.action) != (scope, action):
                raise IdempotencyConflict(f"the key {key!r} was used for another stop", control=known.id)
            if known.sealed_at is not None or known.lifted_at is not None:
                return control
        if row is not None and row.status is Status.ENDED:
            raise RunIsOver(f"run {row.id} has ended already, as {row.outcome}", outcome=row.outcome)
        if scope.run is None:
            await self._journal.stop_scope(scope, Stop(action), actor, reason, control)
        else:
            await self._journal.stop_run(self._tenant, scope.run, Stop(action), actor, reason, control)
        return control

    async def progress(self, control: UUID, *, everything: bool) -> Progress:
        """How far a stop has come. ``everything``: also show calls of other tenants that a stop of everything reaches.

        Raises:
            ControlUnknown: no such control for this tenant.
        """
        known = await self._journal.controls.get(self._tenant, control)
        if known is None:
            raise ControlUnknown(f"there is no control {control}")
        seen = known.scope
        if seen.tenant is None and not everything:
            seen = of_all(self._tenant)
        now = await self._journal.now()
        intents = await self._journal.open_intents(seen) if known.in_force else []
        running = [intent for intent in intents if intent.ends_by > now]
        if known.lifted_at is not None:
            state = "lifted"
        elif known.sealed_at is None:
            state = "not_sealed" if known.blockers else "requested"
        else:
            state = "sealed" if running else "quiesced"
        stopped = await self._journal.controls.stopped(seen, known.at)
        return Progress(known, state, running, len(intents) - len(running), stopped)

    async def _scope(self, kind: ScopeKind, name: str, action: str) -> tuple[Scope, RunRow | None]:
        """What is meant, and its row if it is a run."""
        kind_of(kind, action)
        scope = scope_named(kind, self._tenant, name)
        if scope.run is None:
            return scope, None
        row = await self._journal.get_run(self._tenant, scope.run)
        if row is None:
            raise RunUnknown(f"there is no run {scope.run} for tenant {self._tenant!r}")
        return scope, row

    async def _resume(self, scope: Scope, actor: str, *, again: bool) -> UUID:
        """Lift what is in force. ``again``: it may be the order of before, whose answer was lost."""
        journal = self._journal
        if scope.run is not None:
            known = await journal.controls.of_run(self._tenant, scope.run, LOOKED_BACK)
            known = [item for item in known if item.action == "pause"]
            was_lifted = await journal.resume_run(self._tenant, scope.run, actor)
        else:
            known = [item for item in await journal.controls.wide(self._tenant) if item.scope == scope]
            was_lifted = bool(await journal.resume_scope(scope, actor))
        lifted = next((item for item in known if item.lifted_at is None), None)
        if was_lifted and lifted is not None:
            return lifted.id
        if again:
            newest = known if scope.run is not None else await journal.controls.newest(self._tenant, None, PAGE_MAX)
            before = next((item for item in newest if item.scope == scope), None)
            if before is not None and before.lifted_by == actor:
                return before.id
        if scope.run is not None:
            raise ControlUnknown(
                f"run {scope.run} is not paused", hint="a kill or cancel of a run cannot be taken back"
            )
        raise ControlUnknown("no stop of this scope is in force")


def _id_by(tenant: str, key: str) -> UUID:
    """The id of the stop that a key stands for."""
    return derived_id(UUID(bytes=hashlib.sha256(f"control:{tenant}".encode()).digest()[:16]), key)


def _not_reached(action: str, scope: Scope) -> list[str]:
    """What one might think that it does and it does not, in words."""
    said = ["calls under way go on until they end; they are listed"] if action != "resume" else []
    if scope.run is not None:
        if action == "pause":
            said += ["its children go on", "it holds its place in its session: runs behind it wait"]
        elif action == "resume":
            said.append("runs that were killed or cancelled stay so")
    elif scope.kind == "tool":
        said += _not_reached_of_tool(action)
    elif action == "resume":
        said.append("runs that were killed stay killed")
    else:
        waiting = "queued and parked runs are kept, as are new ones, and go on when it is lifted"
        said.append(waiting if action == "pause" else f"{waiting}; only runs that are under way end as killed")
        if scope.kind in ("agent", "release", "session"):
            fate = "go on" if action == "pause" else "are not killed but cancelled, when their parents end"
            said.append(f"children that are of another {scope.kind}, or of none, {fate}")
    if action in ("kill", "cancel"):
        said.append("what tools have set going at other systems")
    return said


def _not_reached_of_tool(action: str) -> list[str]:
    if action == "resume":
        return ["calls that were denied stay denied, unless their runs ask again"]
    fate = "wait until it is lifted" if action == "pause" else "are told that it is stopped, and go on without it"
    return [
        f"no run ends of it: runs that come to call the tool {fate}",
        "a write of it that is in doubt stays so: it is not repeated until the stop is lifted",
        "what reaches the same system by another tool, or from outside Penstock",
    ]


def _command(scope: Scope, action: str, tenant: str) -> str:
    """The command line that does the same; of ids and names only."""
    whose = "" if scope.kind == "everything" else f" --tenant {shlex.quote(tenant)}"
    why = "" if action == "resume" else " --reason …"
    if scope.run is not None:
        verb = "kill" if action == "kill" else f"runs {action}"
        return f"penstock {verb} {scope.run}{whose}" + (why if action == "kill" else "")
    return f"penstock {action} {option_of(scope)}{whose}{why}"


def option_of(scope: Scope) -> str:
    """The option of the command line that means all runs of a scope wider than a run; ``--tenant`` comes beside it."""
    return "--all" if scope.kind in ("tenant", "everything") else f"--{scope.kind} {shlex.quote(scope.name)}"
