"""Signing in, what a stranger sees, and what is said when the server goes."""

import pytest
from playwright.async_api import expect
from tests.e2e.browser.conftest import People
from tests.e2e.browser.house import House

KEY = "input[autocomplete=current-password]"

pytestmark = [pytest.mark.alone, pytest.mark.asyncio(loop_scope="session")]


async def test_signing_in_with_a_key_leads_to_the_page_one_wanted(person: People, house: House) -> None:
    key = await house.key("viewer", "viewer")
    page = await person()
    await page.goto("/runs?agent=desk")
    await expect(page.get_by_role("heading", name="Sign in to Penstock")).to_be_visible()
    await page.locator(KEY).fill(key + "x")
    await page.get_by_role("button", name="Sign in with a key").click()
    await expect(page.locator("[id$=-error]")).to_be_visible()
    await page.locator(KEY).fill(key)
    await page.get_by_role("button", name="Sign in with a key").click()
    await expect(page.get_by_role("heading", name="Runs")).to_be_visible()
    assert page.url.endswith("/runs?agent=desk")
