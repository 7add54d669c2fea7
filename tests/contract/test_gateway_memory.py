"""What the gateway keeps in memory passes the conformance suite."""

import pytest
from tests.contract.gateway_suite import GatewaySuite
from tests.contract.journal_world import World
from tests.contract.test_journal_memory import MemoryWorld


class TestMemoryGateway(GatewaySuite):
    @pytest.fixture
    def world(self) -> World:
        return MemoryWorld()
