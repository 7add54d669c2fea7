"""``penstock breakers ls`` and ``penstock breakers show``."""

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from penstock.cli.breakers.options import (
    BreakerName,
    ForTenant,
    breaking,
    condition_words,
    meanwhile_words,
    scope_words,
)
from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute
from penstock.cli.options import AsJson
from penstock.cli.output import columns, note, plain, print_json, say
from penstock.cli.text import safe

if TYPE_CHECKING:
    from penstock.ports.breakers import Circuit, Trip
    from penstock.runs.breakers import Standing


def ls(tenant: ForTenant = None, as_json: AsJson = False) -> int:
    """List the breakers: what they watch, when they trip, how many of their circuits are open."""
    return execute(_ls(tenant, as_json))


async def _ls(tenant: str | None, as_json: bool) -> int:
    async with breaking(tenant) as breakers:
        found = await breakers.all()
    if as_json:
        print_json([_plain(standing) for standing in found])
    elif found:
        table = []
        for standing in found:
            breaker = standing.breaker
            conditions = "; ".join(condition_words(condition) for condition in breaker.conditions)
            table.append((safe(breaker.name), scope_words(breaker), conditions, _state(standing)))
        say(columns(("NAME", "WATCHES", "TRIPS WHEN", "STATE"), table, drop=("TRIPS WHEN",)))
    else:
        note("no breakers; `penstock breakers set models --scope model --failures 5` sets one")
    return ExitCode.OK


def show(
    name: BreakerName,
    limit: Annotated[int, typer.Option("--limit", min=1, max=200, help="Trips to show, at most.")] = 5,
    tenant: ForTenant = None,
    as_json: AsJson = False,
) -> int:
    """Show a breaker, its circuits, and what tripped it."""
    return execute(_show(name, limit, tenant, as_json))


async def _show(name: str, limit: int, tenant: str | None, as_json: bool) -> int:
    async with breaking(tenant) as breakers:
        standing = await breakers.get(name)
        trips = await breakers.trips(name, None, limit)
    if as_json:
        print_json({**_plain(standing), "trips": [_plain_trip(trip) for trip in trips]})
        return ExitCode.OK
    breaker = standing.breaker
    say(f"{safe(breaker.name)}: {scope_words(breaker)}; {meanwhile_words(breaker)} while it is open")
    for condition in breaker.conditions:
        say(f"  trips when {condition_words(condition)}")
    say(f"  open for {breaker.open_seconds:g} s, then closed after {breaker.probes} good probes")
    for circuit in standing.circuits:
        say(f"  {safe(circuit.value)}: {_circuit(circuit, standing)}")
    for trip in trips:
        _say_trip(trip)
    return ExitCode.OK


def _state(standing: "Standing") -> str:
    is_open, half = standing.count("open"), standing.count("half_open")
    words = [f"{is_open} open"] if is_open else []
    words += [f"{half} half-open"] if half else []
    return ", ".join(words) or "closed"


def _circuit(circuit: "Circuit", standing: "Standing") -> str:
    from penstock.kernel.money import show_usd
    from penstock.views.lines import duration

    state = circuit.state(standing.now)
    if state == "open":
        return f"open for another {duration(circuit.until - standing.now)}"
    if state == "half_open":
        return f"half-open, {circuit.probes_ok} of {standing.breaker.probes} probes were good"
    expected = circuit.expected(standing.breaker)
    if expected is not None:
        return f"closed; {show_usd(expected)} are expected"
    return f"closed; learning from {circuit.base_samples} so far" if circuit.base_samples else "closed"


def _say_trip(trip: "Trip") -> None:
    from penstock.views.lines import clock_time

    said = msgspec.json.decode(trip.evidence)
    closed = "" if trip.closed_at is None else f"; closed at {clock_time(trip.closed_at)} by {trip.closed_by}"
    say(safe(f"  tripped at {clock_time(trip.at)} for {trip.value} by {trip.by}: {said['words']}{closed}"))
    for run in dict.fromkeys(call["run"] for call in said["calls"]):
        say(f"    run {run}")


def _plain(standing: "Standing") -> dict[str, Any]:
    breaker = standing.breaker
    circuits = [
        {
            "value": circuit.value,
            "state": circuit.state(standing.now),
            "until": circuit.until or None,
            "probes_ok": circuit.probes_ok,
            "expected_nano": circuit.expected(breaker),
        }
        for circuit in standing.circuits
    ]
    return {
        **msgspec.structs.asdict(breaker),
        "conditions": [msgspec.structs.asdict(condition) for condition in breaker.conditions],
        "circuits": circuits,
    }


def _plain_trip(trip: "Trip") -> dict[str, Any]:
    said: dict[str, Any] = plain(trip)
    return {**said, "evidence": msgspec.json.decode(trip.evidence)}
