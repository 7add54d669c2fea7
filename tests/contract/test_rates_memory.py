"""Shared rate limits in memory pass the conformance suite; any course of events keeps their bounds."""

import asyncio
import random
from typing import Any

import pytest
from hypothesis import given, settings
from tests.contract.rates_suite import LEASE, SECOND, STEPS, RatesSuite, RatesWorld, holder

from penstock.adapters.memory.rates import MemoryRates
from penstock.ports.rates import Limit, Returned

START = 1_800_000_000_000_000


class MemoryWorld(RatesWorld):
    def __init__(self) -> None:
        self.us = START
        self.rates = MemoryRates(lambda: self.us)

    async def advance(self, seconds: float) -> None:
        self.us += int(seconds * SECOND)


class TestMemoryRates(RatesSuite):
    @pytest.fixture
    def world(self) -> RatesWorld:
        return MemoryWorld()


LIMIT = Limit("*", "model", "m", requests=20, tokens=1500, burst=5)


@settings(max_examples=150)
@given(STEPS)
def test_no_course_of_events_breaks_a_bound(steps: list[tuple[str, Any]]) -> None:
    asyncio.run(_keeps_its_bounds(steps))


@pytest.mark.parametrize("seed", range(6))
def test_who_always_asks_gets_no_more(seed: int) -> None:
    """Greed for ten minutes, with what was not used given back: the edge of every window is met."""
    chance = random.Random(seed)
    steps: list[tuple[str, Any]] = []
    while sum(value for step, value in steps if step == "wait") < 600_000:
        steps.append(("take", [chance.randrange(1, 400) for _ in range(8)]))
        steps.append(("wait", chance.choice([1, 50, 250, 900, 1000])))
        if chance.random() < 0.3:
            steps.append(("settle", chance.randrange(400)))
    assert asyncio.run(_keeps_its_bounds(steps)) > 100


async def _keeps_its_bounds(steps: list[tuple[str, Any]]) -> int:
    """Go through the steps and check every window; how many calls were let through."""
    world = MemoryWorld()
    key = await world.limit(LIMIT)
    who = holder()
    made: list[list[int]] = []  # start, tokens that count
    for step, value in steps:
        if step == "wait":
            await world.advance(value / 1000)
        elif step == "take":
            grant = await world.rates.take(who, [key], value, 0, LEASE)
            made += [[start, min(tokens, 1500)] for start, tokens in zip(grant.starts, value, strict=False)]
        elif made and made[-1][1] >= value:
            back = Returned(key, made[-1][0] // SECOND, value)
            made[-1][1] -= value
            await world.rates.settle(who, [back], LEASE)
    for first, _ in made:
        minute = [call for call in made if first <= call[0] < first + 60 * SECOND]
        assert len(minute) <= 20
        assert sum(tokens for _, tokens in minute) <= 1500
        for length in (1, 3, 10):
            near = [call for call in made if first <= call[0] < first + length * SECOND]
            assert len(near) <= 5 + length * 20 / 60
    return len(made)
