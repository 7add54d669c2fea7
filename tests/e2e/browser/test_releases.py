"""A release in a browser: put up, approved by somebody else, promoted, and taken back."""

import pytest
from playwright.async_api import Page, expect
from tests.e2e.browser.conftest import People
from tests.e2e.browser.house import House, until

pytestmark = [pytest.mark.alone, pytest.mark.asyncio(loop_scope="session")]


async def decide(page: Page, act: str, reason: str) -> None:
    """Press, say why, and press Enter."""
    await page.locator(f"[data-act={act}]").click()
    await page.get_by_label("reason").fill(reason)
    await page.keyboard.press("Enter")
    await expect(page.locator("[data-done]")).to_be_visible()


async def test_a_release_is_drafted_with_its_difference_in_sight(person: People, house: House) -> None:
    author = await person("operator", name="author")
    await author.goto("/releases")
    await author.get_by_label("draft a release of").select_option("clerk")
    await author.locator("[data-begin] button").click()
    prompt = author.get_by_label("prompt instructions")
    await expect(prompt).to_have_value("Answer.")
    await prompt.fill("Answer in one line.")
    await expect(author.locator("[data-typed] ins")).to_have_text(" in one line")
    words = author.locator("[data-otherwise]")
    await expect(words).to_contain_text("+ Answer in one line.")
    await author.get_by_role("textbox", name="max_tokens").fill("0")
    await expect(author.get_by_role("alert").first).to_contain_text("max_tokens is 0")
    await expect(author.locator("[data-make]")).to_be_disabled()
    await author.get_by_role("textbox", name="max_tokens").fill("many")
    await expect(author.get_by_text("no JSON")).to_be_visible()
    await author.get_by_role("textbox", name="max_tokens").fill("300")
    await author.get_by_label("dollars").fill("0.25")
    await expect(words).to_contain_text("money: $0.250, was $0.500")
    await author.get_by_label("reason").fill("shorter")
    await author.locator("[data-make]").click()
    await expect(author.locator("[data-act=submit]")).to_be_visible()
    await expect(author.locator("[data-steps]")).to_contain_text("shorter")
    release = author.url.split("release=")[1]
    async with house.client() as client:
        manifest = (await client.get(f"/v1/releases/{release}")).json()["manifest"]
    assert manifest["prompts"] == {"instructions": "Answer in one line."}
    assert (manifest["settings"]["max_tokens"], manifest["budget"]) == (300, {"nano": 250_000_000})


async def test_four_eyes_a_promotion_and_the_way_back(person: People, house: House) -> None:
    release = await house.draft("clerk", await house.key("drafter", "operator", "approver"), "Answer, and be kind.")

    async def given() -> str:
        """The release that a new run gets."""
        run = await house.submit("clerk", "where is it?")
        return str((await house.run(run))["release"])

    author = await person("operator", "approver", name="drafter")
    await author.goto(f"/releases?release={release}")
    await expect(author.locator("[data-holds]")).to_contain_text("Answer, and be kind.")
    await decide(author, "submit", "kinder")
    await expect(author.locator("[data-why]")).to_have_text("You drafted it: somebody else approves it.")
    assert await author.locator("[data-act=approve]").count() == 0

    other = await person("approver", name="second")
    await other.goto("/releases?agent=clerk")
    await other.get_by_role("link", name=release[:12]).first.click()
    await decide(other, "approve", "reads well")
    await expect(other.locator("[data-release] [data-state=approved]").first).to_be_visible()
    assert await other.locator("[data-act=promote]").count() == 0
    assert await given() != release

    await expect(author.locator("[data-act=promote]")).to_be_visible()
    await decide(author, "promote", "")

    async def live() -> bool | None:
        return True if await given() == release else None

    await until(live, "new runs get the release")
    await author.goto("/releases?agent=clerk")
    await expect(author.locator("[data-numbers]")).to_contain_text(release[:12])
    await expect(author.locator("[data-reach]")).to_contain_text("running")
    do = author.locator("[data-do]")
    await author.locator("[data-rollback]").get_by_label("reason").fill("too kind")
    await expect(do).to_be_disabled()
    await author.get_by_label("to arm").fill("clerk")
    await do.click()
    await expect(author.locator("[data-done]")).to_contain_text("new runs get the code as it is offered")
    await expect(author.locator("[data-list]")).to_contain_text("rolled back")

    async def back() -> bool | None:
        return True if await given() != release else None

    await until(back, "new runs get the release no more", seconds=2)
