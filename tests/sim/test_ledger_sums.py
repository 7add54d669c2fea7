"""Under seeded faults the ledger is the sum of the tapes, and of what the runs were charged, to the nano-dollar."""

import contextlib
from collections import Counter
from uuid import UUID

import pytest
from tests.sim.world.seeds import World

from penstock import Settings
from penstock.adapters.memory.records import Run
from penstock.events import (
    ChildIntent,
    ChildOutcome,
    ModelIntent,
    ModelOutcome,
    RunEnded,
    ToolIntent,
    ToolOutcome,
    decode,
)
from penstock.ports.records import Status
from penstock.runs.usage import Counting
from penstock.wiring import assemble

pytestmark = pytest.mark.usefixtures("killed_processes")
SEEDS = 60
TOP = 2**52


def charged(run: Run) -> tuple[int, int, Counter[str]]:
    """What a run's tape says it spent itself, what its end says it was charged for itself, and what there was."""
    open_calls: dict[tuple[str, int], int] = {}
    children: dict[str, int] = {}
    spent, below, totals, seen = 0, 0, 0, Counter[str]()
    for row in run.tape:
        match decode(row.body):
            case ModelIntent() | ToolIntent() as event:
                open_calls[event.path, event.attempt] = event.reserved.nano
            case ModelOutcome() | ToolOutcome() as event:
                open_calls.pop((event.path, event.attempt), None)
                spent += event.used.nano
                seen[event.status] += 1
            case ChildIntent() as event:
                children[event.path] = event.reserved.nano
            case ChildOutcome() as event:
                children.pop(event.path, None)
                below += event.totals.nano
            case RunEnded() as event:
                totals = event.totals.nano
                seen["open at the end"] += len(open_calls)
            case _:
                pass
    return spent + sum(open_calls.values()), totals - below - sum(children.values()), seen


async def compare(world: World, seen: Counter[str]) -> None:
    """Count all that has ended, and compare."""
    journal = world.database.memory
    counting = Counting(assemble(journal, Settings(usage_every_seconds=0.05)).services)
    ended = [run for run in journal._store.runs.values() if run.status is Status.ENDED]
    of_tapes: Counter[str] = Counter()
    of_rows: Counter[str] = Counter()
    for run in ended:
        spent, row, found = charged(run)
        assert spent == row, f"seed {world.seed}: run {run.new.id}"
        of_tapes[run.new.tenant] += spent
        of_rows[run.new.tenant] += row
        seen.update(found)
    while await journal.usage.behind(1):
        await journal.usage.end_turn(UUID(int=0), 0)
        assert await counting.look() or not await journal.usage.behind(1)
        await journal.usage.end_turn(counting._holder, 0)
    for tenant, spent in of_tapes.items():
        for by in ("agent", "model", "kind", "customer", ("model", "kind", "user")):
            groups = await journal.usage.sums(tenant, by, 0, TOP, {})
            assert sum(group.nano for group in groups) == spent == of_rows[tenant], (world.seed, tenant, by)
        seen["money"] += spent
        seen["runs"] += sum(group.runs for group in await journal.usage.sums(tenant, "agent", 0, TOP, {}))
        for group in await journal.usage.sums(tenant, "kind", 0, TOP, {}):
            seen[f"kind {group.value}"] += group.nano
    assert seen["ended"] == 0
    seen["all runs"] += len(ended)


def test_the_ledger_is_the_sum_of_the_tapes_and_of_the_rows() -> None:
    seen: Counter[str] = Counter()
    for seed in range(SEEDS):
        world = World(seed)

        async def play(world: World = world) -> None:
            await world.run()
            await compare(world, seen)

        with contextlib.closing(world.loop):
            world.loop.run_until_complete(play())
    assert seen["runs"] == seen["all runs"] > 5 * SEEDS
    assert seen["money"] > 0
    assert seen["lost"] > 1
    assert seen["open at the end"] > 1
    assert min(seen[f"kind {kind}"] for kind in ("work", "retry", "fallback", "cancelled", "lost")) > 0
