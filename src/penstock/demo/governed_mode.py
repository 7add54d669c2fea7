"""The third mode: the same desk under Penstock."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec

from penstock.demo.bank import Bank
from penstock.demo.meter import MeteredModel
from penstock.demo.result import ModeResult
from penstock.demo.support import SupportDesk
from penstock.demo.support_tools import BankTools
from penstock.demo.world import World, measure
from penstock.events import Waiting
from penstock.kernel.clock import wall_seconds
from penstock.ports.journal import Journal
from penstock.ports.model import Model
from penstock.ports.records import RunFilter, RunRow, Status
from penstock.runs.client import Penstock
from penstock.runs.submit import Request

_LOOK_SECONDS = 0.1
_PAGE = 1000
_waiting = msgspec.json.Decoder(list[Waiting])


@dataclass(frozen=True, slots=True)
class Governed:
    """A worked world: its figures, and its runs in the order of the tickets."""

    result: ModeResult
    tenant: str
    runs: list[UUID]


async def work_governed(
    platform: Penstock,
    bank: Bank,
    world: World,
    model: Model,
    *,
    extra: Mapping[str, Any] | None,
    advance: Callable[[int], None],
) -> Governed:
    """Work all tickets of a world; returns when every run has ended or waits for a person. ``advance`` is told how many
    have."""
    tools, metered = BankTools(bank), MeteredModel(model)
    desk = SupportDesk(tools, metered, extra=dict(extra or {}))
    began = wall_seconds()
    tags = {"feature": "demo", "x_world": world.code}
    texts = [world.text(number) for number in range(len(world.tickets))]
    runs = await platform.submit_many([Request(desk, text, tags=tags) for text in texts])
    await _settled(platform, set(runs), advance)
    seconds = wall_seconds() - began
    rows = {row.id: row for row in await _rows(platform.journal, platform.tenant, set(runs))}
    waiting = {number for number, run in enumerate(runs) if _waits_for_person(rows[run])}
    result = await measure(
        bank,
        world,
        metered.readings,
        waiting=waiting,
        approvals=sum(_approvals(row) for row in rows.values()),
        tool_calls=tools.calls,
        stopped={number for number, run in enumerate(runs) if rows[run].outcome == "exhausted"},
        wall_seconds=seconds,
    )
    return Governed(result, platform.tenant, runs)


async def dismiss(platform: Penstock, runs: Sequence[UUID]) -> None:
    """Cancel the runs that still wait for a person, and see them end."""
    parked = await platform.journal.list_runs(platform.tenant, RunFilter(status=Status.PARKED), _PAGE)
    waiting = [row.id for row in parked if row.id in set(runs)]
    for run in waiting:
        await platform.cancel(run, actor="demo", reason="only a measurement")
    await asyncio.gather(*(platform.result(run, timeout_seconds=60) for run in waiting))


def _approvals(row: RunRow) -> int:
    return sum(item.kind == "approval" for item in _waiting.decode(row.waiting))


def _waits_for_person(row: RunRow) -> bool:
    return row.status is Status.PARKED or row.outcome == "escalated"


async def _settled(platform: Penstock, runs: set[UUID], advance: Callable[[int], None]) -> None:
    """Wait until none of the runs is queued or running."""
    while True:
        active: set[UUID] = set()
        for status in (Status.QUEUED, Status.RUNNING):
            page = await platform.journal.list_runs(platform.tenant, RunFilter(status=status), _PAGE)
            active |= {row.id for row in page} & runs
        if not active:
            break
        advance(len(runs) - len(active))
        await asyncio.sleep(_LOOK_SECONDS)
    advance(len(runs))


async def _rows(journal: Journal, tenant: str, runs: set[UUID]) -> list[RunRow]:
    """The rows of the runs, from newest to oldest."""
    found: list[RunRow] = []
    before: UUID | None = None
    while len(found) < len(runs):
        page = await journal.list_runs(tenant, RunFilter(before=before), _PAGE)
        found += [row for row in page if row.id in runs]
        if len(page) < _PAGE:
            break
        before = page[-1].id
    return found
