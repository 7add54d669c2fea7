"""A provider's usage file beside what was recorded, and calls at corrected prices beside what they were billed at."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from penstock import Agent
from penstock.events import Amount
from penstock.kernel.clock import SystemClock
from penstock.kernel.errors import InputInvalid
from penstock.ports.model import ModelRequest, ModelResponse, Price
from penstock.runs.client import Penstock
from penstock.testing import ScriptedModel, in_memory
from penstock.views.reconciling import Reconciled, plain_model, read_file, reconcile
from penstock.views.rerating import rerate, rerates

PRICE = Price(2500.0, 10_000.0, 1250.0, source="list of May")
TODAY = datetime.now(UTC).date().isoformat()
OPENAI = "start_time_iso,model,num_model_requests,input_tokens,output_tokens,input_cached_tokens,project_id\n"
ANTHROPIC = (
    "usage_date_utc,model_version,api_key,usage_input_tokens_no_cache,usage_input_tokens_cache_write_5m,"
    "usage_input_tokens_cache_write_1h,usage_input_tokens_cache_read,usage_output_tokens\n"
)


class Silent(ScriptedModel):
    """Says what it used, or nothing when told so."""

    used: Amount | None = Amount(1_000, 50, cached=400)

    async def request(self, request: ModelRequest) -> ModelResponse:
        from dataclasses import replace

        return replace(await super().request(request), used=self.used)


@pytest.fixture
async def platform() -> AsyncIterator[Penstock]:
    async with in_memory() as platform:
        yield platform


async def call(platform: Penstock, name: str, used: Amount | None, customer: str = "c-1") -> None:
    """One run with one call."""
    model = Silent(["Done."], name=name, price=PRICE)
    model.used = used
    agent = Agent(f"desk-{plain_model(name)}", instructions="Be brief.", model=model)
    result = await agent.run("?", tags={"customer": customer})
    assert result.outcome == "succeeded"


async def compared(platform: Penstock, text: str, provider: str = "openai") -> Reconciled:
    return await reconcile(platform.journal, "default", provider, text.splitlines())  # type: ignore[arg-type]


async def test_what_agrees_is_equal(platform: Penstock) -> None:
    await call(platform, "openai:gpt-4o", Amount(1_000, 50, cached=400))
    await call(platform, "anthropic:claude-haiku-4-5", Amount(70, 7))
    found = await compared(platform, f"{OPENAI}{TODAY}T00:00:00+00:00,gpt-4o-2024-08-06,1,1000,50,400,p\n")
    [line] = found.lines
    assert (line.model, line.difference, line.words) == ("gpt-4o", 0, "equal")
    assert (line.ours.tokens_in, line.ours.cached, line.theirs.cached) == (1_000, 400, 400)
    assert line.ours.nano == 600 * 2500 + 400 * 1250 + 50 * 10_000
    assert not found.partial
    found = await compared(
        platform, f"{ANTHROPIC}{TODAY},claude-haiku-4-5-20251001,key,40,10,10,10,7\n", provider="anthropic"
    )
    [line] = found.lines
    assert (line.model, line.words) == ("claude-haiku-4-5", "equal")


async def test_what_explains_a_difference(platform: Penstock) -> None:
    await call(platform, "openai:gpt-4o", Amount(1_000, 50))
    await call(platform, "openai:gpt-4o", None)
    iso = f"{TODAY}T00:00:00+00:00"
    [line] = (await compared(platform, f"{OPENAI}{iso},gpt-4o,2,1010,52,0,p\n")).lines
    assert line.lost == 1
    assert 0 < line.difference == 12 <= line.tokens_lost
    assert "12 tokens of 1 lost calls" in line.words
    assert line.nano_lost > 0
    [line] = (await compared(platform, f"{OPENAI}{iso},gpt-4o,9,900000,52,0,p\n")).lines
    assert "did not pass a gate" in line.words
    assert "the rest may be" in line.words
    [line] = (await compared(platform, f"{OPENAI}{iso},gpt-4o,1,1000,50,0,p\n")).lines
    assert "which they did not bill" in line.words
    [line] = (await compared(platform, f"{OPENAI}{iso},gpt-4o,1,900,50,0,p\n")).lines
    assert "100 tokens of ours" in line.words
    ours, theirs = (await compared(platform, f"{OPENAI}{iso},o3,1,900,50,0,p\n")).lines
    assert (ours.model, theirs.model) == ("gpt-4o", "o3")
    assert "ours only" in ours.words
    assert "theirs only" in theirs.words


@pytest.mark.parametrize(
    ("provider", "text", "said"),
    [
        ("openai", "", "has no input_tokens"),
        ("openai", "a,b\n1,2\n", "has no input_tokens, model"),
        ("anthropic", OPENAI, "has no model_version"),
        ("openai", f"{OPENAI}yesterday,m,1,1,1,1,p\n", "line 2"),
        ("openai", f"{OPENAI}2026-11-01,m,1,-5,1,1,p\n", "line 2 of the file cannot be read: input_tokens is '-5'"),
        ("openai", f"{OPENAI}2026-11-01,m,1,1.5,1,1,p\n", "input_tokens"),
        ("openai", f"{OPENAI}2026-11-01,m,1,nan,1,1,p\n", "input_tokens"),
        ("openai", f"{OPENAI}2026-11-01,m,1,1e99,1,1,p\n", "input_tokens"),
        ("openai", f"{OPENAI}2026-11-01,m,1,many,1,1,p\n", "line 2"),
        ("openai", f"{OPENAI}2026-11-01,,1,1,1,1,p\n", "holds no usage"),
    ],
)
async def test_what_is_no_usage_file(platform: Penstock, provider: str, text: str, said: str) -> None:
    with pytest.raises(InputInvalid, match=said):
        await compared(platform, text, provider)


def test_seconds_since_the_epoch_and_a_byte_order_mark() -> None:
    text = [
        "\ufeffstart_time,model,num_model_requests,input_tokens,output_tokens",
        "1793491200,gpt-5,2,10,3",
        "1793577599,gpt-5,1,5,1",
    ]
    found, unread = read_file("openai", text)
    [(key, side)] = found.items()
    assert key == (1_793_491_200_000_000, "gpt-5")
    assert (side.requests, side.tokens_in, side.tokens_out, unread) == (3, 15, 4, 0)


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("openai:gpt-4o-2024-08-06", "gpt-4o"),
        ("claude-haiku-4-5-20251001", "claude-haiku-4-5"),
        ("gpt-4.1", "gpt-4.1"),
        ("openai:ft:gpt-4o-mini:acme::x1", "x1"),
    ],
)
def test_names_of_snapshots(name: str, plain: str) -> None:
    assert plain_model(name) == plain


async def test_at_corrected_prices_both_figures_stay(platform: Penstock) -> None:
    journal, clock = platform.journal, SystemClock()
    await call(platform, "openai:gpt-4o", Amount(1_000, 50, cached=400), "a")
    await call(platform, "openai:gpt-4o", Amount(2_000, 10), "a")
    await call(platform, "openai:gpt-4o", Amount(10, 10), "b")
    await call(platform, "openai:gpt-4o", None, "c")
    await call(platform, "openai:o3", Amount(10, 10), "b")
    now = await journal.now()
    half = Price(1250.0, 5_000.0, 625.0, source="list of June")
    made = await rerate(journal, clock, "default", "openai:gpt-4o", half, 0, now, reason="the list was wrong")
    rows = {row.customer: row for row in made.rows}
    billed = 600 * 2500 + 400 * 1250 + 50 * 10_000 + 2_000 * 2500 + 10 * 10_000
    assert (rows["a"].billed, rows["a"].corrected, rows["a"].calls) == (billed, billed // 2, 2)
    assert rows["a"].difference == -(billed // 2)
    assert (rows["b"].billed, rows["b"].corrected) == (125_000, 62_500)
    assert rows["c"].billed == rows["c"].corrected == rows["c"].kept > 0, "nobody knows what it used"
    assert not made.partial
    assert made.price == half.text
    assert made.before == {PRICE.text: 3, "": 1}
    assert made.price.endswith("@list of June")
    assert await rerates(journal, "default") == [made]
    assert await rerates(journal, "other") == []
    shown = await rerate(journal, clock, "default", "openai:gpt-4o", PRICE, 0, now, keep=False)
    assert shown.billed == shown.corrected
    assert await rerates(journal, "default") == [made], "only looked at"
    before = await rerate(journal, clock, "default", "openai:gpt-4o", half, 0, 1_000, keep=False)
    assert before.rows == []
