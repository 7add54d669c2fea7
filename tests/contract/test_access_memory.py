"""Keys, sessions and actions in memory pass the conformance suites."""

import pytest
from tests.contract.access_suite import AccessSuite
from tests.contract.actions_suite import ActionsSuite
from tests.contract.journal_world import World
from tests.contract.test_journal_memory import MemoryWorld


class TestMemoryAccess(AccessSuite):
    @pytest.fixture
    def world(self) -> World:
        return MemoryWorld()

    async def age(self, world: World, seconds: float) -> None:
        await world.advance(seconds)


class TestMemoryActions(ActionsSuite):
    @pytest.fixture
    def world(self) -> World:
        return MemoryWorld()
