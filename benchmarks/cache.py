"""The cache of answers: what a call costs that is served, and one that was looked up in vain, beside one that is made;
how many calls a burst of equal requests makes.

One worker on PostgreSQL, one run, calls one after the other. The model takes no time: what is measured is what the
engine and the store add. A real call takes a thousand times as long.
"""

import asyncio
import itertools

from benchmarks.bench import Bench, clock
from benchmarks.figures import Figure, quantile
from penstock import Agent, Cache, Run, Settings, agent
from penstock.adapters.postgres.database import ConnectionSettings
from penstock.adapters.postgres.journal import open_journal
from penstock.events import CacheSource
from penstock.events.messages import say
from penstock.gates.cache.keys import keyed
from penstock.gates.model.cached import canonical_message
from penstock.kernel.clock import SystemClock, cpu_seconds
from penstock.kernel.ids import new_id
from penstock.ports.cache import Bounds, Entry, Seat
from penstock.ports.model import ModelRequest, ModelResponse, Price
from penstock.runs.submit import Request
from penstock.testing import ScriptedModel
from penstock.wiring import open_penstock

GROUP = "The cache of answers"
PRICE = Price(100.0, 500.0, source="benchmark")
CALLS, QUICK = 1_000, 100
BURST = 100
ANSWER_BYTES = 2_000


async def measure(bench: Bench) -> list[Figure]:
    """All of it."""
    figures = [_key(bench)]
    bench.say("asking the store")
    figures += await _store(bench)
    bench.say("calls one after the other")
    figures += await _calls(bench)
    bench.say(f"a burst of {BURST}")
    figures.append(await _burst(bench))
    return figures


def _key(bench: Bench) -> Figure:
    """The key of a conversation of 20 messages of 500 characters each."""
    messages = [say("user" if place % 2 else "assistant", f"{place} " + "x" * 500) for place in range(20)]
    count = 200 if bench.quick else 2_000
    best = float("inf")
    for _ in range(3):
        began = cpu_seconds()
        for _ in range(count):
            keyed(b"s" * 32, b"\n".join(map(canonical_message, messages)))
        best = min(best, (cpu_seconds() - began) / count)
    return Figure(GROUP, "the key of a conversation of 20 messages", best * 1e6, "µs")


async def _store(bench: Bench) -> list[Figure]:
    """One statement that finds an answer of two kilobytes, among 10,000."""
    journal = await open_journal(ConnectionSettings(bench.server.dsn, pool_size=2))
    took, puts = [], []
    try:
        await journal.cache.secret("bench")
        seat, data = Seat(new_id(SystemClock()), 1, "1"), b"x" * ANSWER_BYTES
        now = await journal.now()
        kept = 500 if bench.quick else 10_000
        for number in range(kept):
            key = number.to_bytes(32, "big")
            source = CacheSource(seat.run, "1", now)
            entry = Entry(
                tenant="bench", key=key, gate="model", scope="tenant", scope_name="", agent="a", name="m", subject="s",
                source=source, data=data, codec="raw", size=len(data), digest=key, finish="stop",
            )  # fmt: skip
            began = clock()
            await journal.cache.put(entry, seat, now, 3600, Bounds(1_000_000, 1 << 40))
            puts.append(clock() - began)
        for number in itertools.islice(itertools.cycle(range(kept)), 200 if bench.quick else 5_000):
            began = clock()
            taken = await journal.cache.take("bench", number.to_bytes(32, "big"), seat, 60)
            took.append(clock() - began)
            if taken.state != "hit":
                raise RuntimeError(f"an answer that was kept is {taken.state}")
    finally:
        await journal.close()
    return [
        Figure(GROUP, "the statement that serves, median", quantile(took, 0.5) * 1e6, "µs"),
        Figure(GROUP, "the statement that serves, P99", quantile(took, 0.99) * 1e6, "µs"),
        Figure(GROUP, "the statement that keeps, median", quantile(puts, 0.5) * 1e6, "µs"),
    ]


def _model() -> ScriptedModel:
    return ScriptedModel(["x" * ANSWER_BYTES], "scripted:bench", PRICE, repeat=True)


async def _calls(bench: Bench) -> list[Figure]:
    """Microseconds of a call, by what the cache does."""
    count = QUICK if bench.quick else CALLS
    model = _model()
    shared = Cache(seconds=600, scope="tenant", temperature_max=None)

    @agent("bench-cache", version="1")
    async def asks(run: Run, how: str) -> float:
        began = clock()
        for number in range(count):
            await run.ask(model, f"question {number}", max_tokens=1000, cache=None if how == "made" else shared)
        seconds: float = await run.record("seconds", lambda: clock() - began)
        return seconds

    figures = []
    async with open_penstock(Settings(database_url=bench.server.dsn), agents=[asks], worker="bench") as platform:
        for how, name in (
            ("made", "a call that is made, of a model that takes no time"),
            ("missed", "the same, looked up in vain and kept"),
            ("served", "the same, served"),
        ):
            before = len(model.calls)
            result = await platform.result(await platform.submit(asks, how))
            if len(model.calls) - before != (0 if how == "served" else count):
                raise RuntimeError(f"{len(model.calls) - before} calls were made for {count} that were to be {how}")
            figures.append(Figure(GROUP, name, result.output / count * 1e6, "µs"))
    return figures


async def _burst(bench: Bench) -> Figure:
    """How many calls equal requests make that come together."""
    model = _model()
    usual = model.request

    async def slow(request: ModelRequest) -> ModelResponse:
        await asyncio.sleep(0.5)
        return await usual(request)

    model.request = slow  # type: ignore[method-assign]
    desk = Agent(
        "bench-burst", model=model, instructions="Help.", temperature=0, cache=Cache(seconds=600, scope="tenant")
    )
    settings = Settings(database_url=bench.server.dsn)
    async with open_penstock(settings, agents=[desk], worker="burst") as platform:
        runs = await platform.submit_many([Request(desk, "Well?") for _ in range(BURST)])
        for run in runs:
            result = await platform.result(run)
            if result.outcome != "succeeded":
                raise RuntimeError(f"a run ended as {result.outcome}")
    return Figure(GROUP, f"calls made for a burst of {BURST} equal requests", len(model.calls), "calls")
