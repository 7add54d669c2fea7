"""Every page and state, light and dark, has nothing that axe finds against WCAG 2.2 AA."""

from typing import Any, Literal

import pytest
from playwright.async_api import Page, expect
from tests.e2e.browser.conftest import People
from tests.e2e.browser.house import AXE, House, until

pytestmark = [pytest.mark.alone, pytest.mark.asyncio(loop_scope="session")]

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
# The dialogs of Mantine have a <header>, which axe takes for the page's: advice, and no rule of WCAG.
OFF = ["landmark-no-duplicate-banner", "landmark-unique"]
CARD = "[data-card]"
ARMED = f"{CARD}[data-armed]"

EVERY_RULE = {"runOnly": {"type": "tag", "values": TAGS}, "rules": {rule: {"enabled": False} for rule in OFF}}
COLOURS_ONLY = {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
"""The rules that look at colours: all that the other scheme changes on a page."""
LOOKS = 10
"""Before what is wrong after a switch stays wrong: on a loaded machine not all of a page switches at once."""

# Without motion a change of colour still takes a frame, and what axe reads of it half-way is nobody's colour.
SETTLED = """() => Promise.allSettled(
  document.getAnimations().filter((one) => one.effect.getComputedTiming().endTime < 1e4).map((one) => one.finished))"""


async def found(page: Page) -> list[str]:
    """What axe has against the page, light and dark: rule and place, one a line. The page is light again then."""
    light = await violations(page, EVERY_RULE)
    await switch(page, "dark")
    dark = await violations(page, COLOURS_ONLY)
    for _ in range(LOOKS):
        if not dark:
            break
        dark = await violations(page, COLOURS_ONLY)
    await switch(page, "light")
    return [f"light: {one}" for one in light] + [f"dark: {one}" for one in dark]


async def violations(page: Page, options: dict[str, Any]) -> list[str]:
    """What axe finds once the page has settled."""
    await page.evaluate(SETTLED)
    run = "(options) => axe.run(options).then((result) => result.violations)"
    rules: list[dict[str, Any]] = await page.evaluate(run, options)
    return [f"{one['id']}: {node['target']} {node['failureSummary']}" for one in rules for node in one["nodes"]]


async def switch(page: Page, scheme: Literal["light", "dark"]) -> None:
    """What the person's system prefers changes, and the console follows."""
    await page.emulate_media(color_scheme=scheme)
    await expect(page.locator("html")).to_have_attribute("data-mantine-color-scheme", scheme)
    await page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


async def looked_at(person: People, *roles: str) -> Page:
    """A page of somebody with these roles, which axe can look at."""
    page = await person(*roles, color_scheme="light", reduced_motion="reduce")
    await page.context.add_init_script(path=AXE)
    return page


PAGES = {
    "overview": ("/", "h1"),
    "runs": ("/runs", "[role=grid]"),
    "no runs match": ("/runs?agent=nobody", "text=No run matches"),
    "no such run": ("/runs/00000000-0000-7000-8000-000000000000", "[role=alert]"),
    "no such question": ("/approvals/nothing-of-the-kind", "[role=alert]"),
    "a stop and what it would reach": ("/controls?scope=tenant&action=kill", "[data-preview]"),
    "a stop of nothing": ("/controls?scope=run&name=nothing&action=kill", "[role=alert]"),
    "costs": ("/costs", "h1"),
    "why a customer is dear": ("/costs?explain=axe", "[role=dialog] h2"),
    "budgets": ("/costs/budgets", "[data-budget=axe] [role=meter]"),
    "a budget": ("/costs/budgets?budget=axe", "[data-account]"),
    "a budget that is changed": ("/costs/budgets?budget=axe&edit=1", "[data-preview]"),
    "a new budget": ("/costs/budgets?edit=new", "[data-budget-form]"),
    "no such budget": ("/costs/budgets?budget=nothing", "text=There is no budget"),
    "breakers": ("/controls/breakers", "[data-breaker=axe]"),
    "a breaker that is open": ("/controls/breakers?breaker=axe", "[data-circuit]"),
    "policies": ("/policies", "[data-candidate]"),
    "releases": ("/releases", "[data-agent=clerk] [data-route]"),
    "releases of an agent": ("/releases?agent=clerk", "[data-list]"),
    "no such release": ("/releases?release=nothing", "text=There is no release"),
    "a draft of a release": ("/releases?draft=clerk", "[data-otherwise]"),
    "a draft of nothing": ("/releases?draft=nobody", "[role=alert]"),
    "cases": ("/approvals/cases", "[data-case-of]"),
    "no such cases": ("/approvals/cases?q=nobody", "text=None has"),
    "people": ("/approvals/people", "[data-titles]"),
    "nothing to decide together": (f"/approvals/together?group={'0' * 32}", "text=None of these waits"),
    "audit": ("/audit", "[data-log=intact]"),
    "no such proof": ("/audit?run=00000000-0000-7000-8000-000000000000", "[role=alert]"),
    "a stop of a tool": ("/controls?scope=tool&name=refund&action=pause", "[data-preview]"),
    "no such page": ("/nowhere", "main"),
}


async def limits(house: House) -> None:
    """A budget that something was spent from, and a breaker that is open."""
    conditions = [{"kind": "failures", "limit": 5}, {"kind": "cost_mean", "limit": 2}]
    async with house.client() as client:
        answers = [
            await client.put("/v1/budgets/axe", json={"match": {"customer": "*"}, "nano": 10**9, "calls": 100}),
            await client.put("/v1/breakers/axe", json={"scope": "customer", "conditions": conditions}),
            await client.post("/v1/breakers/axe/trip", json={"value": "nobody", "reason": "to be looked at"}),
        ]
    assert all(answer.is_success for answer in answers), [answer.text for answer in answers]

    async def spent() -> bool | None:
        await house.ended(await house.submit("clerk", "where is it?", tags={"customer": "axe"}))
        async with house.client() as client:
            return True if (await client.get("/v1/budgets/axe")).json()["accounts"] else None

    await until(spent, "something is spent from the budget")


async def test_every_page(person: People, house: House) -> None:
    run = await house.submit("waiter", 1)
    await house.question(await house.submit("desk", "I was charged twice for o-page"))
    await limits(house)
    release = await house.draft("clerk", house.admin, "Answer kindly.")
    wrong: list[str] = []
    page = await looked_at(person, "admin")
    made = {
        "run": (f"/runs/{run}", "[role=treegrid]"),
        "a release": (f"/releases?release={release}", "[data-act=submit]"),
    }
    for name, (path, ready) in {**PAGES, **made}.items():
        await page.goto(path)
        await expect(page.locator(ready).first).to_be_visible()
        wrong += [f"{name}: {one}" for one in await found(page)]
    await page.goto("/policies")
    await page.get_by_label("text of policy.yaml").fill("version: 1\nrules:\n  - tol: refund\n")
    await page.locator("[data-check]").click()
    await expect(page.locator("[data-mistake='policy.yaml:3:5']").first).to_contain_text("'tol'")
    wrong += [f"a text with a mistake: {one}" for one in await found(page)]
    await page.goto("/")
    await expect(page.locator("h1")).to_be_visible()
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog")).to_be_visible()
    wrong += [f"help: {one}" for one in await found(page)]
    stranger = await looked_at(person)
    await stranger.goto("/sign-in")
    await expect(stranger.get_by_role("heading", level=1)).to_be_visible()
    wrong += [f"sign-in: {one}" for one in await found(stranger)]
    assert not wrong, "\n".join(wrong)


async def test_every_state_of_deciding_together_and_of_people(person: People, house: House) -> None:
    asked = [await house.question(await house.submit("desk", f"I was charged twice for o-axe-{n}")) for n in (1, 2)]
    wrong: list[str] = []
    page = await looked_at(person, "admin")

    async def look(state: str, ready: str) -> None:
        await expect(page.locator(ready).first).to_be_visible()
        wrong.extend(f"{state}: {one}" for one in await found(page))

    await page.goto(f"/approvals/together?group={asked[0]['group']}")
    for one in asked:
        await page.locator(f"[data-question='{one['id']}'] [data-choose]").check()
    await look("chosen", "[data-together][data-armed]")
    await page.keyboard.press("d")
    await look("asked why", "[data-reasons]")
    await page.keyboard.press("1")
    await look("confirming", "[data-confirm]")
    await page.goto("/approvals/cases")
    await page.locator("[data-act=assign]").first.click()
    await look("assigning", "[data-acting]")
    await page.goto("/approvals/people")
    await page.locator("[data-new]").click()
    await look("saying who somebody is", "[data-person-form]")
    assert not wrong, "\n".join(wrong)


async def test_every_state_of_a_question(person: People, house: House) -> None:
    run = await house.submit("desk", "I was charged twice for o-axe")
    question = await house.question(run)
    wrong: list[str] = []
    page = await looked_at(person, "admin")

    async def look(state: str, ready: str) -> None:
        await expect(page.locator(ready)).to_be_visible()
        wrong.extend(f"{state}: {one}" for one in await found(page))

    await page.goto(f"/approvals/{question['id']}")
    await look("not armed", CARD)
    await page.locator(CARD).focus()
    await look("armed", ARMED)
    await page.keyboard.press("a")
    await look("confirming", "[data-confirm]")
    await page.keyboard.press("Escape")
    await page.locator(CARD).focus()
    await expect(page.locator(ARMED)).to_be_visible()
    await page.keyboard.press("d")
    await look("asked why", "[data-reasons]")
    await page.keyboard.press("1")
    await expect(page.locator("[data-take-back]")).to_be_visible()
    wrong += [f"sending, light: {one}" for one in await violations(page, EVERY_RULE)]
    await page.keyboard.press("Escape")
    # It is sent after three seconds, which are enough for one look.
    await switch(page, "dark")
    await page.locator(CARD).focus()
    await expect(page.locator(ARMED)).to_be_visible()
    await page.keyboard.press("d")
    await expect(page.locator("[data-reasons]")).to_be_visible()
    await page.keyboard.press("1")
    await expect(page.locator("[data-take-back]")).to_be_visible()
    wrong += [f"sending, dark: {one}" for one in await violations(page, COLOURS_ONLY)]
    await page.keyboard.press("Escape")
    await switch(page, "light")
    body = {"decision": "deny", "reason": "no", "digest": question["digest"], "version": question["version"]}
    async with house.client(await house.key("faster", "approver")) as client:
        answer = await client.post(f"/v1/approvals/{question['id']}/decision", json=body)
        assert answer.is_success, answer.text
    await look("lost", "[data-lost]")
    assert not wrong, "\n".join(wrong)
