"""Circuit breakers in memory pass the conformance suite."""

import pytest
from tests.contract.breakers_suite import BreakersSuite, BreakersWorld

from penstock.adapters.memory import MemoryJournal
from penstock.kernel.clock import SystemClock


class _Clock(SystemClock):
    shift = 0

    def now_us(self) -> int:
        return super().now_us() + self.shift


class MemoryWorld(BreakersWorld):
    def __init__(self) -> None:
        self.clock = _Clock()
        self.breakers = MemoryJournal(self.clock).breakers

    async def advance(self, seconds: float) -> None:
        self.clock.shift += int(seconds * 1e6)


class TestMemoryBreakers(BreakersSuite):
    @pytest.fixture
    def world(self) -> BreakersWorld:
        return MemoryWorld()
