"""Audit logs in memory pass the conformance suite."""

import pytest
from tests.contract.audit_suite import AuditSuite
from tests.contract.journal_world import World
from tests.contract.test_journal_memory import MemoryWorld


class TestMemoryAudit(AuditSuite):
    @pytest.fixture
    def world(self) -> World:
        return MemoryWorld()
