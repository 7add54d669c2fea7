"""Retention in memory passes the conformance suite."""

import pytest
from tests.contract.retention_suite import RetentionSuite, RetentionWorld
from tests.contract.test_journal_memory import MemoryWorld


class MemoryRetentionWorld(RetentionWorld):
    async def advance(self, seconds: float) -> None:
        await self.runs.advance(seconds)


class TestMemoryRetention(RetentionSuite):
    @pytest.fixture
    def world(self) -> RetentionWorld:
        return MemoryRetentionWorld(MemoryWorld())
