"""Where a replay leaves its tape, side by side: the recorded call, the attempted one, and the fields that differ."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from penstock.events import ModelIntent, RunEnded
from penstock.events.messages import decode_message
from penstock.events.prompts import prompt_refs
from penstock.gates.order.tape import Tape, identity_of
from penstock.gates.run.context import RunContext
from penstock.journal.payloads import PayloadReader, ref_address
from penstock.kernel.errors import Divergence, EventUnreadable, InputTooLarge, PayloadMissing, PenstockError

DIFFERENCES_MAX = 50
ABSENT = "(absent)"


@dataclass(slots=True, frozen=True)
class Difference:
    """One field: where, and what it is on each side."""

    place: str
    recorded: Any
    attempted: Any


@dataclass(slots=True)
class DivergenceReport:
    """The first thing that differs. ``path`` is '' when it is the run's end."""

    words: str
    hint: str
    path: str = ""
    seq: int = 0
    recorded: str = ""
    attempted: str = ""
    recorded_args: Any = None
    attempted_args: Any = None
    differences: list[Difference] = field(default_factory=list)


async def report(error: Divergence, tape: Tape, reader: PayloadReader, subject: str) -> DivergenceReport:
    """Fetch what the recorded call was made with, and compare it with what the code asks for now."""
    fields = error.fields
    path = str(fields.get("path", ""))
    opening = tape.calls[path][0] if path in tape.calls else None
    known = identity_of(opening) if opening is not None else None
    recorded_args: Any = None
    if opening is not None:
        with contextlib.suppress(PayloadMissing, EventUnreadable):
            recorded_args = await _args(opening, tape, reader, subject)
    attempted_args = msgspec.to_builtins(fields.get("attempted_args"))
    attempted = str(fields.get("attempted", ""))
    recorded = f"{known.kind} {known.name}" if known else str(fields.get("recorded", ""))
    found = []
    if recorded == attempted and recorded_args is not None and attempted_args is not None:
        found = list(differences(recorded_args, attempted_args))
    return DivergenceReport(
        error.what.splitlines()[0],
        error.advice,
        path,
        opening.seq if opening else 0,
        recorded,
        attempted or "nothing: the code does not make this call",
        recorded_args,
        attempted_args,
        found,
    )


def ending(recorded: RunEnded, reached: RunEnded, outputs: tuple[Any, Any]) -> DivergenceReport | None:
    """The report on two ends of a run that differ; None when they say the same.

    The reason's wording is not compared: an exception's text may hold addresses of this process.
    """
    pairs = [
        (name, getattr(recorded, name), getattr(reached, name))
        for name in ("outcome", "code", "missing", "needed", "simulated")
    ]
    found = [Difference(name, old, new) for name, old, new in pairs if old != new]
    if recorded.payloads != reached.payloads:
        found += list(differences(*outputs, "output")) or [Difference("output", *outputs)]
    found += differences(msgspec.to_builtins(recorded.totals), msgspec.to_builtins(reached.totals), "totals")
    if not found:
        return None
    return DivergenceReport(
        f"every call repeats, but the run ends differently: recorded {recorded.outcome}, now {reached.outcome}",
        Divergence.hint,
        seq=recorded.seq,
        recorded=f"{recorded.outcome} {recorded.reason}".strip(),
        attempted=f"{reached.outcome} {reached.reason}".strip(),
        differences=found,
    )


def differences(recorded: Any, attempted: Any, place: str = "") -> list[Difference]:
    """Where two plain values differ, at most ``DIFFERENCES_MAX`` places; numbers of lists and names of fields."""
    found = []
    for difference in _walk(recorded, attempted, place):
        found.append(difference)
        if len(found) == DIFFERENCES_MAX:
            break
    return found


def _walk(recorded: Any, attempted: Any, place: str) -> Iterator[Difference]:
    if isinstance(recorded, dict) and isinstance(attempted, dict):
        for key in sorted({*recorded, *attempted}):
            yield from _walk(recorded.get(key, ABSENT), attempted.get(key, ABSENT), f"{place}.{key}" if place else key)
    elif isinstance(recorded, list) and isinstance(attempted, list):
        for index in range(max(len(recorded), len(attempted))):
            one = recorded[index] if index < len(recorded) else ABSENT
            other = attempted[index] if index < len(attempted) else ABSENT
            yield from _walk(one, other, f"{place}[{index}]")
    elif recorded != attempted or type(recorded) is not type(attempted):
        yield Difference(place or "value", recorded, attempted)


async def _args(opening: Any, tape: Tape, reader: PayloadReader, subject: str) -> Any:
    """What a recorded call was made with, as plain values."""
    if isinstance(opening, ModelIntent):
        addresses = [ref_address(ref) for ref in prompt_refs(tape.calls, opening)]
        data = await reader.read_many(opening.tenant, subject, addresses)
        return [msgspec.to_builtins(decode_message(data[where])) for where in addresses]
    for name in ("args", "input", "value", "decision"):
        if refs := opening.payloads.get(name):
            return msgspec.json.decode(await reader.read(opening.tenant, subject, ref_address(refs[0])))
    return None


async def side_by_side(ctx: RunContext, error: PenstockError) -> dict[str, list[str]]:
    """Payload refs that let a person compare a divergence's two calls."""
    attempted = error.fields.get("attempted_args")
    refs = {name: list(refs) for name, refs in error.fields.get("recorded_payloads", {}).items()}
    if attempted is not None:
        with contextlib.suppress(InputTooLarge):  # the words must be stored in any case
            refs["attempted"] = [ctx.args_ref(attempted)]
    return refs
