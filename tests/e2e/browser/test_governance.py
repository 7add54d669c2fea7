"""Two people for one call, a case taken over, and proofs that are checked in the browser itself."""

import json
import re

import pytest
from playwright.async_api import Page, Route, expect
from tests.e2e.browser.conftest import People
from tests.e2e.browser.house import House, until

pytestmark = [pytest.mark.alone, pytest.mark.asyncio(loop_scope="session")]

CARD = "[data-card]"
ARMED = f"{CARD}[data-armed]"
DONE = "[data-done]"


async def looks(page: Page, question: str) -> None:
    """Go to the card, and wait until it acts."""
    await page.goto(f"/approvals/{question}")
    await page.locator(f'a[href="/approvals/{question}"]').click()
    await expect(page.locator(ARMED)).to_be_focused()


async def test_two_people_allow_one_call(person: People, house: House) -> None:
    run = await house.submit("porter", "north")
    question = (await house.question(run))["id"]
    one = await person("approver", name="ann")
    await looks(one, question)
    await expect(one.locator("[data-terms]")).to_contain_text("2 different people must allow it.")
    await one.keyboard.press("a")
    await expect(one.locator(DONE)).to_contain_text("waits for 1 other person")
    assert (await house.run(run))["status"] != "ended"

    await one.goto(f"/approvals/{question}")
    await expect(one.locator("[data-terms]")).to_contain_text("1 of 2 have allowed it, needs another.")
    await expect(one.locator("[data-foot]")).to_contain_text("you have allowed it; others are needed")
    assert await one.locator(CARD).get_by_role("button", name="Approve").count() == 0

    other = await person("approver", name="ben")
    await looks(other, question)
    await expect(other.locator("[data-terms]")).to_contain_text("key:ann allowed it")
    await other.keyboard.press("a")
    await expect(other.locator(DONE)).to_contain_text("You approved")
    ended = await house.ended(run)
    assert (ended["outcome"], ended["output"]["value"]) == ("succeeded", "open: north")


async def test_a_case_is_taken_over_edited_and_handed_back(person: People, house: House) -> None:
    run = await house.submit("desk", "I was charged twice for o-case", tags={"customer": "acme"})
    question = (await house.question(run))["id"]
    one, other = await person("approver", name="ann"), await person("approver", name="ben")
    await looks(one, question)
    await one.keyboard.press("t")
    await expect(one.locator("[data-case=mine]")).to_contain_text("nobody else decides")

    await other.goto(f"/approvals/{question}")
    await expect(other.locator("[data-case=other]")).to_contain_text("key:ann has taken this case over")
    assert await other.locator(CARD).get_by_role("button", name="Approve").count() == 0

    await one.locator("[data-hand-back] input").fill("she called: <b>both</b> are hers")
    await one.keyboard.press("Enter")
    await expect(one.locator("[data-case=free]")).to_contain_text("she called: <b>both</b> are hers")

    await looks(other, question)
    await other.keyboard.press("t")
    await expect(other.locator("[data-case=mine]")).to_be_visible()
    await expect(other.locator(ARMED)).to_be_visible()
    await other.keyboard.press("e")
    await other.get_by_label(re.compile("^cents")).fill("4800")
    diff = other.locator("[data-diff]")
    await expect(diff.locator("del")).to_have_text("4900")
    await expect(diff.locator("ins")).to_have_text("4800")
    await other.keyboard.press("Enter")
    await expect(other.locator("[data-confirm]")).to_be_focused()
    assert house.refunds("o-case") == 0
    await other.keyboard.press("Enter")
    await expect(other.locator(DONE)).to_contain_text("You allowed with other arguments")
    assert (await house.ended(run))["outcome"] == "succeeded"
    assert [effect["cents"] for effect in house.effects if effect["order"] == "o-case"] == [4800]


async def test_a_proof_is_checked_here_and_a_forged_one_is_named(person: People, house: House) -> None:
    run = await house.submit("clerk", "where is it?")
    await house.ended(run)

    async def sealed() -> bool | None:
        async with house.client() as client:
            return (await client.get("/v1/audit/inclusion", params={"run": run})).is_success or None

    await until(sealed, "the run is sealed")
    page = await person("auditor")
    await page.goto("/audit")
    await expect(page.locator("[data-log=intact]")).to_contain_text("seen here for the first time")
    await expect(page.locator("[data-actions]")).to_contain_text("key.make")

    await page.locator("[data-log] input").fill(run)
    await page.locator("[data-prove]").click()
    for name in ("key", "signature", "growth", "leaf", "inclusion", "event"):
        await expect(page.locator(f"[data-finding={name}]")).to_have_attribute("data-state", "fits")
    await expect(page.locator("[data-log=intact]")).to_contain_text("Proof checked here: intact to")

    async def other_leaf(route: Route) -> None:
        answer = await route.fetch()
        body = await answer.json()
        leaf = json.loads(body["leaf"])
        body["leaf"] = json.dumps({**leaf, "seq": leaf["seq"] - 1}, separators=(",", ":"), sort_keys=True)
        await route.fulfill(response=answer, json=body)

    await page.route("**/v1/audit/inclusion*", other_leaf)
    await page.get_by_role("button", name="Check again").click()
    await expect(page.locator("[data-wrong=inclusion]")).to_be_visible()
    await page.unroute("**/v1/audit/inclusion*")

    held = "[...Array(localStorage.length).keys()].map((i) => localStorage.key(i)).find((k) => k.includes('audit'))"
    await page.evaluate(
        f"(() => {{ const name = {held}; const kept = JSON.parse(localStorage.getItem(name));"
        " const lines = kept.note.split('\\n'); lines[2] = btoa('x'.repeat(32)); kept.note = lines.join('\\n');"
        " localStorage.setItem(name, JSON.stringify(kept)); })()"
    )
    await page.get_by_role("button", name="Check again").click()
    await expect(page.locator("[data-wrong=growth]")).to_contain_text("that this browser saw")
