"""A run that is made alone is stored as one that is made beside others, and what stands in its way is answered as for
those."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.contract.budgets_suite import Spender
from tests.contract.gateway_suite import begun, first
from tests.contract.journal_world import CLOCK, new_run
from tests.contract.test_budgets_postgres import PostgresBudgetsWorld

from penstock.adapters.postgres import appending
from penstock.adapters.postgres.database import ConnectionSettings
from penstock.adapters.postgres.journal import open_journal
from penstock.journal.payloads import address, make_payload
from penstock.kernel.errors import ShareLost
from penstock.ports.records import Answer, Batch, Summary

SUMMARY = Summary(1, 2, 3, 4, 5, 6, 7)


@pytest.fixture
async def world(journal_dsn: str) -> AsyncIterator[PostgresBudgetsWorld]:
    journal = await open_journal(ConnectionSettings(journal_dsn))
    yield PostgresBudgetsWorld(journal)
    await journal.close()


@pytest.fixture
def asked(world: PostgresBudgetsWorld, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements that appends send from now on."""
    sent: list[str] = []
    database = world.postgres._database
    fetch = database.fetch

    async def watched(query: str, *args: object) -> list[Any]:
        sent.append("begin_run" if query is appending.BEGIN_RUN else "append" if "penstock.append" in query else query)
        return await fetch(query, *args)

    monkeypatch.setattr(database, "fetch", watched)
    return sent


_STORED = {
    "runs": "SELECT to_jsonb(r) - '{id,root,subject,subject_key,head,created_at}'::text[] FROM penstock.runs r",
    "events": "SELECT seq, length(body) FROM penstock.events WHERE run_id = $1 ORDER BY seq",
    "payloads": "SELECT tenant, codec, size, data FROM penstock.payloads WHERE subject = $1::uuid::text ORDER BY data",
}


async def stored(world: PostgresBudgetsWorld, batch: Batch) -> dict[str, list[Any]]:
    """What there is of a run, without what differs from run to run."""
    found: dict[str, list[Any]] = {}
    async with world.postgres.connection() as connection:
        for table, query in _STORED.items():
            asked = f"{query} WHERE id = $1" if table == "runs" else query
            found[table] = [tuple(row) for row in await connection.fetch(asked, batch.run)]
    return found


def whole(world: PostgresBudgetsWorld, worker: Any, **fields: Any) -> tuple[Any, Batch, Any]:
    """A run with all that it may have, and two payloads."""
    named = {"customer": "ada", "x": "ö"}
    holder, begin = begun(world, worker, new_run(rank=None, env="staging", tags=named, format=2))
    batch = first(holder, begin, summary=SUMMARY, **fields)
    run = begin.run
    payloads = [
        make_payload(run.tenant, run.subject, address(run.subject_key, data), data) for data in (b"a" * 9, b"{}" * 900)
    ]
    return holder, batch, payloads


async def test_it_is_stored_as_beside_others(world: PostgresBudgetsWorld, asked: list[str]) -> None:
    worker, account, spender = await world.worker(), await world.one(), world.spender()
    other = await world.account(await world.budget("other"))
    for item in (account, other):
        await spender.ask(item, 500)
    found = []
    for apart in (True, False):
        asked.clear()
        charges = [spender.reserve(item, 100) for item in (other, account)]
        holder, batch, payloads = whole(world, worker, charges=charges)
        beside = [] if apart else [first(*begun(world, worker))]
        answers = await world.journal.append([batch, *beside], payloads)
        assert {answer.answer for answer in answers} == {Answer.APPLIED}
        assert answers[0].at > 0
        assert asked == ["begin_run" if apart else "append"]
        found.append(await stored(world, batch))
        await world.check_chain(*holder.key)
    assert found[0] == found[1]
    assert len(found[0]["payloads"]) == len(found[0]["events"]) == 2
    for name in ("all", "other"):
        assert await world.sums(name) == ((0, 0, 0), (200, 0, 2))


async def test_the_same_again_is_found_and_charged_once(world: PostgresBudgetsWorld, asked: list[str]) -> None:
    worker, account, spender = await world.worker(), await world.one(), world.spender()
    await spender.ask(account, 500)
    asked.clear()
    _, batch, payloads = whole(world, worker, charges=[spender.reserve(account, 100)])
    for _ in range(2):
        (answer,) = await world.journal.append([batch], payloads)
        assert answer.answer is Answer.APPLIED
    assert asked == ["begin_run", "begin_run", "append"]
    assert await world.sums() == ((0, 0, 0), (100, 0, 1))


async def test_what_a_share_does_not_hold_is_refused_whole(world: PostgresBudgetsWorld) -> None:
    worker, account, spender = await world.worker(), await world.one(), world.spender()
    await spender.ask(account, 1)
    holder, batch, payloads = whole(world, worker, charges=[spender.reserve(account, 10**15)])
    (answer,) = await world.journal.append([batch], payloads)
    assert answer.answer is Answer.REFUSED
    assert isinstance(answer.error, ShareLost)
    assert await world.journal.get_run(*holder.key) is None
    assert await world.sums() == ((0, 0, 0), (0, 0, 0))


async def test_only_what_is_reserved_has_to_fit(world: PostgresBudgetsWorld) -> None:
    worker, account, spender = await world.worker(), await world.one(), world.spender()
    await spender.ask(account, 50)
    await (await world.held()).append(charges=[spender.settle(account, 0, 10**15)])  # more than there was
    _, batch, payloads = whole(world, worker, charges=[spender.reserve(account, 0)])
    (answer,) = await world.journal.append([batch], payloads)
    assert answer.answer is Answer.APPLIED


async def test_a_budget_that_was_removed_is_not_charged(world: PostgresBudgetsWorld, asked: list[str]) -> None:
    worker, account, spender = await world.worker(), await world.one(), world.spender()
    await spender.ask(account, 500)
    await world.journal.budgets.remove("acme", "all")
    asked.clear()
    _, batch, payloads = whole(world, worker, charges=[spender.reserve(account, 100)])
    (answer,) = await world.journal.append([batch], payloads)
    assert (answer.answer, asked) == (Answer.APPLIED, ["begin_run"])
    async with world.postgres.connection() as connection:
        assert not await connection.fetch("SELECT FROM penstock.budget_shares WHERE account = $1", account)


@pytest.mark.parametrize("newer", [False, True])
async def test_an_intent_that_was_checked_too_long_ago_is_checked_again(
    world: PostgresBudgetsWorld, asked: list[str], newer: bool
) -> None:
    worker = await world.worker()
    async with world.postgres.connection() as connection:
        version = await connection.fetchval("UPDATE penstock.breaker_version SET version = 7 RETURNING version")
    asked.clear()
    _, batch, payloads = whole(world, worker, checked=version if newer else version - 1)
    (answer,) = await world.journal.append([batch], payloads)
    assert answer.answer is (Answer.APPLIED if newer else Answer.STALE)
    assert asked == (["begin_run"] if newer else ["begin_run", "append"])


async def test_what_takes_more_is_not_tried(world: PostgresBudgetsWorld) -> None:
    worker, spender = await world.worker(), world.spender()
    holder, begin = begun(world, worker, name="desk/task")
    assert appending.begin_run_arguments(first(holder, begin), []) is None
    differing = [Spender(world.journal).reserve(1, 5), spender.reserve(2, 5)]
    for charges in (differing, [spender.reserve(1, 5), spender.reserve(2, 6)], [spender.reserve(1, 5)] * 2):
        _, batch, payloads = whole(world, worker, charges=charges)
        assert appending.begin_run_arguments(batch, payloads) is None
    _, batch, payloads = whole(world, worker)
    assert appending.begin_run_arguments(batch, payloads) is not None
    foreign = make_payload("acme", str(CLOCK.now_us()), b"x" * 32, b"of another subject")
    assert appending.begin_run_arguments(batch, [*payloads, foreign]) is None
