"""What moves by itself: a run watched to its end, a server that goes and comes back, and text that does nothing."""

import uuid

import pytest
from playwright.async_api import expect
from tests.e2e.browser.conftest import People
from tests.e2e.browser.house import House

from penstock.adapters.postgres.database import ConnectionSettings
from penstock.adapters.postgres.journal import open_journal
from penstock.kernel.clock import SystemClock
from penstock.kernel.ids import new_id
from penstock.ports.access import NewKey
from penstock.server.access.credentials import digest_of, key_text, new_handle, new_secret

pytestmark = [pytest.mark.alone, pytest.mark.asyncio(loop_scope="session")]


async def test_a_run_is_watched_to_its_end(person: People, house: House) -> None:
    run = await house.submit("waiter", 1)
    page = await person("viewer")
    await page.goto(f"/runs/{run}")
    main = page.get_by_role("main")
    await expect(main.get_by_text("look").first).to_be_visible()
    await expect(main.get_by_text("waiting").first).to_be_visible()
    assert await main.get_by_text("succeeded").count() == 0
    await house.send(run, "go", "on")
    await expect(main.get_by_text("succeeded").first).to_be_visible()


async def test_a_lost_connection_is_said_and_made_good(person: People, house: House) -> None:
    run = await house.submit("waiter", 1)
    page = await person("viewer")
    await page.goto(f"/runs/{run}")
    main = page.get_by_role("main")
    await expect(main.get_by_text("waiting").first).to_be_visible()
    lamp = page.get_by_role("navigation", name="main")
    await expect(lamp).to_contain_text("live ")
    house.kill()
    try:
        await expect(lamp).to_contain_text("not live since")
    finally:
        house.start()
    await expect(lamp).not_to_contain_text("not live", timeout=40_000)
    await house.send(run, "go", "on")
    await expect(main.get_by_text("succeeded").first).to_be_visible()


async def test_script_in_what_agents_and_tools_say_is_inert(person: People, house: House) -> None:
    run = await house.submit("desk", "I was charged twice <script>window.__pwned='goal'</script> for o-hostile")
    question = (await house.question(run))["id"]
    page = await person("operator", "approver")
    for path in (f"/runs/{run}", f"/approvals/{question}", "/runs", "/"):
        await page.goto(path)
        await expect(page.get_by_role("heading", level=1).first).to_be_visible()
        if run in path or question in path:
            await expect(page.get_by_text("<script>").first).to_be_visible()
        assert await page.evaluate("window.__pwned") is None
        assert await page.locator("img[src=x]").count() == 0
        assert await page.evaluate("window.__violations") == []


async def test_another_tenants_run_is_not_there_in_the_same_words_as_none(person: People, house: House) -> None:
    journal = await open_journal(ConnectionSettings(house.dsn))
    handle, secret = new_handle(), new_secret()
    await journal.access.add_key(
        NewKey("strangers", new_id(SystemClock()), handle, digest_of(secret), "stranger", ("admin",), None, "tests")
    )
    await journal.close()
    async with house.client(key_text(handle, secret)) as client:
        answer = await client.post("/v1/runs", json={"agent": "waiter", "input": 1})
        assert answer.status_code == 202, answer.text
        theirs = answer.json()["id"]
    page = await person("viewer")
    said = []
    for run in (theirs, str(uuid.uuid4())):
        await page.goto(f"/runs/{run}")
        await expect(page.get_by_role("alert").first).to_be_visible()
        text = await page.get_by_role("main").inner_text()
        said.append(text.replace(run, "ID").split("request")[0])
    assert said[0] == said[1]
    assert "no run" in said[0]
