"""Fixtures of the browser tests: one browser and one server for all of them, a fresh profile for each person."""

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect
from tests.conftest import with_database
from tests.e2e.browser.house import House, Unavailable, build_console, find_chromium

PATIENCE_MS = 20_000
"""How long anything may take on a machine that does other things too."""
People = Callable[..., Awaitable[Page]]

WATCH = """
window.__violations = [];
document.addEventListener('securitypolicyviolation', (event) => {
  window.__violations.push(event.violatedDirective + ' ' + event.blockedURI);
});
"""


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's program. Without one, these tests are skipped, and that is said in one loud line."""
    try:
        program = find_chromium()
        build_console()
    except Unavailable as error:
        sys.__stderr__.write(f"\n*** THE CONSOLE IS NOT TESTED IN A BROWSER: {error} ***\n")  # type: ignore[union-attr]
        pytest.skip(str(error))
    return program


@pytest.fixture(scope="session")
def house_dsn(chromium: str, server_dsn: str, journal_template: str) -> Iterator[str]:
    """The address of a migrated database for all browser tests."""
    name = f"browser_{os.getpid()}"

    async def execute(statement: str) -> None:
        admin = await asyncpg.connect(server_dsn)
        await admin.execute(statement)
        await admin.close()

    asyncio.run(execute(f"CREATE DATABASE {name} TEMPLATE {journal_template} STRATEGY file_copy"))
    yield with_database(server_dsn, name)
    asyncio.run(execute(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(scope="session")
def house(house_dsn: str, fast_disk: Path) -> Iterator[House]:
    """A server that works on the agents of `tests.e2e.browser.shop`."""
    with tempfile.TemporaryDirectory(prefix="pt-", dir=fast_disk) as folder:
        house = House(house_dsn, Path(folder))
        try:
            house.start()
            yield house
        finally:
            house.kill()


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    """Chromium, without a window."""
    expect.set_options(timeout=PATIENCE_MS)
    async with async_playwright() as playwright:
        arguments = ["--disable-dev-shm-usage", "--disable-gpu", "--force-color-profile=srgb"]
        browser = await playwright.chromium.launch(executable_path=chromium, args=arguments)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def person(browser: Browser, house: House) -> AsyncIterator[People]:
    """People at browsers of their own: ``await person("approver")`` is the page of one who has signed in.

    When the test is over each of them is asked whether anything broke: an error of a script, or something that the
    content security policy had to forbid.
    """
    contexts: list[BrowserContext] = []
    errors: list[str] = []

    async def make(*roles: str, name: str = "", **options: Any) -> Page:
        context = await browser.new_context(
            base_url=house.url, **{"viewport": {"width": 1280, "height": 900}, **options}
        )
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        await context.add_init_script(WATCH)
        if roles:
            key = await house.key(name or "-".join(roles), *roles)
            answer = await context.request.post("/v1/sign-in", data={"key": key})
            assert answer.ok, await answer.text()
        page = await context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        return page

    yield make
    violations: list[str] = []
    for context in contexts:
        for page in context.pages:
            if page.url.startswith(house.url):
                violations += await page.evaluate("window.__violations")
        await context.close()
    assert (errors, violations) == ([], [])
