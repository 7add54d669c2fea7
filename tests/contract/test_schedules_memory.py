"""Schedules in memory pass the conformance suite."""

import pytest
from tests.contract.schedules_suite import SchedulesSuite, SchedulesWorld
from tests.contract.test_journal_memory import MemoryWorld


class TestMemorySchedules(SchedulesSuite):
    @pytest.fixture
    def world(self) -> SchedulesWorld:
        return SchedulesWorld(MemoryWorld())
