"""Money in a browser: who spent it and why, a budget that holds a run back, a breaker that is reset."""

import re
import uuid
from typing import Any

import pytest
from playwright.async_api import Page, expect
from tests.e2e.browser.conftest import People
from tests.e2e.browser.house import House, until

pytestmark = [pytest.mark.alone, pytest.mark.asyncio(loop_scope="session")]

COST = "$0.000980"
"""Of one answer of the clerk."""


async def put(house: House, path: str, body: dict[str, Any]) -> None:
    async with house.client() as client:
        answer = await client.put(path, json=body)
        assert answer.is_success, answer.text


async def parked(house: House, tags: dict[str, str]) -> str:
    """A run that waits: the first one that is submitted when the budget has come into force on the worker."""

    async def stopped(run: str) -> str | None:
        status: str = (await house.run(run))["status"]
        return status if status in {"parked", "ended"} else None

    async def held() -> str | None:
        run = await house.submit("clerk", "where is it?", tags=tags)
        return run if await until(lambda: stopped(run), f"run {run} stops") == "parked" else None

    return await until(held, "a run waits for the budget")


async def tripped(house: House, name: str) -> set[str]:
    """Runs that failed, until the breaker has opened."""
    runs: set[str] = set()

    async def fails() -> set[str] | None:
        run = await house.submit("finder", "bad")
        runs.add(run)
        assert (await house.ended(run))["outcome"] == "failed"
        async with house.client() as client:
            return runs if (await client.get(f"/v1/breakers/{name}")).json()["open"] else None

    return await until(fails, f"the breaker {name} trips")


async def test_a_sum_opens_its_runs_and_is_explained(person: People, house: House) -> None:
    customer = f"c-{uuid.uuid4().hex[:8]}"
    runs = [
        await house.submit("clerk", "where is it?", tags={"customer": customer, "feature": "mail"}) for _ in range(2)
    ]
    for run in runs:
        assert (await house.ended(run))["outcome"] == "succeeded"
    page = await person("viewer")
    await page.goto("/costs?range=24h")
    row = page.get_by_role("row").filter(has_text=customer)
    await expect(row).to_contain_text("$0.00196")
    await expect(page.locator("[data-month]")).to_contain_text("so far (UTC)")
    await page.get_by_label("then by").select_option("feature")
    await expect(page).to_have_url(re.compile("by=customer,feature"))
    row = page.get_by_role("row").filter(has_text=customer)
    await expect(row).to_contain_text("mail")
    await row.get_by_role("link", name="2", exact=True).click()
    await expect(page).to_have_url(re.compile(f"/runs\\?customer={customer}&feature=mail&since=24h"))
    await expect(page.locator("[role=grid] [role=row][aria-rowindex]")).to_have_count(3)
    await page.go_back()
    row = page.get_by_role("row").filter(has_text=customer)
    await row.get_by_role("button", name=f"explain {customer}, mail").focus()
    await page.keyboard.press("e")
    drawer = page.get_by_role("dialog")
    await expect(drawer).to_contain_text(f"Why {customer}, mail costs that")
    await expect(drawer).to_contain_text("$0.00196")
    await expect(drawer.get_by_role("table").get_by_role("link")).to_have_count(2)
    await drawer.get_by_role("table").get_by_role("link").first.click()
    await expect(page).to_have_url(re.compile(f"/runs/({'|'.join(runs)})"))


async def test_what_is_spent_shows_without_a_reload(person: People, house: House) -> None:
    customer = f"c-{uuid.uuid4().hex[:8]}"
    page = await person("viewer")
    await page.goto(f"/costs?range=24h&customer={customer}")
    await expect(page.get_by_text("Nothing was spent in this time.")).to_be_visible()
    await house.submit("clerk", "where is it?", tags={"customer": customer})
    await expect(page.locator("[data-total]")).to_contain_text(COST)
    await expect(page.locator("[data-month]")).to_contain_text(COST)


async def edited(page: Page, dollars: str) -> None:
    """A budget's limit is written and set."""
    await page.get_by_role("link", name="Change…").click()
    await page.get_by_label("dollars").fill(dollars)
    await expect(page.locator("[data-preview]:not([data-stale])")).to_contain_text("Last week")
    await page.locator("[data-set]").click()
    await expect(page.locator("[data-budget-form]")).to_have_count(0)


async def test_a_budget_is_raised_and_the_run_that_waits_for_it_goes_on(person: People, house: House) -> None:
    customer = f"c-{uuid.uuid4().hex[:8]}"
    match = {"customer": customer}
    await put(house, f"/v1/budgets/{customer}", {"match": match, "period": "month", "nano": 1_000, "at_end": "park"})
    run = await parked(house, match)
    page = await person("operator")
    await page.goto(f"/runs/{run}")
    await expect(page.get_by_role("main")).to_contain_text(f"budget {customer}")
    await page.goto(f"/costs/budgets?budget={customer}")
    await expect(page.locator("[data-waiting]")).to_contain_text("1 run waits for this budget")
    await edited(page, "5")
    assert (await house.ended(run))["outcome"] == "succeeded"
    await expect(page.locator("[data-account]")).to_contain_text(f"{COST} of $5.00")
    await expect(page.locator("[data-waiting]")).to_have_count(0)


async def test_a_budget_that_cannot_be_kept_is_refused_in_words(person: People, house: House) -> None:
    name = f"b-{uuid.uuid4().hex[:8]}"
    page = await person("operator")
    await page.goto("/costs/budgets?edit=new")
    await page.locator("[data-set]").click()
    await expect(page.get_by_text("give it at least one limit")).to_have_count(0)
    await page.get_by_label("name").fill(name)
    await expect(page.get_by_text("give it at least one limit")).to_be_visible()
    await page.get_by_label("calls").fill("3")
    await page.get_by_label("time zone").fill("Etc/GMT+40")
    await expect(page.get_by_text("a zone such as Europe/Berlin")).to_be_visible()
    await page.get_by_label("time zone").fill("Asia/Tokyo")
    await page.locator("[data-set]").click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text(name)
    await expect(page.get_by_role("main")).to_contain_text("every call, a month, Asia/Tokyo")
    await page.get_by_role("link", name="Change…").click()
    await page.get_by_role("button", name="Lift…").click()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_contain_text("Budgets")
    async with house.client() as client:
        assert (await client.get(f"/v1/budgets/{name}")).status_code == 404


async def test_a_breaker_that_tripped_shows_why_and_is_reset(person: People, house: House) -> None:
    name = f"b-{uuid.uuid4().hex[:8]}"
    conditions = [{"kind": "failures", "limit": 2}]
    body = {"scope": "tool", "value": "flaky", "conditions": conditions, "open_seconds": 600}
    await put(house, f"/v1/breakers/{name}", body)
    try:
        runs = await tripped(house, name)
        page = await person("operator")
        await page.goto("/controls/breakers")
        line = page.locator(f"[data-breaker={name}]")
        await expect(line.locator("[data-state=open]").first).to_be_visible()
        await expect(line).to_contain_text("2 calls failed in a row")
        await line.get_by_role("link", name=name).click()
        evidence = page.locator("[data-evidence]").first
        await expect(evidence.get_by_role("link").first).to_have_attribute("href", re.compile("|".join(runs)))
        refused = await house.submit("finder", "good")
        assert f"the breaker {name} of tool flaky is open" in (await house.ended(refused))["reason"]
        await page.locator("[data-do]").click()
        await expect(page.locator("[data-confirm]")).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(page.locator("[data-done]")).to_be_visible()
        await expect(page.locator("h1 + [data-state]")).to_have_attribute("data-state", "closed")
        await expect(page.locator("[data-trip]").first).to_contain_text("closed after")
        fine = await house.submit("finder", "good")
        assert (await house.ended(fine))["outcome"] == "succeeded"
    finally:
        async with house.client() as client:
            await client.delete(f"/v1/breakers/{name}")


async def test_who_may_not_set_is_offered_nothing(person: People, house: House) -> None:
    await put(house, "/v1/budgets/look-only", {"calls": 1_000_000})
    page = await person("viewer")
    await page.goto("/costs/budgets?budget=look-only&edit=1")
    await expect(page.get_by_role("heading", level=1)).to_contain_text("look-only")
    assert await page.locator("[data-budget-form], [data-set]").count() == 0
    await page.goto("/costs/budgets")
    await expect(page.get_by_text("you need the right budgets:set")).to_be_visible()
    async with house.client() as client:
        await client.delete("/v1/budgets/look-only")
