"""Calls that wait for a shared limit: in order, in turn between customers, and sent away when their turn is far off."""

import asyncio
import heapq
from collections.abc import Awaitable
from typing import Any

import pytest

from penstock.adapters.memory.rates import MemoryRates
from penstock.gates.rates.lane import Lane, Later, Start, Waiter
from penstock.kernel.clock import SystemClock
from penstock.kernel.errors import JournalUnavailable
from penstock.kernel.ids import new_id
from penstock.ports.rates import Grant, Limit

SECOND = 1_000_000
START = 1_800_000_000 * SECOND


class StepClock:
    """Time that goes on when everybody sleeps."""

    def __init__(self) -> None:
        self.us = START
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []

    def now_us(self) -> int:
        return self.us

    def boot_ns(self) -> int:
        return (self.us - START + SECOND) * 1000

    async def sleep(self, seconds: float) -> None:
        wake = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.us + int(seconds * SECOND), id(wake), wake))
        await wake

    async def until(self, what: Awaitable[Any], seconds: float = 3600) -> Any:
        """Let time pass until it is done."""
        task = asyncio.ensure_future(what)
        end = self.us + seconds * SECOND
        while not task.done():
            for _ in range(20):
                await asyncio.sleep(0)
            if task.done():
                break
            assert self._sleepers, "everybody waits for ever"
            at, _, wake = heapq.heappop(self._sleepers)
            assert at <= end, "it takes too long"
            self.us = max(self.us, at)
            if not wake.done():
                wake.set_result(None)
        return task.result()


class World:
    def __init__(self, *limits: Limit, patience: float = 1000) -> None:
        self.clock = StepClock()
        self.rates = MemoryRates(self.clock.now_us)
        self.limits = limits
        self.dropped: list[int] = []
        self.lane = Lane(
            limits,
            self.rates,
            self.clock,
            new_id(SystemClock()),
            15.0,
            int(patience * SECOND),
            lambda lane, start, tokens: self.dropped.append(start),
        )

    async def ready(self) -> "World":
        for limit in self.limits:
            await self.rates.set_limit(limit, "ops")
        await self.rates.take(new_id(SystemClock()), [], [], 0, 1.0)
        self.lane.store_offset_us = self.clock.us - self.clock.boot_ns() // 1000
        return self

    def enter(self, customer: str = "a", tokens: int = 1) -> Waiter:
        waiter = Waiter(("acme", customer), tokens, self.clock.boot_ns() // 1000, "r1")
        self.lane.enter(waiter)
        return waiter


async def starts(world: World, waiters: list[Waiter]) -> list[float]:
    """When each may start, in seconds from the beginning."""
    got = [await world.clock.until(waiter.ready) for waiter in waiters]
    assert all(isinstance(item, Start) for item in got), got
    return [(item.at - START) / SECOND for item in got]


async def test_calls_go_in_the_order_in_which_they_came() -> None:
    world = await World(Limit("*", "model", "m", requests=60)).ready()
    times = await starts(world, [world.enter() for _ in range(6)])
    assert times == sorted(times)
    assert times == pytest.approx([0, 1, 2, 3, 4, 5], abs=0.05)


async def test_a_flood_of_one_customer_does_not_hold_up_another() -> None:
    world = await World(Limit("*", "model", "m", requests=60)).ready()
    flood = [world.enter("flood") for _ in range(40)]
    await world.clock.until(flood[1].ready)
    late = world.enter("small")
    (at,) = await starts(world, [late])
    assert at <= 5, "the next but few"
    assert sum(waiter.ready.done() for waiter in flood) < 10


async def test_who_gives_up_holds_up_nobody() -> None:
    world = await World(Limit("*", "model", "m", requests=60)).ready()
    first, second, third = (world.enter() for _ in range(3))
    second.ready.cancel()
    assert await starts(world, [first, third]) == pytest.approx([0, 1], abs=0.05)


async def test_a_permit_for_who_has_just_gone_is_given_back() -> None:
    world = await World(Limit("*", "model", "m", requests=600, burst=9)).ready()
    take = world.rates.take

    async def slow_take(*args: Any) -> Grant:
        grant = await take(*args)
        gone.ready.cancel()
        return grant

    world.rates.take = slow_take  # type: ignore[assignment, method-assign]
    gone, stays = world.enter(), world.enter()
    await starts(world, [stays])
    assert len(world.dropped) == 1


async def test_a_turn_that_is_far_off_is_told_and_each_gets_a_time_of_its_own() -> None:
    world = await World(Limit("*", "model", "m", requests=60), patience=10).ready()
    waiters = [world.enter() for _ in range(40)]
    await world.clock.until(waiters[0].ready)
    away = [waiter.ready.result() for waiter in waiters if waiter.ready.done()][2:]
    assert 20 <= len(away) <= 32
    assert all(isinstance(item, Later) for item in away)
    seconds = [(item.at - START) / SECOND for item in away if isinstance(item, Later)]
    assert seconds == pytest.approx([12 + place for place in range(len(away))], abs=4)
    assert isinstance(world.lane.put_off(1), Later) or len(world.lane) < 10


async def test_a_cool_down_longer_than_patience_sends_everybody_away_at_once() -> None:
    world = await World(Limit("*", "model", "m", requests=60), patience=10).ready()
    await world.rates.cool_down(("*", "model", "m"), 120, "rate_limited")
    waiter = world.enter()
    got = await world.clock.until(waiter.ready)
    assert isinstance(got, Later)
    assert got.at == START + 120 * SECOND


async def test_while_the_store_is_away_calls_wait() -> None:
    world = await World(Limit("*", "model", "m", requests=60)).ready()
    take, tries = world.rates.take, 0

    async def flapping(*args: Any) -> Grant:
        nonlocal tries
        tries += 1
        if tries < 4:
            raise JournalUnavailable("away")
        return await take(*args)

    world.rates.take = flapping  # type: ignore[assignment, method-assign]
    (at,) = await starts(world, [world.enter()])
    assert 0.5 < at < 3


async def test_an_error_reaches_who_waits() -> None:
    world = await World(Limit("*", "model", "m", requests=60)).ready()

    async def broken(*args: Any) -> Grant:
        raise LookupError("a bug")

    world.rates.take = broken  # type: ignore[assignment, method-assign]
    waiter = world.enter()
    with pytest.raises(LookupError):
        await world.clock.until(waiter.ready)
    world.rates.take = MemoryRates(world.clock.now_us).take  # type: ignore[method-assign]
    assert await starts(world, [world.enter()])


async def test_under_load_calls_share_statements() -> None:
    world = await World(Limit("*", "model", "m", requests=600_000, burst=100_000)).ready()
    take, asked = world.rates.take, []

    async def counted(*args: Any) -> Grant:
        asked.append(len(args[2]))
        return await take(*args)

    world.rates.take = counted  # type: ignore[assignment, method-assign]

    async def one(number: int) -> None:
        await world.clock.sleep(number / 1000)  # a thousand a second
        await world.enter().ready

    await world.clock.until(asyncio.gather(*(one(number) for number in range(2000))))
    assert sum(asked) == 2000
    assert len(asked) <= 250, "one statement each 10 ms or so, for 1,000 calls a second"
