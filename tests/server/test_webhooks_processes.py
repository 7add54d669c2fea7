"""Several servers on one PostgreSQL: they share deliveries, and those of one that dies are made by another."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator

import pytest
from tests.contract.test_webhooks_postgres import WebhooksWorld
from tests.contract.webhooks_suite import ended
from tests.server.receiver import OK, Heard, hang, receiving

from penstock.adapters.postgres.database import ConnectionSettings
from penstock.adapters.postgres.journal import open_journal
from penstock.kernel.clock import SystemClock
from penstock.ports.webhooks import Delivery, Endpoint
from penstock.server.webhooks.endpoints import make_endpoint
from penstock.settings import Settings

INWARD = Settings(webhook_allow_http=1, webhook_allowed_networks="127.0.0.0/8")


@pytest.fixture
async def world(journal_dsn: str) -> AsyncIterator[WebhooksWorld]:
    journal = await open_journal(ConnectionSettings(journal_dsn))
    yield WebhooksWorld(journal)
    await journal.close()


@contextlib.asynccontextmanager
async def serving(dsn: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A server's process; it is killed at the end."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.server.webhook_server", dsn, stdin=pipe, stdout=pipe
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            assert await process.stdout.readline() == b"serving\n"
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def add(world: WebhooksWorld, url: str) -> Endpoint:
    hooks = world.journal.webhooks
    return await make_endpoint(hooks, SystemClock(), INWARD, "acme", url, ["run.ended"], created_by="tests")


async def end_leases(world: WebhooksWorld) -> None:
    """What is being sent may be taken by others."""
    async with world.postgres.connection() as connection:
        await connection.execute("UPDATE penstock.webhook_deliveries SET next_at = 0 WHERE state = 'waiting'")


async def delivered(world: WebhooksWorld, endpoint: Endpoint, count: int) -> list[Delivery]:
    async with asyncio.timeout(60):
        while True:
            found = await world.journal.webhooks.deliveries("acme", endpoint.id, "delivered", None, 500)
            if len(found) == count:
                return found
            await asyncio.sleep(0.02)


@pytest.mark.timeout(180)
async def test_what_a_killed_server_was_sending_is_sent_by_another_with_the_same_id(
    world: WebhooksWorld, journal_dsn: str
) -> None:
    async with receiving() as receiver:
        endpoint = await add(world, receiver.url)
        receiver.answers = [hang]
        async with serving(journal_dsn) as first:
            [run] = await ended(world)
            await receiver.until(1, 30)
            first.kill()
            await first.wait()
        [held] = await world.journal.webhooks.deliveries("acme", endpoint.id, "waiting", None, 10)
        assert (held.attempts, held.run) == (1, run)
        async with serving(journal_dsn):
            await ended(world)
            await receiver.until(2, 30)
            assert receiver.heard[1].id != held.id, "its lease is not over yet"
            await end_leases(world)
            await receiver.until(3, 30)
            await delivered(world, endpoint, 2)
        assert [item.id for item in receiver.heard].count(held.id) == 2
        assert receiver.heard[2].body == receiver.heard[0].body


@pytest.mark.timeout(180)
async def test_two_servers_share_the_work(world: WebhooksWorld, journal_dsn: str) -> None:
    """One server has four under way to one endpoint at most: the first five come only when both send."""
    async with receiving() as receiver, serving(journal_dsn), serving(journal_dsn):

        async def when_five_are_open(heard: Heard, writer: asyncio.StreamWriter) -> None:
            while receiver.open_most < 5:
                await asyncio.sleep(0.01)
            writer.write(OK)

        endpoint = await add(world, receiver.url)
        receiver.answers = [when_five_are_open] * 40
        await ended(world, 40)
        assert {item.attempts for item in await delivered(world, endpoint, 40)} == {1}
        assert len({item.id for item in receiver.heard}) == len(receiver.heard) == 40
        assert receiver.open_most <= 8
