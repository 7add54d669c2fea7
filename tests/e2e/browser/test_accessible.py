"""Every page and state, light and dark, has nothing that axe finds against WCAG 2.2 AA."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from playwright.async_api import Page, expect
from tests.e2e.browser.conftest import People
from tests.e2e.browser.house import AXE, House

pytestmark = [pytest.mark.alone, pytest.mark.asyncio(loop_scope="session")]

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
# The dialogs of Mantine have a <header>, which axe takes for the page's: advice, and no rule of WCAG.
OFF = ["landmark-no-duplicate-banner", "landmark-unique"]
CARD = "[data-card]"


async def found(page: Page) -> list[str]:
    """What axe has against the page as it stands: rule and place, one a line."""
    violations: list[dict[str, Any]] = await page.evaluate(
        "(options) => axe.run(options).then((result) => result.violations)",
        {"runOnly": {"type": "tag", "values": TAGS}, "rules": {rule: {"enabled": False} for rule in OFF}},
    )
    return [f"{one['id']}: {node['target']} {node['failureSummary']}" for one in violations for node in one["nodes"]]


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_pages_and_states(person: People, house: House, theme: str) -> None:
    run = await house.submit("desk", f"I was charged twice for o-axe-{theme}")
    question = (await house.question(run))["id"]
    page = await person("admin", color_scheme=theme, reduced_motion="reduce")
    await page.context.add_init_script(path=AXE)
    wrong: dict[str, list[str]] = {}

    async def look(name: str) -> None:
        if problems := await found(page):
            wrong[name] = problems

    async def at(path: str, ready: str) -> None:
        await page.goto(path)
        await expect(page.locator(ready).first).to_be_visible()

    async def card() -> None:
        await at(f"/approvals/{question}", CARD)
        await page.locator(CARD).focus()
        await expect(page.locator(f"{CARD}[data-armed]")).to_be_visible()

    async def confirming() -> None:
        await page.keyboard.press("a")
        await expect(page.locator("[data-confirm]")).to_be_focused()

    async def reasons() -> None:
        await page.keyboard.press("Escape")
        await expect(page.locator(f"{CARD}[data-armed]")).to_be_visible()
        await page.locator(CARD).focus()
        await page.keyboard.press("d")
        await expect(page.locator("[data-reasons]")).to_be_focused()

    async def lost() -> None:
        body = {key: (await house.question(run))[key] for key in ("digest", "version")}
        async with house.client() as client:
            answer = await client.post(
                f"/v1/approvals/{question}/decision", json={"decision": "deny", "reason": "no", **body}
            )
            if answer.status_code == 403:
                key = await house.key("other-approver", "approver")
                async with house.client(key) as other:
                    answer = await other.post(
                        f"/v1/approvals/{question}/decision", json={"decision": "deny", "reason": "no", **body}
                    )
            assert answer.is_success, answer.text
        await expect(page.locator("[data-lost]")).to_be_visible()

    async def help_dialog() -> None:
        await at("/", "h1")
        await page.keyboard.press("?")
        await expect(page.get_by_role("dialog")).to_be_visible()

    steps: list[tuple[str, Callable[[], Awaitable[None]]]] = [
        ("overview", lambda: at("/", "h1")),
        ("help", help_dialog),
        ("runs", lambda: at("/runs", "[role=grid]")),
        ("no runs match", lambda: at("/runs?agent=nobody", "text=No run matches")),
        ("run", lambda: at(f"/runs/{run}", "[role=treegrid]")),
        ("no such run", lambda: at("/runs/00000000-0000-7000-8000-000000000000", "[role=alert]")),
        ("card", card),
        ("confirming", confirming),
        ("reasons", reasons),
        ("lost", lost),
        ("controls", lambda: at("/controls?scope=tenant&action=kill", "[data-preview]")),
        ("a control's error", lambda: at("/controls?scope=run&name=nothing&action=kill", "[role=alert]")),
        ("costs", lambda: at("/costs", "h1")),
        ("no such page", lambda: at("/nowhere", "main")),
    ]
    for name, show in steps:
        await show()
        await look(name)
    stranger = await person(color_scheme=theme, reduced_motion="reduce")
    await stranger.context.add_init_script(path=AXE)
    await stranger.goto("/sign-in")
    await expect(stranger.get_by_role("heading", level=1)).to_be_visible()
    if problems := await found(stranger):
        wrong["sign-in"] = problems
    assert not wrong, "\n".join(f"{name}: {one}" for name, problems in wrong.items() for one in problems)
