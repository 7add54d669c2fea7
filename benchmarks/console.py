"""The console in a real Chromium: its first paint, its script, how long a run of 2,000 and of 50,000 spans takes from
the address to the drawn waterfall, frames while it is scrolled, and the memory of its page.

The runs are real ones, made by a worker; the server is `penstock serve` in a process of its own. Chromium has no
window and no graphics card: what a card would draw the processor draws, on the cores that the server uses too.
"""

import shutil
import statistics
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psutil

from benchmarks import console_page as in_page
from benchmarks.bench import Bench, Unavailable
from benchmarks.child import Child
from benchmarks.console_worker import A_ROUND
from benchmarks.figures import Figure, quantile
from benchmarks.served import ROOT, Served, asking, serving
from penstock.server.console_files import FOLDER, INDEX

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, Page, Request

GROUP = "The console in Chromium"
TENANT = "chromium"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = ["--disable-dev-shm-usage", "--disable-gpu"]
VIEWPORT = {"width": 1280, "height": 900}
SPANS = (2_000, 50_000)
AIMS = {2_000: "1 s", 50_000: "1.5 s"}
TIMES, QUICK_TIMES = 7, 2
PRESSES = 40
QUICK_KEY_MS = 8.0
"""Stands for what the browser does not tell because it took less than 16 ms."""
PATIENCE_MS = 60_000
MIB = 2**20


async def measure(bench: Bench) -> list[Figure]:
    """See the module.

    Raises:
        Unavailable: there is no Chromium, or no console and nothing to build it with.
        RuntimeError: a run did not succeed, or the page does not show all of its spans.
    """
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        raise Unavailable("there is no Chromium on this machine; install one (apt-get install chromium)")
    try:
        from playwright.async_api import async_playwright
    except ImportError:
        raise Unavailable("playwright is not installed: make bench installs it") from None
    _build(bench)
    sizes = SPANS[:1] if bench.quick else SPANS
    runs = await _runs(bench, sizes)
    async with (
        serving(bench, TENANT, "--no-worker") as served,
        async_playwright() as playwright,
    ):
        browser = await playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        try:
            bench.say("first paint")
            figures = await _first(bench, browser, served)
            for spans, run in runs.items():
                bench.say(f"a run of {spans:,} spans")
                figures += await _run(bench, browser, served, run, spans)
        finally:
            await browser.close()
    return figures


def _build(bench: Bench) -> None:
    """Build the console where it is not built, or is older than its sources."""
    sources = [ROOT / "console" / "index.html", *(ROOT / "console" / "src").rglob("*.*")]
    newest = max((path.stat().st_mtime for path in sources if path.is_file()), default=0.0)
    index = FOLDER / INDEX
    if index.is_file() and index.stat().st_mtime >= newest:
        return
    npm = shutil.which("npm")
    if npm is None or not (ROOT / "console" / "node_modules" / "vite").is_dir():
        raise Unavailable("the console is not built, or older than its sources: run make console")
    bench.say("building the console")
    done = subprocess.run([npm, "run", "build"], cwd=ROOT / "console", capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"the console could not be built:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


async def _runs(bench: Bench, sizes: Sequence[int]) -> dict[int, str]:
    """The ids of real runs of so many spans."""
    bench.say(f"making runs of {' and '.join(f'{size:,}' for size in sizes)} spans")
    # One round more than asked for: the page has at least that many.
    asked = [size + A_ROUND for size in sizes]
    worker = await Child.start("console_worker", dsn=bench.server.dsn, tenant=TENANT, spans=asked)
    await worker.until(lambda said: str(asked[-1]) in said)
    said = await worker.stop()
    for size in asked:
        if said[str(size)]["outcome"] != "succeeded":
            raise RuntimeError(f"the run of {size:,} spans ended as {said[str(size)]}")
    return {size: said[str(size + A_ROUND)]["run"] for size in sizes}


@asynccontextmanager
async def _person(browser: "Browser", served: Served) -> "AsyncIterator[BrowserContext]":
    """A browser profile without any file of ours, of somebody who has signed in."""
    context = await browser.new_context(base_url=served.url, viewport=VIEWPORT)  # type: ignore[arg-type]
    context.set_default_timeout(PATIENCE_MS)
    await context.add_init_script(in_page.NOTE_DRAWING)
    try:
        answer = await context.request.post("/v1/sign-in", data={"key": served.key})
        if not answer.ok:
            raise RuntimeError(f"signing in was answered with {answer.status}: {await answer.text()}")
        yield context
    finally:
        await context.close()


@dataclass(slots=True)
class _Loaded:
    """A first load: milliseconds until it was painted, first and at its largest; bytes over the wire."""

    first: float
    largest: float
    script: int
    style: int


async def _load(browser: "Browser", served: Served) -> _Loaded:
    async with _person(browser, served) as context:
        page = await context.new_page()
        requests: list[Request] = []
        # A function of ours: Playwright marks it.
        page.on("requestfinished", lambda request: requests.append(request))  # noqa: PLW0108
        await page.goto("/")
        await page.locator("h1").first.wait_for()
        first, largest = await page.evaluate(in_page.FIRST_PAINT), await page.evaluate(in_page.LARGEST_PAINT)
        sizes = [(request.url, (await request.sizes())["responseBodySize"]) for request in requests]
    script, style = (sum(size for url, size in sizes if url.endswith(end)) for end in (".js", ".css"))
    return _Loaded(first, largest, script, style)


async def _first(bench: Bench, browser: "Browser", served: Served) -> list[Figure]:
    loads = [await _load(browser, served) for _ in range(QUICK_TIMES if bench.quick else TIMES)]
    first, largest = [load.first for load in loads], [load.largest for load in loads]
    note = "overview, signed in, nothing in the browser's cache; loopback"
    size = (
        f"as it came, the overview's own included; the shared worker's is not seen; style {loads[0].style / 1e3:.0f} kB"
    )
    return [
        Figure(GROUP, "first paint, median", statistics.median(first) / 1e3, "s", "1 s", _spread(first, note)),
        Figure(GROUP, "largest paint, median", statistics.median(largest) / 1e3, "s", "", _spread(largest, note)),
        Figure(GROUP, "script at first load", loads[0].script / 1e3, "kB gzipped", "350 kB", size),
    ]


@dataclass(slots=True)
class _Opened:
    """Times from the address to the drawn waterfall, in milliseconds, and what of it the trace's request took."""

    drawn: list[float] = field(default_factory=list)
    trace: list[float] = field(default_factory=list)
    size: float = 0.0  # of the trace's answer, in bytes as they came


async def _run(bench: Bench, browser: "Browser", served: Served, run: str, spans: int) -> list[Figure]:
    name = f"run of {spans:,} spans"
    first, again = _Opened(), _Opened()
    async with _person(browser, served) as context:
        page = await context.new_page()
        await _open(page, run, first)
        for _ in range(QUICK_TIMES if bench.quick else TIMES):
            await page.close()
            page = await context.new_page()
            await _open(page, run, again)
        ask = asking(served)
        count = len(ask.get(f"/v1/runs/{run}/trace")["spans"]["path"])
        ask.close()
        shown = await page.get_by_role("status").filter(has_text="folded").first.inner_text()
        if count < spans or "0 missing" not in shown:
            raise RuntimeError(f"the page shows {shown!r} of a run of {count:,} spans")
        note = f"{count:,} spans; the trace's request {first.trace[0]:,.0f} ms; nothing in any cache, there or here"
        figures = [Figure(GROUP, f"{name}: drawn, the first time", first.drawn[0] / 1000, "s", AIMS[spans], note)]
        note = f"a page of its own; the trace's request {statistics.median(again.trace):,.0f} ms"
        note = _spread(again.drawn, f"{note}, {again.size / 1000:,.0f} kB")
        figures.append(
            Figure(GROUP, f"{name}: drawn, median", statistics.median(again.drawn) / 1000, "s", AIMS[spans], note)
        )
        figures += await _scroll(bench, page, name)
        figures += await _memory(browser, page, name)
    return figures


async def _open(page: "Page", run: str, opened: _Opened) -> None:
    await page.goto(f"/runs/{run}", wait_until="commit")
    opened.drawn.append(await page.evaluate(in_page.DRAWN))
    trace = await page.evaluate(in_page.TRACE_REQUEST)
    opened.trace.append(trace["ms"])
    opened.size = trace["bytes"]


async def _scroll(bench: Bench, page: "Page", name: str) -> list[Figure]:
    rows = await page.evaluate(in_page.UNFOLD)
    seconds = bench.seconds(6, 2)
    still = await page.evaluate(in_page.SCROLL, [0, seconds / 2])
    times = await page.evaluate(in_page.SCROLL, [240, seconds])
    await page.get_by_role("treegrid").focus()
    await page.evaluate(in_page.NOTE_KEYS)
    for _ in range(PRESSES):
        await page.keyboard.press("ArrowDown")
    slow: list[float] = await page.evaluate(in_page.KEYS)
    keys = [*slow, *[QUICK_KEY_MS] * (PRESSES - len(slow))]
    dropped = sum(time > 25 for time in times)
    note = (
        f"{rows:,} rows unfolded, 240 pixels a frame; {dropped} of {len(times)} frames came late (more than 25 ms); "
        f"without scrolling P95 {quantile(still, 0.95):.1f} ms"
    )
    figures = [Figure(GROUP, f"{name}: frame while scrolling, P95", quantile(times, 0.95), "ms", "16 ms", note)]
    note = (
        f"arrow down, {PRESSES} times; the browser rounds to 8 ms, and tells only of the {len(slow)} of 16 ms or more"
    )
    figures.append(Figure(GROUP, f"{name}: key to paint, P95", quantile(keys, 0.95), "ms", "100 ms", note))
    return figures


async def _memory(browser: "Browser", page: "Page", name: str) -> list[Figure]:
    session = await page.context.new_cdp_session(page)
    await session.send("HeapProfiler.collectGarbage")
    await session.send("Performance.enable")
    metrics = {item["name"]: item["value"] for item in (await session.send("Performance.getMetrics"))["metrics"]}
    elements = await page.evaluate("document.getElementsByTagName('*').length")
    whole = await browser.new_browser_cdp_session()
    processes: list[dict[str, Any]] = (await whole.send("SystemInfo.getProcessInfo"))["processInfo"]
    # The page's is the largest: the browser keeps an empty one in store, and the shared worker's is small.
    unique = max(_unique_mib(int(one["id"])) for one in processes if one["type"] == "renderer")
    note = f"after collecting, unfolded and scrolled; its process {unique:,.0f} MiB (USS); after an hour: not measured"
    return [
        Figure(GROUP, f"{name}: script's memory", metrics["JSHeapUsedSize"] / MIB, "MiB", "150 MB", note),
        Figure(GROUP, f"{name}: elements", elements, "elements", "3,000", "of the document"),
    ]


def _unique_mib(pid: int) -> float:
    try:
        return float(psutil.Process(pid).memory_full_info().uss) / MIB
    except psutil.NoSuchProcess:
        return 0.0


def _spread(samples: Sequence[float], note: str) -> str:
    return f"{note}; {len(samples)} times, {min(samples):,.0f} to {max(samples):,.0f} ms"
