"""The cache under the simulation's seeded faults: nobody is served what is another's, cut off, or no longer true."""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import pytest
from tests.sim.world import programs, seeds
from tests.sim.world.actors import Wanted
from tests.sim.world.outside import Place
from tests.sim.world.programs import Author, Program
from tests.sim.world.seeds import Report, World

from penstock import Cache, CacheFor, Run, tool
from penstock.events import Amount, Failure, ModelOutcome, ToolOutcome, decode
from penstock.events.messages import decode_message, say
from penstock.gates.cache.keys import policy
from penstock.gates.model import cached as cached_model
from penstock.gates.tool import attempt as tool_attempt
from penstock.gates.tool import cached as cached_tool
from penstock.gates.tool import gate as tool_gate
from penstock.journal.payloads import ref_address, unpack
from penstock.kernel.errors import CallDenied, ModelFailed, TimedOut, ToolFailed
from penstock.ports.cache import Scope
from penstock.ports.model import ModelError, ModelRequest, ModelResponse, Price
from penstock.testing import ScriptedModel

SEEDS = 60
ASKED_HERE = (
    "cached_in_scope",
    "cached_is_whole",
    "cached_is_what_was_said",
    "own_write_is_read",
    "replays",
    "no_stray_errors",
)
AT_LEAST = {
    "asked": 200,
    "served": 60,
    "served across runs": 40,
    "reads served": 30,
    "restocked": 40,
    "crash": 4,
    "line: refused": 20,
}
"""What that many seeds must have met, so that they cannot pass by doing nothing."""
SCOPES: tuple[Scope, ...] = ("customer", "tenant", "agent")
ASKER: ContextVar[tuple[str, str]] = ContextVar("ASKER")
"""Tenant and customer of whoever calls."""


@dataclass(slots=True)
class Said:
    """One answer of the model, and to whom it was given."""

    tenant: str
    customer: str
    prompt: str
    is_whole: bool


class Shop:
    """What is outside: what the model said, how many there are of each thing, and what was seen to be wrong."""

    def __init__(self) -> None:
        self.said: list[Said] = []
        self.stock: dict[tuple[str, int], list[str]] = {}
        self.wrong: list[tuple[str, str]] = []
        self.counts: Counter[str] = Counter()


shop = Shop()


class NumberedModel(ScriptedModel):
    """No two of its answers are the same; it takes its time, fails, and breaks off."""

    async def request(self, request: ModelRequest) -> ModelResponse:
        draw, (tenant, customer) = Place.now.draw, ASKER.get()
        await asyncio.sleep(0.02 + 0.6 * draw())
        if draw() < 0.1:
            raise ModelError(Failure("model_unavailable", "transient", "try again"), billed=False)
        is_whole = draw() < 0.85
        shop.said.append(Said(tenant, customer, request.messages[-1].text, is_whole))
        answer = say("assistant", f"answer {len(shop.said) - 1}")
        return ModelResponse(answer, Amount(5, 5), "stop" if is_whole else "length")


numbered = NumberedModel(["never"], "sim:numbered", Price(1.0, 1.0), repeat=True)


@tool(
    effect="read",
    repeatable=True,
    timeout_seconds=5,
    attempts=2,
    cache=CacheFor(seconds=20, scope="tenant", tags=("stock",)),
)
async def count(thing: int) -> int:
    """How many there are; the answer is a while on its way."""
    tenant, _ = ASKER.get()
    await asyncio.sleep(0.2 * Place.now.draw())
    found = len(shop.stock.get((tenant, thing), ()))
    await asyncio.sleep(0.2 * Place.now.draw())
    return found


@tool(
    effect="write",
    permission="auto",
    in_doubt="idempotent",
    repeatable=True,
    timeout_seconds=5,
    invalidates=("stock",),
)
async def restock(thing: int, mark: str) -> int:
    """One more of it, once for each mark; how many there are then."""
    tenant, _ = ASKER.get()
    await asyncio.sleep(0.1 * Place.now.draw())
    there = shop.stock.setdefault((tenant, thing), [])
    if mark not in there:
        there.append(mark)
    await asyncio.sleep(0.1 * Place.now.draw())
    return there.index(mark) + 1


async def ask(run: Run, program: Program) -> Any:
    """A question that others ask, too."""
    x = program["x"]
    ASKER.set((run.tenant, run.tags.get("customer", "")))
    cache = Cache(seconds=30, scope=SCOPES[x % 3], temperature_max=None)
    try:
        return await run.ask(numbered, f"question {x % 2}", max_tokens=64, cache=cache)
    except (ModelFailed, CallDenied) as error:
        return ["unanswered", error.code]


async def trade(run: Run, program: Program) -> Any:
    """Restock, then count: one's own is among them."""
    x = program["x"]
    ASKER.set((run.tenant, run.tags.get("customer", "")))
    thing = x % 2
    try:
        before = await run.call(count, thing)
        at_least = await run.call(restock, thing, f"{run.id} {x}")
        found = await run.call(count, thing)
    except (ToolFailed, CallDenied, TimedOut):
        return "could not"
    shop.counts["restocked"] += 1
    if found < at_least:
        shop.wrong.append(("own_write_is_read", f"{run.id.hex[-6:]} has put the {at_least}th, and counts {found}"))
    return [before, found]


class Customer(Author):
    """Writes programs of which most leaves ask, or trade."""

    def _leaf(self) -> Program:
        leaf, roll = super()._leaf(), self.rng.random()
        do = "cached" if roll < 0.6 else "trade" if roll < 0.8 else ""
        return {"do": do, "x": self._number} if do else leaf


class CachedWorld(World):
    """Asks about the cache, too."""

    async def run(self) -> None:
        shop.__init__()  # type: ignore[misc]
        await super().run()
        for invariant, what in shop.wrong:
            self.fail(invariant, what)
        self.counts.update(shop.counts)
        self.counts["asked"] += len(shop.said)
        for run in self.database.stored.runs.values():
            tenant, customer = run.new.tenant, run.new.tags.get("customer", "")
            for event in (decode(row.body) for row in run.tape):
                if isinstance(event, ToolOutcome) and event.source is not None:
                    self.count("reads served")
                if not isinstance(event, ModelOutcome) or event.source is None:
                    continue
                self.count("served")
                self.count("served across runs" if event.source.run != run.new.id else "served within a run")
                self._check(tenant, customer, run.new.subject, event)

    def _check(self, tenant: str, customer: str, subject: str, event: ModelOutcome) -> None:
        payload = self.database.stored.payloads[tenant, subject].get(ref_address(event.payloads["response"][0]))
        if payload is None:
            return
        number = int(decode_message(unpack(payload)).text.removeprefix("answer "))
        said, where = shop.said[number], f"{event.run.hex[-6:]} at {event.path}"
        if not said.is_whole:
            self.fail("cached_is_whole", f"{where} was served an answer that was cut off")
        source = self.database.stored.runs.get((tenant, event.source.run)) if event.source is not None else None
        if said.tenant != tenant or source is None:
            self.fail("cached_in_scope", f"{where} of {tenant} was served what was said to {said.tenant}")
            return
        asked = next(decode(row.body) for row in source.tape)
        if asked.tags.get("customer", "") != said.customer:
            self.fail("cached_is_what_was_said", f"{where}: the source is not the one that was told so")
        if self._scope_of(event) == "customer" and said.customer != customer:
            self.fail("cached_in_scope", f"{where} of {customer!r} was served what was said to {said.customer!r}")

    def _scope_of(self, event: ModelOutcome) -> str:
        entries = self.database.memory.cache._kept.values()
        return next(
            (kept.entry.scope for kept in entries if event.source and kept.seat.run == event.source.run
             and kept.seat.path == event.source.path),
            "",
        )  # fmt: skip


def of_a_customer(*args: Any, **fields: Any) -> Wanted:
    """A run that somebody wants has a customer."""
    wanted = Wanted(*args, **fields)
    wanted.customer = wanted.customer or f"c{wanted.number % 2}"
    return wanted


@pytest.fixture(autouse=True)
def with_a_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(programs.STEPS, "cached", ask)
    monkeypatch.setitem(programs.STEPS, "trade", trade)
    monkeypatch.setattr(seeds, "Author", Customer)
    monkeypatch.setattr(seeds, "Wanted", of_a_customer)
    monkeypatch.setattr(seeds, "World", CachedWorld)


def broken(report: Report) -> list[tuple[str, str]]:
    return [violation for violation in report.violations if violation[0] in ASKED_HERE]


@pytest.mark.usefixtures("killed_processes")
def test_nobody_is_served_what_he_must_not_be() -> None:
    counts: Counter[str] = Counter()
    for seed in range(SEEDS):
        report = seeds.run_seed(seed)
        wrong = broken(report)
        assert not wrong, f"seed {seed}: {wrong[0]}\n" + "\n".join(report.trace[-60:])
        counts.update(report.counts)
    short = {what: (counts[what], least) for what, least in AT_LEAST.items() if counts[what] < least}
    assert not short, counts


def scope_left_out_of_the_key(patch: pytest.MonkeyPatch) -> None:
    """What is of one customer is found by another."""
    for module in (cached_model, cached_tool):
        patch.setattr(module, "policy", lambda ctx, gate, scope, name, rules: policy(ctx, gate, scope, "", rules))


def answers_cut_off_are_kept(patch: pytest.MonkeyPatch) -> None:
    """An answer counts as whole however it ended."""
    patch.setattr(cached_model, "WHOLE", ("stop", "tool_calls", "length"))


def nothing_is_dropped(patch: pytest.MonkeyPatch) -> None:
    """A write leaves what was cached."""

    async def invalidate(*_: Any) -> None:
        return None

    for module in (cached_tool, tool_attempt, tool_gate):
        patch.setattr(module, "invalidate", invalidate)


def dropped_beside(patch: pytest.MonkeyPatch) -> None:
    """A write's drop is not waited for."""
    wait = cached_tool.invalidate

    async def invalidate(ctx: Any, meant: Any) -> None:
        if meant.invalidates:
            ctx.services.cache.errand(wait(ctx, meant))

    for module in (tool_attempt, tool_gate):
        patch.setattr(module, "invalidate", invalidate)


def kept_whenever_it_was_read(patch: pytest.MonkeyPatch) -> None:
    """What was read before a write is kept after it."""
    from penstock.adapters.memory.cache import MemoryCache

    put = MemoryCache.put

    async def lax(self: MemoryCache, entry: Any, seat: Any, began: int, life: float, bounds: Any) -> bool:
        return await put(self, entry, seat, self._clock.now_us() + 1, life, bounds)

    patch.setattr(MemoryCache, "put", lax)


PLANTED: list[tuple[Callable[[pytest.MonkeyPatch], None], range, set[str]]] = [
    (scope_left_out_of_the_key, range(10, 110), {"cached_in_scope"}),
    (answers_cut_off_are_kept, range(20), {"cached_is_whole"}),
    (nothing_is_dropped, range(30), {"own_write_is_read"}),
    (dropped_beside, range(60), {"own_write_is_read"}),
    (kept_whenever_it_was_read, range(60, 260), {"own_write_is_read"}),
]


@pytest.mark.usefixtures("killed_processes")
@pytest.mark.parametrize(("bug", "within", "invariants"), PLANTED, ids=[bug.__name__ for bug, _, _ in PLANTED])
def test_a_planted_bug_is_found(
    bug: Callable[[pytest.MonkeyPatch], None], within: range, invariants: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bug(monkeypatch)
    for seed in within:
        found = {invariant for invariant, _ in broken(seeds.run_seed(seed))}
        if found:
            assert found & invariants, f"seed {seed} breaks {found}"
            return
    pytest.fail(f"{bug.__name__} was not found within {len(within)} seeds: {bug.__doc__}")
