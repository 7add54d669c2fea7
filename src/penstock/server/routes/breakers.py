"""Circuit breakers: how they stand and what tripped them; setting, tripping and closing them."""

import binascii
from typing import Annotated
from uuid import UUID

import msgspec
from fastapi import APIRouter, Path, Query

from penstock.kernel.errors import CursorInvalid
from penstock.ports.breakers import Breaker, Circuit, Condition, Trip
from penstock.runs.breakers import NAME_MAX_CHARS, Breaking, Standing
from penstock.server.access.caller import Caller, needs
from penstock.server.context import Here, Server
from penstock.server.schemas.base import Limit
from penstock.server.schemas.breakers import (
    BreakerCircuit,
    BreakerCondition,
    BreakerDone,
    BreakerPage,
    BreakerReset,
    BreakerSet,
    BreakerShown,
    BreakerTrip,
    BreakerTripPage,
    BreakerTripped,
)

CIRCUITS_SHOWN = 20
"""Circuits that come with a breaker in the list."""

router = APIRouter(prefix="/v1/breakers", tags=["breakers"])

Reader = Annotated[Caller, needs("runs:read")]
Setter = Annotated[Caller, needs("breakers:set")]
Name = Annotated[str, Path(min_length=1, max_length=NAME_MAX_CHARS)]


@router.get("")
async def breakers_list(
    server: Here,
    caller: Reader,
    cursor: Annotated[str | None, Query(max_length=NAME_MAX_CHARS)] = None,
    limit: Annotated[Limit, Query()] = 100,
) -> BreakerPage:
    """The tenant's breakers by name."""
    known = [item for item in await _breaking(server, caller).all() if cursor is None or item.breaker.name > cursor]
    page = known[:limit]
    items = [_shown(item, CIRCUITS_SHOWN) for item in page]
    return BreakerPage(items=items, next=page[-1].breaker.name if len(known) > limit else None)


@router.get("/{name}")
async def breakers_get(server: Here, caller: Reader, name: Name) -> BreakerShown:
    """One breaker, with all its circuits."""
    return _shown(await _breaking(server, caller).get(name), None)


@router.get("/{name}/trips")
async def breakers_trips(
    server: Here,
    caller: Reader,
    name: Name,
    cursor: Annotated[str, Query(max_length=60)] = "",
    limit: Annotated[Limit, Query()] = 50,
) -> BreakerTripPage:
    """What tripped it, newest first, each with its evidence; kept for 90 days, also when the breaker is gone."""
    breaking = _breaking(server, caller)
    found = await breaking.trips(name, _place(cursor) if cursor else None, limit)
    if not found and not cursor:
        await breaking.get(name)  # a name that was never there is none
    more = f"{found[-1].at:x}.{found[-1].id.hex}" if len(found) == limit else None
    return BreakerTripPage(items=[_tripped(trip) for trip in found], next=more)


@router.put("/{name}")
async def breakers_set(server: Here, caller: Setter, name: Name, body: BreakerSet) -> BreakerShown:
    """Make one, or replace it. Its circuits keep their state."""
    breaking = _breaking(server, caller)
    conditions = tuple(Condition(**condition.model_dump()) for condition in body.conditions)
    given = body.model_dump(exclude={"conditions"})
    await breaking.put(Breaker(tenant=caller.tenant, name=name, conditions=conditions, **given), caller.actor)
    await server.actions.record(caller, "breaker.set", f"breaker:{name}", {"scope": body.scope, "value": body.value})
    return _shown(await breaking.get(name), None)


@router.delete("/{name}")
async def breakers_remove(server: Here, caller: Setter, name: Name) -> BreakerDone:
    """Take one away. What it held back goes on."""
    await _breaking(server, caller).remove(name)
    await server.actions.record(caller, "breaker.remove", f"breaker:{name}", {})
    return BreakerDone()


@router.post("/{name}/reset")
async def breakers_reset(server: Here, caller: Setter, name: Name, body: BreakerReset) -> BreakerDone:
    """Close a circuit, or all of them."""
    closed = await _breaking(server, caller).reset(name, body.value, caller.actor, relearn=body.relearn)
    detail = {"value": body.value or "", "reason": body.reason, "closed": closed}
    await server.actions.record(caller, "breaker.reset", f"breaker:{name}", detail)
    return BreakerDone(closed=closed)


@router.post("/{name}/trip")
async def breakers_trip(server: Here, caller: Setter, name: Name, body: BreakerTripped) -> BreakerDone:
    """Open a circuit by hand. Nothing of its scope starts any more when this is answered."""
    trip = await _breaking(server, caller).trip(name, body.value, caller.actor, body.reason, body.seconds)
    detail = {"value": body.value or "", "reason": body.reason, "trip": str(trip)}
    await server.actions.record(caller, "breaker.trip", f"breaker:{name}", detail)
    return BreakerDone(trip=trip)


def _breaking(server: Server, caller: Caller) -> Breaking:
    return Breaking(server.journal, server.platform.services.clock, caller.tenant)


def _shown(standing: Standing, most: int | None) -> BreakerShown:
    breaker = standing.breaker
    order = {"open": 0, "half_open": 1, "closed": 2}
    circuits = sorted(standing.circuits, key=lambda circuit: (order[circuit.state(standing.now)], circuit.value))
    fields = msgspec.structs.asdict(breaker)
    conditions = [BreakerCondition(**msgspec.structs.asdict(condition)) for condition in breaker.conditions]
    return BreakerShown(
        **{name: fields[name] for name in BreakerSet.model_fields if name != "conditions"},
        name=breaker.name,
        conditions=conditions,
        open=standing.count("open"),
        half_open=standing.count("half_open"),
        circuits=[_circuit(breaker, circuit, standing.now) for circuit in circuits[:most]],
    )


def _circuit(breaker: Breaker, circuit: Circuit, now: int) -> BreakerCircuit:
    return BreakerCircuit(
        value=circuit.value,
        state=circuit.state(now),
        opened_at=circuit.opened_at if circuit.is_open else None,
        until=circuit.until if circuit.is_open else None,
        probes_ok=circuit.probes_ok,
        expected_nano=circuit.expected(breaker),
        trip=circuit.trip,
    )


def _tripped(trip: Trip) -> BreakerTrip:
    return BreakerTrip(
        id=trip.id,
        value=trip.value,
        at=trip.at,
        by=trip.by,
        sealed=trip.sealed,
        closed_at=trip.closed_at,
        closed_by=trip.closed_by,
        evidence=msgspec.json.decode(trip.evidence),
    )


def _place(cursor: str) -> tuple[int, UUID]:
    at, _, trip = cursor.partition(".")
    try:
        return int(at, 16) & (2**52 - 1), UUID(bytes=binascii.unhexlify(trip))
    except ValueError:
        raise CursorInvalid(f"{cursor[:60]!r} is no cursor of trips") from None
