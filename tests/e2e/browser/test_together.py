"""Questions that one rule holds, decided together; rights that are handed on; cases that change hands."""

import pytest
from playwright.async_api import Page, Route, expect
from tests.e2e.browser.conftest import People
from tests.e2e.browser.house import House, until

pytestmark = [pytest.mark.alone, pytest.mark.asyncio(loop_scope="session")]

TAKE_BACK_MS = 3_100
"""A little more than the time in which a decision can be taken back."""


async def ask(house: House, *orders: str) -> list[dict[str, str]]:
    """Questions of runs that want to refund these orders."""
    runs = [await house.submit("desk", f"I was charged twice for {order}") for order in orders]
    return [await house.question(run) for run in runs]


async def deny(house: House, asked: dict[str, str]) -> None:
    """Somebody else is faster."""
    body = {"decision": "deny", "reason": "no", "digest": asked["digest"], "version": asked["version"]}
    async with house.client(await house.key("faster", "approver")) as client:
        assert (await client.post(f"/v1/approvals/{asked['id']}/decision", json=body)).is_success


async def settled(page: Page) -> None:
    """Let the time go by in which one can take back."""
    await expect(page.locator("[data-take-back]")).to_be_visible()
    await page.clock.fast_forward(TAKE_BACK_MS)


async def test_what_one_rule_holds_is_decided_together_each_by_itself(person: People, house: House) -> None:
    asked = await ask(house, "o-all-1", "o-all-2", "o-all-3", "o-all-4")
    first, second, third, left = asked
    page = await person("approver", name="cleo")
    await page.clock.install()
    await page.goto(f"/approvals/{first['id']}")
    await page.locator(f'[data-groups] a[href="/approvals/together?group={first["group"]}"]').click()
    rows = {one["id"]: page.locator(f"[data-question='{one['id']}']") for one in asked}
    await expect(rows[second["id"]]).to_contain_text("o-all-2")
    await expect(page.locator("[data-together]")).to_contain_text("4900")
    await expect(page.locator("[data-together]")).to_contain_text("RLO")

    for one in (first, second, third):
        box = rows[one["id"]].locator("[data-choose]")
        await box.focus()
        await page.keyboard.press("x")
        await expect(box).to_be_checked()
    await expect(page.locator("[data-sums]")).to_have_text("cents: 147.00 in all")
    await expect(page.locator("[data-together][data-armed]")).to_be_visible()
    await page.keyboard.press("a")
    await page.keyboard.type("all were charged twice")
    await page.keyboard.press("Enter")
    await expect(page.locator("[data-confirm]")).to_contain_text("Approve 3 calls of refund")
    await page.keyboard.press("Enter")
    await page.keyboard.press("Escape")
    await expect(page.locator("[data-note]")).to_contain_text("nothing was sent")
    await page.clock.fast_forward(TAKE_BACK_MS)

    await rows[left["id"]].locator("[data-choose]").check()
    await expect(page.locator("[data-together][data-armed]")).to_be_visible()
    await page.keyboard.press("d")
    await expect(page.locator("[data-reasons]")).to_be_focused()
    await deny(house, left)
    await expect(page.locator("[data-note]")).to_contain_text("has changed: nothing was sent")

    async def overtaken(route: Route) -> None:
        """While the first is sent somebody else denies the third."""
        await deny(house, third)
        await route.continue_()

    await page.route(f"**/v1/approvals/{first['id']}/decision", overtaken)
    await expect(page.locator("[data-together][data-armed]")).to_be_visible()
    await page.keyboard.press("a")
    await page.keyboard.type("all were charged twice")
    await page.keyboard.press("Enter")
    await page.keyboard.press("Enter")
    await settled(page)
    await expect(rows[third["id"]].locator("[data-became=lost]")).to_contain_text("key:faster denied before you")
    for one in (first, second):
        await expect(rows[one["id"]].locator("[data-became=done]")).to_contain_text("approved")
    await expect(page.locator("[data-line]")).to_contain_text("All were sent")
    for one in (first, second):
        await house.ended(one["run"])
    assert [house.refunds(f"o-all-{n}") for n in (1, 2, 3, 4)] == [1, 1, 0, 0]
    async with house.client() as client:
        actions = (await client.get("/v1/actions", params={"action": "approval.decide"})).json()["items"]
    mine = [one["detail"] for one in actions if one["actor"] == "key:cleo"]
    assert {(one["approval"], one["digest"], one["together"]) for one in mine} == {
        (one["id"], one["digest"], 3) for one in (first, second)
    }


async def test_a_right_is_handed_on_used_and_taken_back(person: People, house: House) -> None:
    boss, giver = await person("admin", name="boss"), await person("approver", name="gil")
    await boss.goto("/approvals/people")
    await boss.locator("[data-new]").click()
    await boss.get_by_label("actor").fill("key:gil")
    await boss.get_by_label("titles").fill("finance, lead")
    await boss.keyboard.press("Enter")
    await expect(boss.locator("[data-person='key:gil']")).to_contain_text("finance, lead")

    await giver.goto("/approvals/people")
    form = giver.locator("[data-hand-on]")
    await form.get_by_label("to", exact=False).first.fill("key:tess")
    await form.get_by_label("reason").fill("on a train")
    await form.get_by_label("lead").uncheck()
    await giver.locator("[data-give]").click()
    await expect(giver.locator("[data-rights=given]")).to_contain_text("key:tess may decide for you")
    await expect(giver.locator("[data-rights=given]")).to_contain_text("as approver, finance.")
    assert await giver.locator("[data-rights=others]").count() == 0

    [asked] = await ask(house, "o-behalf")
    taker = await person("approver", name="tess")
    await taker.clock.install()
    await taker.goto(f"/approvals/{asked['id']}")
    await taker.locator("[data-behalf]").select_option("key:gil")
    await taker.locator("[data-card]").focus()
    await expect(taker.locator("[data-card][data-armed]")).to_be_visible()
    await taker.keyboard.press("d")
    await taker.keyboard.press("1")
    await settled(taker)
    await expect(taker.locator("[data-done]")).to_contain_text("You denied")
    async with house.client() as client:
        actions = (await client.get("/v1/actions", params={"action": "approval.decide"})).json()["items"]
    assert [one["detail"]["behalf"] for one in actions if one["actor"] == "key:tess"] == ["key:gil"]

    await boss.reload()
    await expect(boss.locator("[data-rights=others]")).to_contain_text("key:tess may decide for key:gil")
    await giver.locator("[data-end]").click()
    await giver.keyboard.press("Enter")
    await expect(giver.locator("[data-rights=given]")).to_contain_text("You have handed on nothing.")


async def test_a_case_is_assigned_taken_and_taken_away(person: People, house: House) -> None:
    [asked] = await ask(house, "o-hands")
    one, boss = await person("approver", name="tess"), await person("admin", name="boss")
    here = f"[data-case-of='{asked['run']}']"
    await one.goto("/approvals/cases")
    await one.locator(f"{here} [data-act=assign]").click()
    await one.get_by_label("who is to look at it").fill("key:tess")
    await one.get_by_label("until when").fill("2026-01-02T03:04")
    await one.get_by_role("button", name="Assign it").click()
    await expect(one.locator(here)).to_contain_text("overdue")
    await one.locator("[data-show=overdue]").click()
    await expect(one).to_have_url("/approvals/cases?show=overdue")
    await one.locator("[data-show=mine]").click()
    await one.locator("[data-search]").fill("nothing of the kind")
    await expect(one.get_by_text("None has")).to_be_visible()
    await one.locator("[data-search]").fill("desk")
    await one.locator(f"{here} [data-act=take]").click()
    await expect(one.locator(here)).to_contain_text("In your hands")
    await one.locator("[data-show=unassigned]").click()
    await expect(one.locator(here)).to_have_count(0)

    await boss.goto("/approvals/cases")
    await expect(boss.locator(here)).to_contain_text("key:tess has it")
    await boss.locator(f"{here} [data-act='take over']").click()
    over = boss.get_by_role("button", name="Take it over")
    await expect(over).to_be_disabled()
    await boss.get_by_label("why you take it away").fill("she is ill")
    await boss.keyboard.press("Enter")
    await expect(boss.locator(here)).to_contain_text("In your hands")

    async def said() -> bool | None:
        async with house.client() as client:
            actions = (await client.get("/v1/actions", params={"action": "case.claim"})).json()["items"]
        return any(one["detail"].get("reason") == "she is ill" for one in actions) or None

    await until(said, "why it was taken away is on the record")
    await boss.locator(here).get_by_role("link", name="the question").click()
    await expect(boss.locator("[data-case=mine]")).to_be_visible()
