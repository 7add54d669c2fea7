"""Webhooks in memory pass the conformance suite."""

import pytest
from tests.contract.journal_world import World
from tests.contract.test_journal_memory import MemoryWorld
from tests.contract.webhooks_suite import WebhooksSuite


class TestMemoryWebhooks(WebhooksSuite):
    @pytest.fixture
    def world(self) -> World:
        return MemoryWorld()
