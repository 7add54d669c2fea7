"""Triggers: which events become which runs, once each, whatever happens meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from penstock import Run, Settings, agent
from penstock.adapters.memory import MemoryJournal
from penstock.events import RunSubmitted, decode
from penstock.kernel.errors import (
    AgentUnknown,
    InboxFull,
    InputInvalid,
    JournalUnavailable,
    TagInvalid,
    TriggerExists,
    TriggerInvalid,
    TriggersFull,
    TriggerUnknown,
)
from penstock.ports.records import RunFilter, RunRow
from penstock.ports.triggers import Backlog, Fired
from penstock.runs.client import Penstock
from penstock.runs.triggers.mapping import Arrived, check_template, filled, filled_text
from penstock.runs.triggers.triggering import TAKEN_AT_ONCE, Triggering
from penstock.testing import in_memory
from penstock.wiring import assemble

EVENT = Arrived("paid", "order-7", "w-1", {"order": {"items": [{"id": 5}, {"id": 6}]}, "by-card": True, "none": None})
SOON = Settings(poll_seconds=0.02, triggers_max=3, triggers_max_per_event=2)


@agent("bill", version="1")
async def bill(run: Run, value: dict[str, Any]) -> Any:
    return value


@agent("strict", version="1")
async def strict(run: Run, cents: int) -> int:
    return cents


@agent("waiter", version="1")
async def waiter(run: Run, key: str) -> Any:
    return await run.wait_event("paid", key=key)


class TestMapping:
    @pytest.mark.parametrize(
        ("template", "value"),
        [
            ("$", EVENT.value),
            ("$.order.items[1].id", 6),
            ("$.by-card", True),
            ("$.none", None),
            (["$key", "$name", "$dedup"], ["order-7", "paid", "w-1"]),
            ({"a": {"b": "$.order.items[0]"}, "c": 1}, {"a": {"b": {"id": 5}}, "c": 1}),
            ("$$.order", "$.order"),
            ("costs 5$", "costs 5$"),
        ],
    )
    def test_parts_of_the_event_take_the_place_of_paths(self, template: Any, value: Any) -> None:
        check_template(template)
        assert filled(template, EVENT) == value

    @pytest.mark.parametrize(
        "path", ["$.missing", "$.order.items[2]", "$[0]", "$.order[0]", "$.none.a", "$.order.items.a"]
    )
    def test_a_part_that_is_not_there(self, path: str) -> None:
        check_template(path)
        with pytest.raises(InputInvalid, match="has no"):
            filled(path, EVENT)

    @pytest.mark.parametrize("path", ["$x", "$.", "$..a", "$.a[", "$.a[-1]", "$.a[01]", "$.a b", "$.a\n", "$key.a"])
    def test_a_path_that_cannot_be_read(self, path: str) -> None:
        with pytest.raises(TriggerInvalid):
            check_template({"deep": [path]})

    def test_a_template_is_not_nested_without_end(self) -> None:
        template: Any = "$"
        for _ in range(40):
            template = [template]
        with pytest.raises(TriggerInvalid, match="nested"):
            check_template(template)

    def test_texts(self) -> None:
        assert filled_text("$.order.items[1].id", EVENT, "session") == "6"
        assert filled_text("$.by-card", EVENT, "session") == "true"
        assert filled_text("plain", EVENT, "session") == "plain"
        for path in ("$.order", "$.none"):
            with pytest.raises(InputInvalid, match="no text"):
                filled_text(path, EVENT, "session")


@pytest.fixture
async def platform() -> AsyncIterator[Penstock]:
    async with in_memory(SOON, agents=[bill, strict, waiter]) as opened:
        yield opened


@pytest.fixture
def idle() -> Penstock:
    """A platform without a worker: what is done is what a test does."""
    return assemble(MemoryJournal(), SOON, agents=[bill, strict])


def worker(platform: Penstock) -> Triggering:
    return Triggering(platform.services, lambda: platform.registry.names)


async def runs_of(platform: Penstock) -> list[RunRow]:
    return await platform.journal.list_runs("default", RunFilter(), 1000)


async def submitted(platform: Penstock) -> RunSubmitted:
    """The first event of the only run."""
    [row] = await runs_of(platform)
    first = decode((await platform.journal.tape("default", row.id, limit=1))[0].body)
    assert isinstance(first, RunSubmitted)
    return first


async def test_an_event_becomes_a_run(platform: Penstock) -> None:
    template = {"order": "$key", "cents": "$.cents"}
    tags = {"customer": "$.customer", "feature": "billing"}
    await platform.triggers.add(
        "bill", "paid", bill, key_prefix="order-", value=template, tags=tags, session="$key", priority=3
    )
    await platform.publish_event("paid", "refund-7", {"cents": 1})
    await platform.publish_event("sent", "order-7", {"cents": 1})
    assert await platform.publish_event("paid", "order-7", {"cents": 5, "customer": "c-1"}, dedup="w-1")
    assert not await platform.publish_event("paid", "order-7", {"cents": 5, "customer": "c-1"}, dedup="w-1")
    async with asyncio.timeout(30):
        while not (await platform.triggers.get("bill")).fired:
            await asyncio.sleep(0.01)
    event = await submitted(platform)
    assert (event.tags, event.session) == ({"customer": "c-1", "feature": "billing"}, "order-7")
    assert (event.priority, event.actor, event.agent) == (3, "trigger:bill", "bill")
    result = await platform.result(event.run, timeout_seconds=60)
    assert result.output == {"order": "order-7", "cents": 5}
    known = await platform.triggers.get("bill")
    assert (known.last_run, known.fired, known.failed) == (event.run, 1, 0)


async def test_a_waiting_run_gets_the_event_and_the_trigger_makes_one(platform: Penstock) -> None:
    await platform.triggers.add("bill", "paid", bill)
    run = await platform.submit(waiter, "order-7")
    await platform.publish_event("paid", "order-7", {"n": 1})
    assert (await platform.result(run, timeout_seconds=60)).output == {"n": 1}
    async with asyncio.timeout(30):
        while not (await platform.triggers.get("bill")).fired:
            await asyncio.sleep(0.01)
    assert sorted(row.agent for row in await runs_of(platform)) == ["bill", "waiter"]


async def test_a_worker_that_dies_before_it_has_settled_makes_no_second_run(idle: Penstock) -> None:
    await idle.triggers.add("bill", "paid", bill)
    await idle.publish_event("paid", "k", {"n": 1}, dedup="w")
    triggers = idle.journal.triggers
    settle = triggers.settle

    async def lost(fired: list[Fired]) -> int:
        raise JournalUnavailable("gone")

    triggers.settle = lost  # type: ignore[method-assign, assignment]
    with pytest.raises(JournalUnavailable):
        await worker(idle).look()
    triggers.settle = settle  # type: ignore[method-assign]
    [made] = await runs_of(idle)
    assert await triggers.take(["bill"], 0, 10) == [], "the lease is not over"
    held = triggers._held["default", (await idle.triggers.get("bill")).id]  # type: ignore[attr-defined]
    for item in held.values():
        item.look_at = 0
    await worker(idle).look()
    assert [run.id for run in await runs_of(idle)] == [made.id]
    known = await idle.triggers.get("bill")
    assert (known.fired, known.last_run) == (1, made.id)


async def test_one_that_does_not_fit_is_kept_and_the_others_go_on(idle: Penstock) -> None:
    await idle.triggers.add("cents", "paid", strict, value="$.cents")
    for n, value in enumerate(({"cents": 1}, {"euros": 1}, {"cents": "many"}, {"cents": 4})):
        await idle.publish_event("paid", "k", value, dedup=str(n))
    assert await worker(idle).look() == 4
    assert len(await runs_of(idle)) == 2
    assert await idle.triggers.backlog("cents") == Backlog(0, 2)
    reasons = {failure.dedup: failure.error for failure in await idle.triggers.failures("cents")}
    assert set(reasons) == {"1", "2"}
    assert "$.cents" in reasons["1"]
    known = await idle.triggers.get("cents")
    assert (known.fired, known.failed) == (2, 2)
    await idle.triggers.add("cents", "paid", strict, value=7, replace=True)
    assert await idle.triggers.retry("cents") == 2
    await worker(idle).look()
    assert len(await runs_of(idle)) == 4
    assert await idle.triggers.backlog("cents") == Backlog(0, 0)


async def test_a_full_queue_makes_events_wait_not_fail() -> None:
    settings = Settings(queue_max_per_agent=1)
    platform = assemble(MemoryJournal(), settings, agents=[bill])
    await platform.triggers.add("bill", "paid", bill)
    for n in range(3):
        await platform.publish_event("paid", "k", {"n": n})
    await worker(platform).look()
    assert len(await runs_of(platform)) == 1
    assert await platform.triggers.backlog("bill") == Backlog(2, 0)
    assert (await platform.triggers.get("bill")).failed == 0


async def test_more_than_one_batch(idle: Penstock) -> None:
    await idle.triggers.add("bill", "paid", bill)
    for n in range(TAKEN_AT_ONCE + 5):
        await idle.publish_event("paid", str(n), {"n": n})
    assert [await worker(idle).look() for _ in range(3)] == [TAKEN_AT_ONCE, 5, 0]
    assert len({run.key for run in await runs_of(idle)}) == TAKEN_AT_ONCE + 5


async def test_an_agent_that_is_not_offered_has_its_events_wait(idle: Penstock) -> None:
    await idle.triggers.add("bill", "paid", bill)
    await idle.publish_event("paid", "k", {})
    assert await Triggering(idle.services, lambda: ["strict"]).look() == 0
    assert (await idle.triggers.backlog("bill")).pending == 1


async def test_what_a_trigger_holds_is_bounded_and_publishing_says_so(idle: Penstock) -> None:
    await idle.triggers.add("bill", "paid", bill, pending_max=1)
    await idle.publish_event("paid", "k", {})
    with pytest.raises(InboxFull, match="trigger"):
        await idle.publish_event("paid", "other", {}, dedup="w")
    await worker(idle).look()
    assert await idle.publish_event("paid", "other", {}, dedup="w")


async def test_what_cannot_be_declared(idle: Penstock) -> None:
    triggers = idle.triggers
    with pytest.raises(TriggerInvalid):
        await triggers.add("Bill!", "paid", bill)
    with pytest.raises(InputInvalid):
        await triggers.add("bill", "paid or not", bill)
    with pytest.raises(AgentUnknown):
        await triggers.add("bill", "paid", "bill")  # type: ignore[arg-type]
    for options in ({"value": "$x"}, {"session": "$."}, {"priority": 10**9}, {"pending_max": 0}, {"session": "a\n"}):
        with pytest.raises(TriggerInvalid):
            await triggers.add("bill", "paid", bill, **options)
    with pytest.raises(TagInvalid):
        await triggers.add("bill", "paid", bill, tags={"name": "x"})
    assert await triggers.list_triggers() == []


async def test_names_and_bounds(idle: Penstock) -> None:
    triggers = idle.triggers
    await triggers.add("a", "paid", bill)
    with pytest.raises(TriggerExists):
        await triggers.add("a", "paid", bill)
    await triggers.add("a", "paid", bill, value=1, replace=True)
    await triggers.add("b", "paid", bill)
    with pytest.raises(TriggersFull):
        await triggers.add("c", "paid", bill)
    await triggers.add("c", "sent", bill)
    with pytest.raises(TriggersFull):
        await triggers.add("d", "other", bill)
    assert [item.name for item in await triggers.list_triggers()] == ["a", "b", "c"]
    await triggers.remove("c")
    for call in (triggers.get, triggers.pause, triggers.resume, triggers.remove, triggers.backlog, triggers.retry):
        with pytest.raises(TriggerUnknown):
            await call("c")


async def test_a_paused_trigger_takes_nothing_and_gives_nothing(idle: Penstock) -> None:
    await idle.triggers.add("bill", "paid", bill, paused=True)
    await idle.publish_event("paid", "k", {"n": 1})
    await idle.triggers.resume("bill")
    await idle.publish_event("paid", "k", {"n": 2})
    await idle.triggers.pause("bill", actor="ada")
    assert await worker(idle).look() == 0
    await idle.triggers.resume("bill")
    assert await worker(idle).look() == 1
    assert len(await runs_of(idle)) == 1
