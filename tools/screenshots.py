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
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2 as httpx
from playwright.async_api import Browser, Page, ViewportSize, async_playwright

from penstock.journal.notes import SigningKey
from penstock.runs.rollouts.signing import make_key

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


def policy(folder: Path) -> str:
    """The policy of the examples, but that people are asked about small refunds too: else few questions would wait.
    Gives its place in the folder."""
    examples = ROOT / "examples" / "policies"
    (folder / "policies").mkdir()
    for name, between in (("bank.yaml", "\n\n"), ("bank.test.yaml", "\n  - name: ")):
        parts = (examples / name).read_text().split(between)
        kept = between.join(part for part in parts if "small-refunds" not in part)
        (folder / "policies" / name).write_text(kept)
    return "policies"


@contextmanager
def demo() -> Iterator[dict[str, Any]]:
    """The demo's server; gives what it says when it serves."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    with tempfile.TemporaryDirectory(prefix="pt-", ignore_cleanup_errors=True) as folder:
        signs, seals = Path(folder) / "release.pem", Path(folder) / "audit.pem"
        make_key(signs)
        seals.write_bytes(SigningKey.make().pem())
        seals.chmod(0o600)
        governed = {
            "PENSTOCK_RELEASE_KEY_FILE": str(signs),
            "PENSTOCK_AUDIT_KEY_FILE": str(seals),
            "PENSTOCK_AUDIT_SEAL_SECONDS": "1",
            "PENSTOCK_POLICY": policy(Path(folder)),
        }
        command = [str(Path(sys.executable).with_name("penstock")), "serve", "--demo", "--port", "0", "--json"]
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**kept, **governed, "PENSTOCK_DATA_DIR": f"{folder}/data"},
            text=True,
            stdout=subprocess.PIPE,
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


@dataclass(frozen=True)
class Seen:
    """Ids of what is worth looking at: a run, a question, a group of such, a release that waits for review."""

    run: str
    question: str
    group: str
    agent: str
    release: str


def client_of(url: str, key: str) -> httpx.Client:
    """A program that uses the API."""
    return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, trust_env=False, timeout=30)


def releases(url: str, admin: httpx.Client) -> tuple[str, str]:
    """An agent, and the id of a release of it that waits for review beside one that is live."""
    people = {}
    for name, roles in (("ada", ["operator"]), ("ben", ["approver"])):
        people[name] = client_of(url, checked(admin.post("/v1/keys", json={"name": name, "roles": roles}))["key"])
    ada, ben = people["ada"], people["ben"]
    agent = next(one["name"] for one in admin.get("/v1/agents").json()["items"] if one["model"])
    text = checked(ada.get("/v1/releases/offered", params={"agent": agent}))["manifest"]["prompts"]["instructions"]
    made = []
    for words, limit in (("Thank the customer for writing.", 0.25), ("Ask one question at a time.", 0.2)):
        text = f"{text.rstrip()}\n{words}\n"
        body = {"agent": agent, "prompts": {"instructions": text}, "budget": {"nano": int(limit * 1e9), "steps": 30}}
        made.append(checked(ada.post("/v1/releases", json={**body, "reason": words}))["id"])
        checked(ada.post(f"/v1/releases/{made[-1]}/submit", json={}))
    checked(ben.post(f"/v1/releases/{made[0]}/approve", json={"reason": "reads well"}))
    checked(ada.post(f"/v1/releases/{made[0]}/promote", json={}))
    for client in people.values():
        client.close()
    return str(agent), str(made[1])


def checked(answer: httpx.Response) -> dict[str, Any]:
    """The answer's JSON."""
    if not answer.is_success:
        raise SystemExit(f"{answer.request.url}: {answer.text}")
    found: dict[str, Any] = answer.json()
    return found


def something_to_see(url: str, key: str) -> Seen:
    """What is worth looking at, once there is enough of it."""
    with client_of(url, key) as client:
        agent, release = releases(url, client)
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
                groups = Counter(item["group"] for item in asked if item["mine"] and item["group"])
                return Seen(best["id"], asked[0]["id"], groups.most_common(1)[0][0], agent, release)
            time.sleep(1)
    raise SystemExit(f"within {WAIT_SECONDS} s there was not enough to see")


async def take(browser: Browser, said: dict[str, Any], seen: Seen) -> None:
    """All pictures."""
    run, question = seen.run, seen.question
    pages = {
        "overview": ("/", "canvas"),
        "runs": ("/runs", "[role=grid] [role=row]"),
        "run": (f"/runs/{run}", "[role=treegrid] [role=row]"),
        "approvals": (f"/approvals/{question}", "[data-args]"),
        "controls": ("/controls?scope=tenant&action=kill", "[data-preview]"),
        "together": (f"/approvals/together?group={seen.group}", "[data-question]"),
        "cases": ("/approvals/cases", "[data-case-of]"),
        "policies": ("/policies", "[data-candidate]"),
        "release": (f"/releases?release={seen.release}", "[data-diff] li"),
        "draft": (f"/releases?draft={seen.agent}", "[data-otherwise] section, [data-otherwise] p"),
        "audit": ("/audit", "[data-log=intact]"),
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
            if name == "draft":
                prompt = page.get_by_label("prompt instructions")
                await prompt.fill(f"{(await prompt.input_value()).rstrip()}\nAnswer in the language of the customer.\n")
                await page.get_by_label("dollars").fill("0.2")
                await page.locator("[data-otherwise] li").first.wait_for()
                await page.locator("[data-draft-form]").evaluate("(form) => form.scrollIntoView({ block: 'end' })")
            if name == "together":
                await page.locator("[data-every]").click()
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
        seen = await asyncio.to_thread(something_to_see, said["url"], said["admin_key"])
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=program, args=["--disable-dev-shm-usage"])
            await take(browser, said, seen)
            await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
