"""The measured process of `budgets`: reservations by themselves, and what is simulated."""

import asyncio
import json
import time

from benchmarks.budgets_books import CALL_NANO, Plan
from benchmarks.budgets_calls import AGENT
from benchmarks.budgets_simulated import World
from benchmarks.child import say, told
from benchmarks.figures import quantile
from penstock import Settings
from penstock.adapters.memory.budgets import MemoryBudgets
from penstock.events import Amount, ModelIntent, ModelOutcome
from penstock.gates.budgets.charging import Charging
from penstock.gates.budgets.share import Hold
from penstock.gates.budgets.shares import Shares
from penstock.kernel.clock import SystemClock
from penstock.kernel.ids import new_id
from penstock.ports.budgets import EACH, Budget

MUCH = 10**15
TAGS = {"customer": "acme", "feature": "inbox", "key": "k-1"}
LEVELS: tuple[dict[str, str], ...] = ({}, {"customer": EACH}, {"feature": EACH}, {"agent": EACH}, {"key": EACH})


def main() -> None:
    """Answer what is asked until told to stop."""
    say(ready=True)
    while (word := asyncio.run(told())) != "stop":
        asked = json.loads(word)
        if asked["what"] == "reserve":
            say(**asyncio.run(reservations(asked["count"])))
        elif asked["what"] == "crowd":
            say(**crowd(quick=asked["quick"]))
        else:
            say(**chaos(quick=asked["quick"]))


async def reservations(count: int) -> dict[str, float]:
    """Microseconds of reserving, and of all that a call does with its reservation."""
    clock = SystemClock()
    store = MemoryBudgets(clock.now_us)
    for number, match in enumerate(LEVELS):
        await store.put(Budget("t", f"level{number}", match, "total", nano=MUCH, tokens=MUCH, calls=MUCH), "bench")
    shares = Shares(store, clock, Settings())
    charging = Charging(shares, "t", [])
    amount, run, now_ns = Amount(1000, 500, CALL_NANO), new_id(clock), time.perf_counter_ns
    took, whole = [], []
    for number in range(count + count // 10):
        if number % 1000 == 0:
            await asyncio.sleep(0)  # for the turns with the store
        begun = now_ns()
        hold = await shares.reserve("t", AGENT, TAGS, amount)
        reserved = now_ns()
        assert isinstance(hold, Hold)
        assert len(hold.shares) == len(LEVELS)
        intent = ModelIntent(
            tenant="t", run=run, agent=AGENT, path="1", model="m", digest="d", attempt=number, reserved=amount,
            charged=hold.accounts,
        )  # fmt: skip
        outcome = ModelOutcome(tenant="t", run=run, agent=AGENT, path="1", attempt=number, used=amount)
        made = now_ns()
        charging.expect(hold)
        for event in (intent, outcome):
            charges = charging(event)
            assert charges is not None
            charges.applied()
        ended = now_ns()
        if number >= count // 10:
            took.append(reserved - begun)
            whole.append(reserved - begun + ended - made)
    await shares.close()
    return {
        "median": quantile(took, 0.5) / 1e3,
        "p99": quantile(took, 0.99) / 1e3,
        "whole": quantile(whole, 0.5) / 1e3,
        "count": count,
    }


def crowd(*, quick: bool) -> dict[str, float]:
    """100,000 calls a second against 1,000 budgets that run out; a tenth of both if quick."""
    plan = Plan(customers=990, features=9, processes=4, calls_a_second=100_000, seconds=5.0)
    if quick:
        plan = Plan(customers=99, features=9, processes=4, calls_a_second=10_000, seconds=5.0)
    world = World(plan)
    world.run()
    used, counts = world.used_when_refused, world.counts
    return {
        "budgets": len(world.truth.limits),
        "processes": plan.processes,
        "seconds": plan.seconds,
        "asked": counts.asked,
        "refused": counts.refused,
        "over": world.truth.over,
        "least_used": min(used.values()),
        "spent_up": len(used),
        "largest": 1 / plan.limit,
        "leaked": world.leaked,
    }


def chaos(*, quick: bool) -> dict[str, float]:
    """A million crashes, disconnects and retries; a hundredth, if quick."""
    world = World(
        Plan(
            customers=40, features=4, processes=8, calls_a_second=4_000, shared=2.0,
            incidents=10_000 if quick else 1_000_000,
        )
    )  # fmt: skip
    world.run()
    counts = world.counts
    return {
        "budgets": len(world.truth.limits),
        "incidents": counts.incidents,
        "asked": counts.asked,
        "crashes": counts.crashes,
        "stalls": counts.stalls,
        "interrupted": counts.interrupted,
        "lost_appends": counts.lost_appends,
        "lost_turns": counts.lost_turns,
        "retries": counts.retries,
        "at_maximum": counts.at_maximum,
        "share_lost": counts.share_lost,
        "over": world.truth.over,
        "leaked": world.leaked,
        "apart": world.apart,
    }


if __name__ == "__main__":
    main()
