"""Stopping in a browser: seen before, armed, and followed until nothing moves."""

import pytest
from playwright.async_api import Route, expect
from tests.e2e.browser.conftest import People
from tests.e2e.browser.house import House

pytestmark = [pytest.mark.alone, pytest.mark.asyncio(loop_scope="session")]

TIMELINE = "[data-control]"


async def test_a_runaway_is_killed_and_its_end_is_followed(person: People, house: House) -> None:
    run = await house.submit("slow", 25)
    page = await person("operator")
    await page.goto(f"/controls?scope=run&name={run}&action=kill")
    await expect(page.locator("[data-preview]")).to_contain_text("1 running")
    do = page.locator("[data-do]")
    await expect(do).to_be_disabled()
    await page.get_by_label("reason").fill("it goes round and round")
    await do.click()
    await expect(page.locator("[data-confirm]")).to_be_focused()
    assert (await house.run(run))["status"] != "ended"
    await page.keyboard.press("Enter")
    await expect(page.locator(TIMELINE)).to_contain_text("SEALED")
    await expect(page.locator(TIMELINE)).to_have_attribute("data-state", "quiesced", timeout=30_000)
    await expect(page.locator(TIMELINE)).to_contain_text("it goes round and round")
    assert (await house.ended(run))["outcome"] == "killed"


async def test_a_wide_stop_is_armed_by_its_name_and_lifted_with_a_preview(person: People, house: House) -> None:
    page = await person("operator")
    await page.goto("/controls?scope=tenant&action=kill")
    await page.get_by_label("reason").fill("a drill")
    do = page.locator("[data-do]")
    await page.get_by_label("to arm").fill("defaul")
    await expect(do).to_be_disabled()
    await page.get_by_label("to arm").fill("default")
    await do.click()
    await expect(page.locator(TIMELINE)).to_have_attribute("data-state", "quiesced", timeout=30_000)
    await page.get_by_role("link", name="Resume…").first.click()
    await expect(page.locator("[data-preview]")).to_be_visible()
    await page.get_by_label("to arm").fill("default")
    await page.locator("[data-do]").click()
    await expect(page.locator(TIMELINE)).to_have_attribute("data-state", "lifted")
    await expect(page.get_by_text("None in force.")).to_be_visible()


async def test_an_agent_is_paused_and_goes_on(person: People, house: House) -> None:
    page = await person("operator")
    await page.goto("/controls?scope=agent&name=slow&action=pause")
    await page.get_by_label("reason").fill("its prompt is being changed")
    await page.get_by_label("to arm").fill("slow")
    await page.locator("[data-do]").click()
    await expect(page.locator(TIMELINE)).to_have_attribute("data-state", "quiesced", timeout=30_000)
    await expect(page.get_by_role("link", name="pause agent slow")).to_be_visible()
    run = await house.submit("slow", 0.1)
    await page.goto("/controls?scope=agent&name=slow&action=resume")
    await expect(page.locator("[data-preview]")).to_contain_text("1 queued")
    await page.get_by_label("to arm").fill("slow")
    await page.locator("[data-do]").click()
    await expect(page.locator(TIMELINE)).to_have_attribute("data-state", "lifted")
    assert (await house.ended(run))["outcome"] == "succeeded"


async def test_a_stop_without_an_answer_is_asked_for_again_and_happens_once(person: People, house: House) -> None:
    run = await house.submit("waiter", 1)
    page = await person("operator")
    keys: list[str | None] = []

    async def lose(route: Route) -> None:
        if route.request.method != "POST":
            await route.continue_()
            return
        keys.append(route.request.headers.get("idempotency-key"))
        if len(keys) == 1:
            await route.fetch()  # it happens, and the answer is lost
            await route.abort("connectionreset")
        else:
            await route.continue_()

    await page.route("**/v1/controls", lose)
    await page.goto(f"/controls?scope=run&name={run}&action=kill")
    await page.get_by_label("reason").fill("lost")
    await page.locator("[data-do]").click()
    await page.locator("[data-confirm]").click()
    await expect(page.locator("[data-unsure]")).to_contain_text("it may have happened")
    await expect(page.locator("[data-unsure]")).to_contain_text(f"penstock kill {run}")
    await expect(page.locator(TIMELINE)).to_be_visible()
    assert len(keys) == 2
    assert keys[0] == keys[1]
    assert keys[0]
    async with house.client() as client:
        controls = (await client.get("/v1/controls")).json()["items"]
    assert sum(control["scope"]["name"] == run for control in controls) == 1


async def test_who_may_not_stop_is_offered_nothing(person: People, house: House) -> None:
    page = await person("viewer")
    await page.goto("/controls?scope=tenant&action=kill")
    await expect(page.get_by_text("To stop or resume you need the right controls:stop.")).to_be_visible()
    assert await page.get_by_label("reason").count() == 0
