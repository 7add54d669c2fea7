"""Approving in a browser: once, by one person, and never by accident."""

import re

import pytest
from playwright.async_api import Page, expect
from tests.e2e.browser.conftest import People
from tests.e2e.browser.house import House, until

pytestmark = [pytest.mark.alone, pytest.mark.asyncio(loop_scope="session")]

KEY = "input[autocomplete=current-password]"
CARD = "[data-card]"
ARMED = f"{CARD}[data-armed]"
CONFIRM = "[data-confirm]"
TAKE_BACK = "[data-take-back]"


async def asks(house: House, order: str) -> tuple[str, str]:
    """A run that asks whether it may refund an order, and the question's id."""
    run = await house.submit("desk", f"I was charged twice for {order}", tags={"customer": "acme"})
    return run, (await house.question(run))["id"]


async def open_card(page: Page, question: str) -> None:
    """Go to the card with the mouse, as one goes to any."""
    await page.goto(f"/approvals/{question}")
    await page.locator(f'a[href="/approvals/{question}"]').click()
    await expect(page.locator(ARMED)).to_be_focused()


async def test_a_refund_is_approved_and_executed_once(person: People, house: House) -> None:
    run, question = await asks(house, "o-once")
    page = await person("approver")
    await open_card(page, question)
    card = page.locator(CARD)
    # Facts first, all of them, and what cannot be seen is drawn; the agent's own words come last.
    await expect(card.locator("[data-args]")).to_contain_text('"cents": 4900')
    await expect(card.locator("[data-args]")).to_contain_text("RLO")
    await expect(card.get_by_role("row", name="order o-once: refunded")).to_be_visible()
    await expect(card.locator("del")).to_have_text("$0.00")
    await expect(card.locator("ins")).to_have_text("$49.00")
    await expect(card).to_contain_text("Can be undone by charging the customer again.")
    titles = await card.get_by_role("heading", level=3).all_inner_texts()
    assert titles[0] == "Exactly"
    assert titles[-1] == "The agent says (unverified)"

    await page.keyboard.press("a")
    await expect(card.locator(CONFIRM)).to_be_focused()
    await expect(card.locator(CONFIRM)).to_contain_text("49.00")
    await expect(card.locator(CONFIRM)).to_contain_text("o-once")
    await page.keyboard.press("Enter")
    await expect(card.locator(TAKE_BACK)).to_be_focused()
    assert house.refunds("o-once") == 0

    await expect(page.locator("[data-done]")).to_contain_text("You approved")
    await page.locator("[data-done]").get_by_role("link", name="To its run").click()
    await expect(page.get_by_role("heading", level=1).first).to_be_visible()
    await expect(page.get_by_text("succeeded").first).to_be_visible()
    assert (await house.ended(run))["outcome"] == "succeeded"
    assert house.refunds("o-once") == 1


async def test_of_two_who_approve_at_once_one_counts_and_the_other_is_told(person: People, house: House) -> None:
    run, question = await asks(house, "o-race")
    pages = [await person("approver", name="ann"), await person("approver", name="ben")]
    for page in pages:
        await open_card(page, question)
    await expect(pages[1].locator(CARD)).to_contain_text("key:ann looks at it too")
    for page in pages:
        await page.bring_to_front()
        await page.locator(CARD).focus()
        await expect(page.locator(ARMED)).to_be_visible()
        await page.keyboard.press("a")
        await page.keyboard.press("Enter")
        await expect(page.locator(TAKE_BACK)).to_be_visible()

    async def settled() -> list[str] | None:
        said = ["won" if await page.locator("[data-done]").count() else "" for page in pages]
        said = [
            one or ("lost" if await page.locator("[data-lost]").count() else "")
            for one, page in zip(said, pages, strict=True)
        ]
        return said if all(said) else None

    said = await until(settled, "both are told")
    assert sorted(said) == ["lost", "won"]
    loser = pages[said.index("lost")]
    winner = "ben" if said.index("lost") == 0 else "ann"
    await expect(loser.locator("[data-lost]")).to_contain_text(re.compile(rf"key:{winner} approved .*(now|ago)"))
    await loser.keyboard.press("a")
    await expect(loser.locator(CARD)).to_have_attribute("data-state", "lost")
    assert (await house.ended(run))["outcome"] == "succeeded"
    assert house.refunds("o-race") == 1


async def test_a_held_key_decides_nothing(person: People, house: House) -> None:
    run, question = await asks(house, "o-held")
    page = await person("approver")
    await page.goto(f"/approvals/{question}")
    await expect(page.locator(CARD)).to_be_visible()
    await page.keyboard.down("a")  # begun elsewhere, before the card is in the focus
    await page.locator(CARD).focus()
    await expect(page.locator(ARMED)).to_be_visible()
    for _ in range(30):
        await page.keyboard.down("a")
    await expect(page.locator(CARD)).to_have_attribute("data-state", "looking")
    await page.keyboard.up("a")

    await page.keyboard.down("a")  # begun on the armed card: opens the line, and confirms nothing
    await expect(page.locator(CONFIRM)).to_be_focused()
    for _ in range(30):
        await page.keyboard.down("a")
    await page.keyboard.up("a")
    await expect(page.locator(CARD)).to_have_attribute("data-state", "confirming")
    await page.keyboard.press("Escape")
    await expect(page.locator(CARD)).to_have_attribute("data-state", "looking")

    await page.locator(CARD).get_by_role("button", name="Approve").focus()
    await expect(page.locator(ARMED)).to_be_visible()
    await page.keyboard.down("Enter")  # a button that is held: the line that it opens is not confirmed by it
    for _ in range(30):
        await page.keyboard.down("Enter")
    await page.keyboard.up("Enter")
    await expect(page.locator(CARD)).to_have_attribute("data-state", "confirming")
    assert (await house.question(run))["id"] == question
    assert house.refunds("o-held") == 0


async def test_a_key_before_the_card_is_armed_and_one_taken_back_decide_nothing(person: People, house: House) -> None:
    run, question = await asks(house, "o-back")
    page = await person("approver")
    await page.clock.install()
    await page.goto(f"/approvals/{question}")
    await expect(page.locator(CARD)).to_be_visible()
    await page.locator(CARD).focus()
    await page.clock.pause_at(await page.evaluate("Date.now() / 1000 + 0.1"))
    await page.locator(CARD).blur()
    await page.clock.run_for(50)
    await page.locator(CARD).focus()
    await page.clock.run_for(700)
    await page.keyboard.press("a")
    await expect(page.locator(CARD)).to_have_attribute("data-state", "looking")
    await page.clock.run_for(200)
    await page.keyboard.press("a")
    await page.keyboard.press("Enter")
    await expect(page.locator(CARD)).to_have_attribute("data-state", "sending")
    await page.clock.run_for(2_900)
    await expect(page.locator(CARD)).to_have_attribute("data-state", "sending")
    await page.keyboard.press("Escape")
    await expect(page.locator("[data-note]")).to_contain_text("nothing was sent")
    await page.clock.run_for(10_000)
    await expect(page.locator(CARD)).to_have_attribute("data-state", "looking")

    await page.keyboard.press("a")
    await page.keyboard.press("Enter")
    await expect(page.locator(CARD)).to_have_attribute("data-state", "sending")
    await page.locator(TAKE_BACK).blur()  # leaving decides nothing, be it within the page
    await page.clock.run_for(50)
    await expect(page.locator("[data-note]")).to_contain_text("you left: nothing was sent")
    await page.locator(CARD).focus()
    await page.clock.run_for(1_000)
    await page.keyboard.press("a")
    await page.keyboard.press("Enter")
    await expect(page.locator(CARD)).to_have_attribute("data-state", "sending")
    await page.get_by_role("link", name="Runs").click()  # or to another
    await page.clock.run_for(10_000)
    assert (await house.question(run))["id"] == question
    assert house.refunds("o-back") == 0


async def test_the_keyboard_alone_signs_in_and_denies_with_a_reason(person: People, house: House) -> None:
    run, question = await asks(house, "o-keys")
    page = await person()
    await page.goto("/sign-in")
    await expect(page.locator(KEY)).to_be_visible()
    await page.keyboard.press("Tab")
    for _ in range(10):
        if await page.evaluate("document.activeElement.tagName") == "INPUT":
            break
        await page.keyboard.press("Tab")
    await page.keyboard.type(await house.key("keys-only", "approver"))
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Overview", level=1)).to_be_visible()
    await page.keyboard.press("g")
    await page.keyboard.press("a")
    await expect(page.get_by_role("heading", name="Approvals", level=1)).to_be_visible()
    await expect(page.locator(CARD)).to_be_visible()
    await page.keyboard.press("j")
    for _ in range(50):
        await expect(page.locator(CARD)).to_be_focused()
        if page.url.endswith(question):
            break
        before = page.url
        await page.keyboard.press("j")
        await expect(page).not_to_have_url(before)
    await expect(page.locator(ARMED)).to_be_visible()
    await page.keyboard.press("d")
    await expect(page.locator("[data-reasons]")).to_be_focused()
    await page.keyboard.press("2")
    await expect(page.locator("[data-done]")).to_contain_text("You denied")
    assert house.refunds("o-keys") == 0
    await house.ended(run)
    async with house.client() as client:
        events = (await client.get(f"/v1/runs/{run}/events")).text
    assert "wrong amount" in events or "deny" in events


async def test_on_a_phone_one_card_with_buttons_apart(person: People, house: House) -> None:
    run, question = await asks(house, "o-phone")
    page = await person("approver", viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    await page.goto("/approvals")
    row = page.locator(f'a[href="/approvals/{question}"]')
    await row.tap()
    await expect(page.locator(ARMED)).to_be_visible()
    await expect(row).to_be_hidden()
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    approve, deny = (
        page.locator(CARD).get_by_role("button", name="Approve"),
        page.locator(CARD).get_by_role("button", name="Deny"),
    )
    one, other = await approve.bounding_box(), await deny.bounding_box()
    assert one is not None
    assert other is not None
    assert min(one["height"], other["height"]) >= 44
    assert other["x"] - (one["x"] + one["width"]) >= 24
    await approve.tap()
    await page.locator(CONFIRM).tap()
    await expect(page.locator("[data-done]")).to_contain_text("You approved")
    assert (await house.ended(run))["outcome"] == "succeeded"
    assert house.refunds("o-phone") == 1
