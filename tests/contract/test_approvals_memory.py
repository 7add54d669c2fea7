"""Votes, cases, people and notices in memory pass the conformance suite."""

import pytest
from tests.contract.approvals_suite import CasesSuite, NoticesSuite, PeopleSuite, TidySuite, VotesSuite
from tests.contract.journal_world import World
from tests.contract.test_journal_memory import MemoryWorld


@pytest.fixture
def world() -> World:
    return MemoryWorld()


class TestMemoryApprovals(VotesSuite, TidySuite, CasesSuite, PeopleSuite, NoticesSuite):
    pass
