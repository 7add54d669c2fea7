"""Circuit breakers as one tenant's operator handles them."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import msgspec

from penstock.journal.actions import Said, encode_said
from penstock.kernel.canonical import stable_json
from penstock.kernel.clock import Clock
from penstock.kernel.errors import BreakerUnknown, InputInvalid
from penstock.kernel.ids import new_id
from penstock.ports.actions import NewAction
from penstock.ports.breakers import (
    CALLS_MAX,
    CONDITIONS_MAX,
    EACH,
    OTHER,
    WINDOW_MAX_SECONDS,
    Breaker,
    Circuit,
    Condition,
    Trip,
)
from penstock.ports.journal import Journal

NAME_MAX_CHARS = 100
VALUE_MAX_CHARS = 256
OPEN_MAX_SECONDS = 86_400.0
PROBES_MAX = 100
NANO_MAX = 10**15
FACTOR_MAX = 1000.0
SLOW_MAX_SECONDS = 3600.0
BASELINE_CALLS = 500
"""Costs that an expected mean is learned from, and answers that a drift is measured against."""
BASELINE_MAX = 100_000
MEAN_CALLS, SHARE_CALLS, WINDOW_SECONDS = 50, 20, 60.0
DEFAULT_LIMITS = {"cost_mean": 2.0, "failures": 5.0, "error_rate": 0.5, "latency": 0.05}


@dataclass(slots=True, frozen=True)
class Standing:
    """A breaker and its circuits that are in the store, as of ``now`` (the store's clock, microseconds)."""

    breaker: Breaker
    circuits: Sequence[Circuit]
    now: int

    def count(self, state: str) -> int:
        """How many of its circuits are in that state."""
        return sum(circuit.state(self.now) == state for circuit in self.circuits)


def filled(condition: Condition) -> Condition:
    """A condition with the defaults of its kind for what it does not say.

    Raises:
        InputInvalid: it cannot be.
    """
    kind = condition.kind
    limit = condition.limit or DEFAULT_LIMITS.get(kind, 0.0)
    given = {"limit": limit}
    bounds: dict[str, tuple[float, float, float]] = {}
    match kind:
        case "cost_mean":
            given |= {"calls": condition.calls or MEAN_CALLS, "expected": condition.expected}
            given["baseline"] = 0 if condition.expected else condition.baseline or BASELINE_CALLS
            bounds["limit"] = limit, 1.01, FACTOR_MAX
            bounds["calls"] = given["calls"], 1, CALLS_MAX
            bounds["expected"] = condition.expected, 0, NANO_MAX
            bounds["baseline"] = given["baseline"], 0, BASELINE_MAX
        case "failures":
            bounds["limit"] = limit, 1, CALLS_MAX
        case "cost_rate":
            given["seconds"] = condition.seconds or WINDOW_SECONDS
            bounds["limit"] = limit, 1, NANO_MAX
        case "error_rate" | "latency":
            given |= {"seconds": condition.seconds or WINDOW_SECONDS, "calls": condition.calls or SHARE_CALLS}
            bounds["limit"] = limit, 0.001, 0.999
            bounds["calls"] = given["calls"], 2, CALLS_MAX
            if kind == "latency":
                given["slow_seconds"] = condition.slow_seconds
                bounds["slow_seconds"] = condition.slow_seconds, 0.001, SLOW_MAX_SECONDS
        case "drift":
            given["baseline"] = condition.baseline or BASELINE_CALLS
            bounds["baseline"] = given["baseline"], 50, 5000
    if "seconds" in given:
        bounds["seconds"] = given["seconds"], 1, WINDOW_MAX_SECONDS
    for name, (value, least, most) in bounds.items():
        if not least <= value <= most:
            raise InputInvalid(
                f"{name} of a condition {kind} is {value:g}", hint=f"give a number from {least:g} to {most:g}"
            )
    of = condition.of if kind == "cost_mean" else "call"
    return msgspec.convert({"kind": kind, "of": of, **given}, Condition, strict=False)


def checked(breaker: Breaker) -> Breaker:
    """A breaker whose conditions are filled in.

    Raises:
        InputInvalid: it cannot be.
    """
    for what, text, most in (("name", breaker.name, NAME_MAX_CHARS), ("value", breaker.value, VALUE_MAX_CHARS)):
        if not text.strip() or len(text) > most or not text.isprintable():
            raise InputInvalid(f"{text[:64]!r} is no {what} of a breaker", hint=f"1 to {most} printable characters")
    if breaker.value == OTHER or (EACH in breaker.value and breaker.value != EACH):
        raise InputInvalid(f"{breaker.value!r} cannot be watched", hint="give one name, or * for each by itself")
    if not 0.1 <= breaker.open_seconds <= OPEN_MAX_SECONDS:
        raise InputInvalid(f"it would be open for {breaker.open_seconds:g} s", hint=f"0.1 to {OPEN_MAX_SECONDS:g} s")
    if not 1 <= breaker.probes <= PROBES_MAX:
        raise InputInvalid(f"{breaker.probes} probes", hint=f"give a number from 1 to {PROBES_MAX}")
    if breaker.meanwhile == "fallback":
        if breaker.scope == "tool":
            raise InputInvalid("there is no other tool to call", hint="with the scope tool: fail, or queue")
        if breaker.scope != "model" and not breaker.fallback:
            raise InputInvalid("which model is asked meanwhile?", hint="name one as fallback")
    elif breaker.fallback:
        raise InputInvalid(f"a fallback is named, and {breaker.meanwhile!r} does not use it")
    kinds = [condition.kind for condition in breaker.conditions]
    if not 1 <= len(kinds) <= CONDITIONS_MAX or len(set(kinds)) != len(kinds):
        raise InputInvalid(
            "a breaker has at least one condition, and each kind once at most",
            hint="watch failures, error_rate, latency, cost_rate, cost_mean or drift",
        )
    if breaker.scope == "tool" and {"cost_mean", "cost_rate", "drift"} & set(kinds):
        raise InputInvalid("tools cost nothing and say nothing", hint="watch their failures, errors and latency")
    if breaker.scope == "model" and any(condition.of == "run" for condition in breaker.conditions):
        raise InputInvalid("a run is of no one model", hint="watch runs by agent, task_type or customer")
    return msgspec.structs.replace(breaker, conditions=tuple(filled(condition) for condition in breaker.conditions))


class Breaking:
    """The breakers of one tenant.

    Args:
        journal: the store.
        clock: for ids.
        tenant: whose.
    """

    def __init__(self, journal: Journal, clock: Clock, tenant: str) -> None:
        self._journal = journal
        self._store = journal.breakers
        self._clock = clock
        self._tenant = tenant

    async def all(self) -> list[Standing]:
        """Every breaker, by name."""
        view = await self._store.view()
        circuits: dict[str, list[Circuit]] = {}
        for circuit in view.circuits:
            if circuit.tenant == self._tenant:
                circuits.setdefault(circuit.name, []).append(circuit)
        return [
            Standing(breaker, circuits.get(breaker.name, []), view.now)
            for breaker in view.breakers
            if breaker.tenant == self._tenant
        ]

    async def get(self, name: str) -> Standing:
        """One of them.

        Raises:
            BreakerUnknown: there is none of that name.
        """
        found = next((standing for standing in await self.all() if standing.breaker.name == name), None)
        if found is None:
            raise BreakerUnknown(f"there is no breaker {name[:NAME_MAX_CHARS]!r}")
        return found

    async def put(self, breaker: Breaker, actor: str) -> Breaker:
        """Make or replace one; as it is kept.

        Raises:
            InputInvalid: it cannot be, or there are too many.
        """
        made = checked(msgspec.structs.replace(breaker, tenant=self._tenant))
        await self._store.put(made, actor)
        return made

    async def remove(self, name: str) -> None:
        """Take one away. What it held back goes on.

        Raises:
            BreakerUnknown: there is none of that name.
        """
        if not await self._store.remove(self._tenant, name):
            raise BreakerUnknown(f"there is no breaker {name[:NAME_MAX_CHARS]!r}")

    async def reset(self, name: str, value: str | None, actor: str, *, relearn: bool = False) -> int:
        """Close one circuit, or all; how many were open.

        Raises:
            BreakerUnknown: there is none of that name.
        """
        await self.get(name)
        return await self._store.reset(self._tenant, name, value, actor, relearn=relearn)

    async def note(self, actor: str, action: str, name: str, detail: dict[str, str | int]) -> None:
        """Put on the tenant's list of actions what somebody did at the command line; the server has its own log."""
        kept = {key: value[:500] if isinstance(value, str) else value for key, value in detail.items()}
        said = encode_said(Said(actor, action, f"breaker:{name}", dict(kept)))
        await self._journal.actions.record([NewAction(self._tenant, actor, action, said)])

    async def trip(self, name: str, value: str | None, actor: str, reason: str, seconds: float | None = None) -> UUID:
        """Open a circuit by hand; the trip's id. Nothing of its scope starts any more when this returns.

        ``value``: which circuit; may be left out where the breaker watches one value.

        Raises:
            BreakerUnknown: there is none of that name.
            InputInvalid: it is not said which circuit, or that is not one of it.
        """
        breaker = (await self.get(name)).breaker
        if value is None and breaker.value == EACH:
            raise InputInvalid(f"which {breaker.scope}?", hint="it has a circuit for each: say its name")
        if value is not None and breaker.value not in (EACH, value):
            raise InputInvalid(f"{value[:64]!r} is not what {name} watches", hint=f"that is {breaker.value!r}")
        seconds = breaker.open_seconds if seconds is None else seconds
        if not 0.1 <= seconds <= OPEN_MAX_SECONDS:
            raise InputInvalid(f"it would be open for {seconds:g} s", hint=f"0.1 to {OPEN_MAX_SECONDS:g} s")
        trip = new_id(self._clock)
        evidence = stable_json({"condition": "person", "words": reason[:500], "figures": {}, "calls": []})
        await self._store.trip((self._tenant, name, value or breaker.value), None, trip, seconds, actor, evidence)
        return trip

    async def trips(self, name: str, before: tuple[int, UUID] | None, limit: int) -> list[Trip]:
        """The trips of one breaker, newest first; also of one that is gone."""
        return await self._store.trips(self._tenant, name, before, limit)
