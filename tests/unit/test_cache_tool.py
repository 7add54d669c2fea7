"""The cache before a tool that reads, and the writes that make its results wrong."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from penstock import CacheFor, Penstock, Run, Settings, ToolContext, TransientToolError, agent, tool
from penstock.events import Event, ToolIntent, ToolOutcome
from penstock.kernel.errors import JournalUnavailable, ToolFailed, ToolInvalid
from penstock.runs.replaying.replay import replay
from penstock.views.trace import read_events
from penstock.wiring import open_in_memory

ACME = {"customer": "acme"}


class World:
    """What is outside: balances, and how often anything was asked."""

    def __init__(self) -> None:
        self.balances: dict[str, int] = {}
        self.asked = 0
        self.may = asyncio.Event()
        self.may.set()


world = World()


@pytest.fixture(autouse=True)
def anew() -> None:
    world.__init__()  # type: ignore[misc]


@pytest.fixture
async def platform() -> AsyncIterator[Penstock]:
    async with open_in_memory(Settings(poll_seconds=0.01)) as opened:
        yield opened


@tool(
    effect="read", cache=CacheFor(seconds=60, scope="customer", key=("account",), tags=("accounts",)), repeatable=True
)
async def balance(account: str, why: str = "") -> int:
    """How much there is."""
    world.asked += 1
    found = world.balances.get(account, 0)
    await world.may.wait()
    if account == "broken":
        raise TransientToolError("not now")
    return found


@tool(effect="write", permission="auto", in_doubt="idempotent", invalidates=("accounts",), repeatable=True)
async def pay(account: str, amount: int) -> int:
    """Changes it."""
    world.balances[account] = world.balances.get(account, 0) + amount
    return world.balances[account]


@agent("teller", version="1")
async def teller(run: Run, steps: list[list[Any]]) -> list[Any]:
    done: list[Any] = []
    for name, *args in steps:
        try:
            done.append(await run.call(pay if name == "pay" else balance, *args))
        except ToolFailed as error:
            done.append(error.fields["failure"])
    return done


async def go(platform: Penstock, *steps: list[Any], **options: Any) -> tuple[Any, list[Event]]:
    run = await platform.submit(teller, list(steps), **{"tags": ACME, **options})
    result = await platform.result(run, tenant=options.get("tenant"), timeout_seconds=20)
    return result.output, await events_of(platform, run, options.get("tenant"))


async def events_of(platform: Penstock, run: UUID, tenant: str | None = None) -> list[Event]:
    return list(await read_events(platform.journal, tenant or platform.tenant, run))


async def until_kept(platform: Penstock, entries: int = 1) -> None:
    async with asyncio.timeout(10):
        while (await platform.journal.cache.held(platform.tenant)).entries < entries:
            await asyncio.sleep(0.001)


async def test_a_result_is_given_again_for_the_arguments_that_matter(platform: Penstock) -> None:
    _, made = await go(platform, ["balance", "a", "curious"])
    await until_kept(platform)
    output, events = await go(platform, ["balance", "a", "worried"], ["balance", "b"])
    assert (output, world.asked) == ([0, 0], 2)
    intents = [event for event in events if isinstance(event, ToolIntent)]
    outcomes = [event for event in events if isinstance(event, ToolOutcome)]
    assert [intent.cache for intent in intents] == ["hit", "miss"]
    assert [outcome.status for outcome in outcomes] == ["ok", "ok"]
    source = outcomes[0].source
    assert source is not None
    first = next(event for event in made if isinstance(event, ToolOutcome))
    assert (source.run, source.path) == (first.run, first.path)
    assert outcomes[1].source is None


@pytest.mark.parametrize("other", [{"tags": {"customer": "zeta"}}, {"tenant": "zeta"}, {"tags": {}}])
async def test_other_customers_and_tenants_and_nobodies_are_not_served(platform: Penstock, other: Any) -> None:
    await go(platform, ["balance", "a"])
    await until_kept(platform)
    await go(platform, ["balance", "a"], **other)
    assert world.asked == 2


async def test_a_write_is_seen_by_whoever_reads_after_it(platform: Penstock) -> None:
    output, _ = await go(
        platform, ["balance", "a"], ["balance", "a"], ["pay", "a", 5], ["balance", "a"], ["balance", "a"]
    )
    assert output == [0, 0, 5, 5, 5]
    assert world.asked == 2


async def test_what_was_read_before_a_write_is_not_kept_after_it(platform: Penstock) -> None:
    world.may.clear()
    reading = await platform.submit(teller, [["balance", "a"]], tags=ACME)
    async with asyncio.timeout(10):
        while not world.asked:
            await asyncio.sleep(0.001)
    await go(platform, ["pay", "a", 5])
    world.may.set()
    assert (await platform.result(reading)).output == [0]
    output, _ = await go(platform, ["balance", "a"])
    assert output == [5]


async def test_a_write_whose_store_is_away_drops_when_it_is_back(
    platform: Penstock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await go(platform, ["balance", "a"])
    await until_kept(platform)
    drop, tried = platform.journal.cache.drop, 0

    async def away(tenant: str, tags: Any) -> int:
        nonlocal tried
        tried += 1
        if tried < 3:
            raise JournalUnavailable("the database cannot be reached")
        return await drop(tenant, tags)

    monkeypatch.setattr(platform.journal.cache, "drop", away)
    await go(platform, ["pay", "a", 5])
    async with asyncio.timeout(10):
        while (await platform.journal.cache.held(platform.tenant)).entries:
            await asyncio.sleep(0.001)
    assert tried == 3


@pytest.mark.parametrize("statement", ["put", "take"])
async def test_an_answer_that_is_on_its_way_is_not_for_whoever_wrote_meanwhile(
    platform: Penstock, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    """The store has kept, or given, what was read before the write, and has not told so yet."""
    if statement == "take":
        await go(platform, ["balance", "a"])
        await until_kept(platform)
    real, slow, done, may = getattr(platform.journal.cache, statement), True, asyncio.Event(), asyncio.Event()

    async def late(*args: Any) -> Any:
        nonlocal slow
        answer = await real(*args)
        if slow:
            slow = False
            done.set()
            await may.wait()
        return answer

    monkeypatch.setattr(platform.journal.cache, statement, late)
    before = await platform.submit(teller, [["balance", "a"]], tags=ACME)
    await done.wait()
    writer = await platform.submit(teller, [["pay", "a", 5], ["balance", "a"]], tags=ACME)
    async with asyncio.timeout(10):
        while not world.balances:
            await asyncio.sleep(0.001)
    await asyncio.sleep(0.05)
    may.set()
    assert (await platform.result(before, timeout_seconds=20)).output == [0]
    assert (await platform.result(writer, timeout_seconds=20)).output == [5, 5]


async def test_a_failure_is_not_kept(platform: Penstock) -> None:
    for _ in range(2):
        output, _ = await go(platform, ["balance", "broken"])
        assert output == ["tool_transient"]
    assert world.asked == 2


async def test_many_that_read_the_same_ask_once(platform: Penstock) -> None:
    world.may.clear()
    runs = [await platform.submit(teller, [["balance", "a"]], tags=ACME) for _ in range(30)]
    async with asyncio.timeout(10):
        while not world.asked:
            await asyncio.sleep(0.001)
    await asyncio.sleep(0.02)
    world.may.set()
    assert [(await platform.result(run, timeout_seconds=20)).output for run in runs] == [[0]] * 30
    assert world.asked == 1


async def test_branches_of_one_run_share_a_read_and_replay_as_they_went(platform: Penstock) -> None:
    @agent("splits", version="1")
    async def splits(run: Run, value: int) -> list[Any]:
        return await run.gather(*(run.call(balance, "a") for _ in range(4)))

    run = await platform.submit(splits, 1, tags=ACME)
    assert (await platform.result(run, timeout_seconds=20)).output == [0] * 4
    assert world.asked == 1
    row = await platform.journal.get_run(platform.tenant, run)
    assert row is not None
    assert (await replay(platform.services, row, [splits])).same
    assert world.asked == 1


async def declared(**how: Any) -> Any:
    async def some(x: int) -> int:
        return x

    return tool(**how)(some)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"effect": "write", "cache": CacheFor(seconds=1)}, "writes, and cannot be cached"),
        ({"effect": "read", "invalidates": ("a",)}, "reads"),
        ({"effect": "write", "invalidates": "accounts"}, "invalidates='accounts'"),
        ({"effect": "write", "invalidates": ("",)}, "no tag"),
        ({"effect": "write", "invalidates": ("a",) * 99}, "99 tags"),
        ({"effect": "read", "cache": CacheFor(seconds=-1)}, "seconds=-1"),
        ({"effect": "read", "cache": CacheFor(seconds=1, key=("y",))}, "'y'"),
        ({"effect": "read", "cache": CacheFor(seconds=1, tags=("x" * 65,))}, "no tag"),
        ({"effect": "read", "cache": CacheFor(seconds=1, scope="all")}, "all"),  # type: ignore[arg-type]
        ({"effect": "read", "cache": 60}, "60"),
    ],
)
async def test_contradictions_are_refused_where_they_are_written(how: dict[str, Any], words: str) -> None:
    with pytest.raises(ToolInvalid, match=words):
        await declared(**how)


def test_a_tool_that_is_told_whose_run_it_is_shares_nothing_beyond_the_run() -> None:
    async def mine(x: int, context: ToolContext) -> str:
        return context.tags["customer"]

    with pytest.raises(ToolInvalid, match="whose run it is"):
        tool(effect="read", cache=CacheFor(seconds=1, scope="tenant"))(mine)
    assert tool(effect="read", cache=CacheFor(seconds=1))(mine).definition.cache is not None


def test_a_tool_without_a_cache_keeps_its_digest() -> None:
    async def some(x: int) -> int:
        return x

    plain, cached = tool(effect="read")(some), tool(effect="read", cache=CacheFor(seconds=1))(some)
    assert plain.definition.digest != cached.definition.digest
    assert cached.definition.cache is not None
    assert cached.definition.cache.tags == ("some",)
