"""Triggers in memory pass the conformance suite."""

import pytest
from tests.contract.journal_world import World
from tests.contract.test_journal_memory import MemoryWorld
from tests.contract.triggers_suite import TriggersSuite


class TestMemoryTriggers(TriggersSuite):
    @pytest.fixture
    def world(self) -> World:
        return MemoryWorld()

    async def age(self, world: World, seconds: float) -> None:
        await world.advance(seconds)
