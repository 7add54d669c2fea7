"""Budgets above the task: what a reservation costs, what five levels of them add to a run, and what is left over or
missing after 100,000 calls a second against 1,000 of them, and after a million crashes, disconnects and retries.

The first is one process. Runs are made by a worker on PostgreSQL, in rounds that take turns: without any budget, with
five of dollars, which calls of models are reserved in, and with five of all, which calls of tools are reserved in too.
The rest is simulated, in time that passes when nothing else is left to do: see `budgets_simulated`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import asyncpg

import penstock
from benchmarks.bench import Bench
from benchmarks.child import Child
from benchmarks.desk import AGENT
from benchmarks.figures import Figure
from benchmarks.runs import Desk, Numbers, spend
from penstock import Settings
from penstock.ports.budgets import EACH, Budget

GROUP = "Budgets above the task"
TENANT = "bench-budgets"
TAGS = {"customer": "acme", "feature": "inbox", "x_key": "k-1"}
MUCH = 10**15
"""Nano-dollars: none of the budgets comes near its end."""
LEVELS: tuple[dict[str, str], ...] = ({}, {"customer": EACH}, {"feature": EACH}, {"agent": EACH}, {"x_key": EACH})
"""What the five budgets match: the organisation, and each customer, feature, agent and key."""
ROUNDS, QUICK_ROUNDS = 8, 2
RUNS, QUICK_RUNS = 1_000, 150
_SPENT = "SELECT coalesce(sum(nano), 0)::bigint, coalesce(sum(tokens), 0)::bigint FROM penstock.runs WHERE tenant = $1"


async def measure(bench: Bench) -> list[Figure]:
    """See the module.

    Raises:
        RuntimeError: a run was lost or doubled, or an account is not what the runs have spent.
    """
    child = await Child.start("budgets_worker")
    bench.say("a reservation in the process")
    figures = [_reservation(await _asked(child, what="reserve", count=20_000 if bench.quick else 200_000))]
    figures += await _runs(bench)
    for what, words in (("crowd", "1,000 budgets under 100,000 calls a second"), ("chaos", "crashes and disconnects")):
        bench.say(words)
        said = await _asked(child, what=what, quick=bench.quick)
        figures += (_crowd if what == "crowd" else _chaos)(said)
    await child.stop()
    return figures


async def _asked(child: Child, **question: object) -> dict[str, float]:
    return await child.asked(json.dumps(question))


def _reservation(said: dict[str, float]) -> Figure:
    return Figure(
        GROUP,
        "a reservation in the process, five levels",
        said["median"],
        "µs, median",
        "10 µs",
        f"the shares hold it; P99 {said['p99']:.1f} µs; with its intent's and outcome's charges and what is given back "
        f"{said['whole']:.1f} µs; {said['count']:,.0f} calls",
    )


@dataclass(slots=True, frozen=True)
class _Side:
    """Rounds with such limits (none: without budgets), and the ms of CPU a run of the worker and of PostgreSQL."""

    name: str
    limits: Mapping[str, Any]
    worker: list[float] = field(default_factory=list)
    server: list[float] = field(default_factory=list)


async def _runs(bench: Bench) -> list[Figure]:
    """What budgets add to a run."""
    numbers, runs = Numbers(), QUICK_RUNS if bench.quick else RUNS
    desk = Desk("benchmarks.desk", AGENT, TENANT, TAGS)
    none = _Side("none", {})
    sides = [
        none,
        _Side("of dollars", {"nano": MUCH}),
        _Side("of dollars, tokens and calls", {"nano": MUCH, "tokens": MUCH, "calls": MUCH}),
    ]
    others = []
    await spend(bench, numbers, workers=1, runs=runs, alongside=False, desk=desk)
    for _ in range(QUICK_ROUNDS if bench.quick else ROUNDS):
        for side in sides:
            before = await _spent(bench)
            await _put(bench, side)
            spent = await spend(bench, numbers, workers=1, runs=runs, alongside=False, desk=desk)
            side.worker.append(spent.per_run(spent.worker_cpu) * 1e3)
            side.server.append(spent.per_run(spent.server_cpu) * 1e3)
            others.append(spent.others)
            after = await _spent(bench)
            await _removed(bench, side, (after[0] - before[0], after[1] - before[1]))
        sides.reverse()  # what comes later finds larger tables
    how = f"{len(others) // 3} rounds of {runs:,} runs, in turns; other work took {median(others):.2f} cores"
    figures = []
    for name, part, aim in (("the worker", "worker", "at most 1.05"), ("PostgreSQL", "server", "")):
        for side in sides:
            if side is not none:
                without, with_five = getattr(none, part), getattr(side, part)
                ratios = sorted(one / other for one, other in zip(with_five, without, strict=True))
                note = (
                    f"medians {median(with_five):.2f} ms a run, {median(without):.2f} ms without; rounds' ratios from "
                    f"{ratios[0]:.3f} to {ratios[-1]:.3f}; {how}"
                )
                ratio = median(with_five) / median(without)
                figures.append(
                    Figure(GROUP, f"CPU of {name}, five levels {side.name} over none", ratio, "times", aim, note)
                )
    return figures


async def _put(bench: Bench, side: _Side) -> None:
    if not side.limits:
        return
    async with penstock.open(Settings(database_url=bench.server.dsn)) as platform:
        for number, match in enumerate(LEVELS):
            budget = Budget(TENANT, f"level{number}", match, "total", **side.limits)
            await platform.journal.budgets.put(budget, "bench")


async def _spent(bench: Bench) -> tuple[int, int]:
    """Nano-dollars and tokens of all runs so far."""
    connection = await asyncpg.connect(bench.server.dsn)
    try:
        nano, tokens = await connection.fetchrow(_SPENT, TENANT)
    finally:
        await connection.close()
    return int(nano), int(tokens)


async def _removed(bench: Bench, side: _Side, spent: tuple[int, int]) -> None:
    """Remove the budgets, whose accounts must be what was spent.

    Raises:
        RuntimeError: they are not.
    """
    if not side.limits:
        return
    async with penstock.open(Settings(database_url=bench.server.dsn)) as platform:
        budgets = platform.journal.budgets
        for number in range(len(LEVELS)):
            [account] = await budgets.accounts(TENANT, f"level{number}")
            if account.used[:2] != spent or any(account.held):
                raise RuntimeError(f"the runs spent {spent}; account {account.who} has {account.used}, {account.held}")
            await budgets.remove(TENANT, f"level{number}")


def _crowd(said: dict[str, float]) -> list[Figure]:
    how = (
        f"{said['budgets']:,.0f} budgets, {said['processes']:.0f} processes, {said['asked']:,.0f} calls in "
        f"{said['seconds']:.0f} simulated seconds, each in three of them; {said['refused']:,.0f} refused"
    )
    return [
        Figure(GROUP, "most over a budget, 100,000 calls a second", said["over"], "nano-dollars", "0", how),
        Figure(
            GROUP,
            "used of a budget when it first refused, the least of all",
            100 * said["least_used"],
            "%",
            "at least 95 %",
            f"of {said['spent_up']:,.0f} budgets that were used up; a call is at most {100 * said['largest']:.2f} % of "
            "them, and uses between a twentieth and all of what it reserves",
        ),
    ]


def _chaos(said: dict[str, float]) -> list[Figure]:
    how = (
        f"{said['incidents']:,.0f} incidents: {said['crashes']:,.0f} processes died, {said['stalls']:,.0f} stalled "
        f"past their lease, which interrupted {said['interrupted']:,.0f} runs; {said['lost_appends']:,.0f} appends and "
        f"{said['lost_turns']:,.0f} turns with the store were lost, or their answers; {said['retries']:,.0f} calls "
        f"were made again; {said['asked']:,.0f} calls, {said['at_maximum']:,.0f} settled at their maximum"
    )
    return [
        Figure(GROUP, "reservations leaked or doubled after the incidents", said["leaked"], "", "0", how),
        Figure(
            GROUP,
            "accounts less what the calls were charged",
            said["apart"],
            "nano-dollars",
            "0",
            f"{said['budgets']:,.0f} accounts; the sum of the differences, tokens and calls agree too",
        ),
        Figure(GROUP, "most over a budget meanwhile", said["over"], "nano-dollars", "0"),
    ]
