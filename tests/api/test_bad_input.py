"""What is wrong with a submission is said at once, by a code, and nothing of it is kept."""

import math
from collections.abc import AsyncIterator
from typing import Any

import pytest

from penstock import Agent, Budget, Run, Settings, agent
from penstock.adapters.memory import MemoryJournal
from penstock.kernel.errors import PenstockError, SettingUnknown, UsageError
from penstock.ports.records import RunFilter
from penstock.runs.client import Penstock
from penstock.testing import ScriptedModel
from penstock.wiring import assemble, open_in_memory

SETTINGS = Settings(poll_seconds=0.02, input_max_bytes=64 * 1024)


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@agent("echo")
async def echo(run: Run, value: Any) -> Any:
    return value


@pytest.fixture
async def penstock() -> AsyncIterator[Penstock]:
    async with assemble(MemoryJournal(), SETTINGS) as opened:
        yield opened


BAD_VALUES = {
    "nul": "a\x00b",
    "nul-in-key": {"a\x00": 1},
    "surrogate": "a\ud800b",
    "nan": math.nan,
    "infinity": [math.inf],
    "minus-infinity": {"a": -math.inf},
    "deep": nested(65),
    "very-deep": nested(100_000),
    "huge-integer": 2**53,
    "enormous-integer": 10**5000,
    "object": object(),
    "function": print,
    "broken-bytes": b"\xff\xfe",
    "too-large": "x" * (64 * 1024),
}


@pytest.fixture
def circular() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


async def refused(penstock: Penstock, *, value: Any = "hello", **options: Any) -> PenstockError:
    """The error of a submission, of which nothing may have been kept."""
    with pytest.raises(UsageError) as caught:
        await penstock.submit(echo, value, **options)
    assert not await penstock.journal.list_runs(options.get("tenant", "default"), RunFilter(), 10)
    assert caught.value.code in ("input_invalid", "input_too_large", "tag_invalid", "budget_invalid")
    return caught.value


@pytest.mark.parametrize("name", BAD_VALUES)
async def test_an_input_that_cannot_be_stored(penstock: Penstock, name: str) -> None:
    error = await refused(penstock, value=BAD_VALUES[name])
    assert (error.code == "input_too_large") == (name == "too-large"), error


async def test_an_input_that_contains_itself(penstock: Penstock, circular: Any) -> None:
    await refused(penstock, value=circular)


@pytest.mark.parametrize(
    "tags",
    [
        {"color": "red"},
        {"": "x"},
        {"x_Team": "x"},
        {"customer": ""},
        {"customer": "x" * 129},
        {"customer": "a\x00"},
        {"customer": "a\ud800"},
        {"customer": 7},
        {"x_\ud800": "x"},
        {f"x_{n}": "x" for n in range(17)},
    ],
    ids=str,
)
async def test_tags(penstock: Penstock, tags: Any) -> None:
    await refused(penstock, tags=tags)


@pytest.mark.parametrize("field", ["key", "session", "subject", "actor", "behalf"])
@pytest.mark.parametrize("value", ["a\x00b", "a\ud800b", "x" * 10_000], ids=["nul", "surrogate", "long"])
async def test_names_that_cannot_be_stored(penstock: Penstock, field: str, value: str) -> None:
    await refused(penstock, **{field: value})


@pytest.mark.parametrize("value", ["a\x00b", "a\ud800b", "x" * 10_000, ""], ids=["nul", "surrogate", "long", "empty"])
async def test_tenants_that_cannot_be_stored(penstock: Penstock, value: str) -> None:
    with pytest.raises(UsageError) as caught:
        await penstock.submit(echo, 1, tenant=value or " ")
    assert caught.value.code == "input_invalid"


@pytest.mark.parametrize("field", ["priority", "deadline"])
async def test_numbers_out_of_range(penstock: Penstock, field: str) -> None:
    await refused(penstock, **{field: 2**70})


@pytest.mark.parametrize(
    "limits",
    [
        {"usd": "-1"},
        {"usd": "0"},
        {"usd": "NaN"},
        {"usd": "much"},
        {"usd": math.inf},
        {"usd": "1e30"},
        {"tokens": 0},
        {"tokens": -1},
        {"tokens": 2**53},
        {"steps": math.nan},
        {"seconds": math.inf},
        {"seconds": math.nan},
        {"depth": 6},
    ],
    ids=str,
)
async def test_budgets(penstock: Penstock, limits: Any) -> None:
    with pytest.raises(UsageError) as caught:
        await penstock.submit(echo, 1, budget=Budget(**limits))
    assert caught.value.code == "budget_invalid"
    assert not await penstock.journal.list_runs("default", RunFilter(), 10)


async def test_a_bad_row_in_a_list_of_requests_keeps_nothing_of_the_list(penstock: Penstock) -> None:
    from penstock.runs.submit import Request

    with pytest.raises(UsageError):
        await penstock.submit_many([Request(echo, 1), Request(echo, "\x00"), Request(echo, 3)])
    assert not await penstock.journal.list_runs("default", RunFilter(), 10)


async def test_a_key_that_made_another_run(penstock: Penstock) -> None:
    first = await penstock.submit(echo, 1, key="k")
    assert await penstock.submit(echo, 1, key="k") == first
    with pytest.raises(PenstockError) as caught:
        await penstock.submit(echo, 2, key="k")
    assert caught.value.code == "idempotency_conflict"
    assert caught.value.fields["run"] == first


def test_an_unknown_setting_is_named_with_the_nearest_one() -> None:
    with pytest.raises(SettingUnknown) as caught:
        Settings.from_env({"PENSTOCK_LEESE_SECONDS": "3"})
    assert caught.value.code == "setting_unknown"
    assert "PENSTOCK_LEASE_SECONDS" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "code"),
    [("nobody:nothing", "model_unknown"), ("nothing", "model_unknown"), ("openai:gpt-5-mini", "provider_invalid")],
)
async def test_models_that_cannot_be_called(name: str, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    lost = Agent("lost", model=name, instructions="Answer.")
    async with open_in_memory(SETTINGS) as penstock:
        result = await penstock.run(lost, "hello")
    assert (result.outcome, result.code) == ("failed", code)
    assert result.needed


async def test_an_agent_that_is_none() -> None:
    @agent("caller")
    async def caller(run: Run, name: str) -> Any:
        return await run.call(name, 1)  # type: ignore[arg-type]

    async with open_in_memory(SETTINGS) as penstock:
        result = await penstock.run(caller, "nobody")
        with pytest.raises(PenstockError) as caught:
            await penstock.submit("nobody", 1)  # type: ignore[arg-type]
    assert (result.outcome, result.code) == ("failed", "gate_misused")
    assert caught.value.code == "agent_unknown"


async def test_a_money_budget_and_a_model_without_a_price() -> None:
    class Priceless(ScriptedModel):
        def price(self) -> None:
            return None

    buyer = Agent("buyer", model=Priceless(["hello"]), instructions="Answer.", budget=Budget(usd="1"))
    async with open_in_memory(SETTINGS) as penstock:
        result = await penstock.run(buyer, "hello")
    assert (result.outcome, result.code) == ("failed", "price_unknown")
    assert "PENSTOCK_PRICES_FILE" in " ".join([result.reason, *result.needed])
