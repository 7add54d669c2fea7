"""The pictures of the console in `docs/images`, from the demo: ``python tools/screenshots.py``.

Starts ``penstock serve --demo`` on data of its own, waits until there is something to see, and takes each page in light
and dark. Needs Chromium.
"""

import asyncio
import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2 as httpx
from playwright.async_api import Browser, Page, ViewportSize, async_playwright

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
SIZE: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 390, "height": 844}
THEMES = ("light", "dark")
BYTES_MAX = 150_000
QUALITY = 0.9
RUNS_ENDED = 30
"""Runs that have ended before the pictures are taken."""
QUESTIONS = 5
WAIT_SECONDS = 400
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Chromium takes PNG and JPEG only; its canvas writes WebP, a third of their size.
TO_WEBP = """
async ([png, quality]) => {
  const image = new Image();
  image.src = 'data:image/png;base64,' + png;
  await image.decode();
  const canvas = new OffscreenCanvas(image.width, image.height);
  canvas.getContext('2d').drawImage(image, 0, 0);
  const blob = await canvas.convertToBlob({ type: 'image/webp', quality });
  return Array.from(new Uint8Array(await blob.arrayBuffer()));
}
"""


@contextmanager
def demo() -> Iterator[dict[str, Any]]:
    """The demo's server; gives what it says when it serves."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    with tempfile.TemporaryDirectory(prefix="pt-", ignore_cleanup_errors=True) as folder:
        command = [str(Path(sys.executable).with_name("penstock")), "serve", "--demo", "--port", "0", "--json"]
        process = subprocess.Popen(
            command, env={**kept, "PENSTOCK_DATA_DIR": f"{folder}/data"}, text=True, stdout=subprocess.PIPE
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise SystemExit("the demo did not start; what it said is above")
            yield json.loads(line)
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)


def something_to_see(url: str, key: str) -> tuple[str, str]:
    """The id of a run worth looking at, and of a question that waits, once there are enough of both."""
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, trust_env=False, timeout=30) as client:
        until = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < until:
            ended = client.get("/v1/runs", params={"status": "ended", "limit": 200}).json()["items"]
            asked = client.get("/v1/approvals").json()["items"]
            if len(ended) >= RUNS_ENDED and len(asked) >= QUESTIONS:
                for item, decision in zip(asked[1:4], ("approve", "approve", "deny"), strict=False):
                    body = {"decision": decision, "digest": item["digest"], "version": item["version"]}
                    reason = "wrong amount" if decision == "deny" else ""
                    client.post(f"/v1/approvals/{item['id']}/decision", json={**body, "reason": reason})
                best = max(ended, key=lambda run: (run["tool_calls"] > 0, min(run["steps"], 9)))
                return best["id"], asked[0]["id"]
            time.sleep(1)
    raise SystemExit(f"within {WAIT_SECONDS} s there was not enough to see")


async def take(browser: Browser, said: dict[str, Any], run: str, question: str) -> None:
    """All pictures."""
    pages = {
        "overview": ("/", "canvas"),
        "runs": ("/runs", "[role=grid] [role=row]"),
        "run": (f"/runs/{run}", "[role=treegrid] [role=row]"),
        "approvals": (f"/approvals/{question}", "[data-args]"),
        "controls": ("/controls?scope=tenant&action=kill", "[data-preview]"),
        "costs": ("/costs", "canvas"),
    }
    blank = await browser.new_page()
    for theme in THEMES:
        options = {"base_url": said["url"], "color_scheme": theme, "reduced_motion": "reduce", "timezone_id": "UTC"}
        context = await browser.new_context(viewport=SIZE, **options)
        await context.request.post("/v1/sign-in", data={"key": said["admin_key"]})
        for name, (path, ready) in pages.items():
            page = await context.new_page()
            await page.goto(path)
            await page.locator(ready).first.wait_for()
            await page.get_by_text("live ").first.wait_for()
            if name == "approvals":
                await page.locator(f'a[href="{path}"]').click()
                await page.locator("[data-armed]").wait_for()
            await _keep(blank, page, f"console-{name}-{theme}")
            await page.close()
        phone = await context.new_page()
        await phone.set_viewport_size(PHONE)
        await phone.goto(f"/approvals/{question}")
        await phone.locator("[data-args]").wait_for()
        await _keep(blank, phone, f"console-phone-{theme}")
        await context.close()


async def _keep(blank: Page, page: Page, name: str) -> None:
    png = base64.b64encode(await page.screenshot(animations="disabled")).decode()
    data = bytes(await blank.evaluate(TO_WEBP, [png, QUALITY]))
    if len(data) > BYTES_MAX:
        raise SystemExit(f"{name} has {len(data):,} bytes, more than {BYTES_MAX:,}")
    (IMAGES / f"{name}.webp").write_bytes(data)
    print(f"{name}.webp  {len(data):,} bytes")


async def main() -> None:
    """Take them."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        raise SystemExit("there is no Chromium on this machine")
    IMAGES.mkdir(parents=True, exist_ok=True)
    with demo() as said:
        run, question = await asyncio.to_thread(something_to_see, said["url"], said["admin_key"])
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=program, args=["--disable-dev-shm-usage"])
            await take(browser, said, run, question)
            await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
