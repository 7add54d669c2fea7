"""Money over a budget, at the wire: LiteLLM's proxy and `penstock gateway`, 32 and 1,000 calls at once through three
processes each, with a declared maximum and without, while processes are killed; and what is usable of a budget.

What is counted is what the simulated provider generated for the gateway's key, whoever waited for it. A caller that is
refused asks again after a while, as programs do, and gives up when it has been refused some times in a row. Each case
has a key and a budget of its own.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from benchmarks import gateway_server, litellm_server, load
from benchmarks.bench import Bench
from benchmarks.child import Child
from benchmarks.figures import Figure
from benchmarks.gateway import body, running, settled
from benchmarks.load import Load, Told
from benchmarks.proxies import Proxies

GROUP = "Money over a budget"
PROCESSES = 3
MODEL = "gpt-5-mini"
"""It may write 128,000 tokens; LiteLLM reserves 16,384 for a request that declares no maximum."""
DOLLAR = 10**9
LATENCY_MS = 200
USABLE_TOKENS, USABLE_NANO = 100, 212_000
"""An answer, as long as it may be, and the whole call at most, where the usable part of a budget is measured."""
USABLE_CALLS = 150
REFUSALS = 3
PAUSE_SECONDS = 0.5
LIMIT_SECONDS, QUICK_LIMIT_SECONDS = 60.0, 20.0
KILL_AFTER_SECONDS = (0.5, 2.0)
"""Between two kills, at random between these; a killed process is started again at once."""
WORTH_A_KILL = 8
"""Calls that are at the provider when a process is killed, at least."""
SEED = 6
REFUSED = ("402", "403", "422", "429", "503")
"""What a gateway may answer once a budget is at its end, each in its own words."""


@dataclass(slots=True, frozen=True)
class Case:
    """One budget and the calls against it.

    Attributes:
        tokens: that the model writes unless it is kept from it.
        maximum: that the request declares; None: it declares none.
    """

    name: str
    at_once: int
    nano: int
    tokens: int
    maximum: int | None
    killed: bool = False


CASES = tuple(
    Case(f"{at_once:,} at once, {words}", at_once, nano, tokens, maximum, killed)
    for words, nano, tokens, maximum, killed in (
        ("$0.05, answers of 12,000 tokens, declared", DOLLAR // 20, 12_000, 12_000, False),
        ("$0.05, answers of 128,000 tokens, not declared", DOLLAR // 20, 128_000, None, False),
        ("$3, answers of 1,000 tokens, declared, processes killed", 3 * DOLLAR, 1_000, 1_000, True),
        ("$8, answers of 4,000 tokens, not declared, processes killed", 8 * DOLLAR, 4_000, None, True),
    )
    for at_once in (32, 1000)
)


@dataclass(slots=True, frozen=True)
class Side:
    """A gateway with several processes.

    Attributes:
        key: makes a key of that name with a budget of so many nano-dollars.
        provider_key: as which the provider knows the gateway.
        counted: what the budget of the key of that name has spent and holds, in nano-dollars.
        every: all cases are its.
    """

    name: str
    proxies: Proxies
    key: Callable[[str, int], Awaitable[str]]
    provider_key: str
    counted: Callable[[str], Awaitable[int]] | None = None
    every: bool = True


@dataclass(slots=True, frozen=True)
class _Desk:
    """What is beside the gateways: the provider, and those who call."""

    bench: Bench
    provider: Child
    callers: Child

    async def asked(self, side: Side, words: str, key: str, request: str, at_once: int, **how: Any) -> Told:
        """What became of such requests with that key; ``how`` says when the callers stop, see `Load`."""
        self.bench.say(f"{side.name}: {words}")
        await self.provider.asked("reset")
        return await load.ask(
            self.callers,
            Load(
                ports=side.proxies.ports,
                path=side.proxies.path,
                headers={"Authorization": f"Bearer {key}"},
                body=request,
                connections=at_once,
                seconds=self.bench.seconds(LIMIT_SECONDS, QUICK_LIMIT_SECONDS),
                **how,
            ),
        )

    async def charged(self, side: Side) -> tuple[int, int]:
        """What the provider charges the gateway for those calls, in nano-dollars, and how many it was."""
        counts = (await settled(self.provider)).get(side.provider_key, {"nano": 0, "requests": 0})
        return counts["nano"], counts["requests"]

    async def in_flight(self) -> int:
        """Calls that are at the provider now."""
        return int((await self.provider.asked("counts"))["in_flight"])


async def measure(bench: Bench) -> list[Figure]:
    """See the module.

    Raises:
        Unavailable: LiteLLM cannot be installed or started here.
        RuntimeError: a gateway failed otherwise than by refusing.
    """
    found: dict[str, list[Figure]] = {}
    async with running("upstream") as provider, running("load") as callers:
        desk = _Desk(bench, provider, callers)
        port = provider.said["port"]
        for opened in (_litellm(bench, port, strict=False), _litellm(bench, port, strict=True), _ours(bench, port)):
            async with opened as side:
                for case in CASES:
                    if side.every or not case.killed:
                        found.setdefault(case.name, []).append(await _overspent(desk, side, case))
                for at_once in (1, 32):
                    name = f"usable before the first refusal, {at_once} at once"
                    found.setdefault(name, []).append(await _usable(desk, side, name, at_once))
    return [figure for figures in found.values() for figure in figures]


@contextlib.asynccontextmanager
async def _litellm(bench: Bench, port: int, *, strict: bool) -> AsyncIterator[Side]:
    async def key(name: str, nano: int) -> str:
        return litellm_server.key(name, nano)

    async with litellm_server.litellm(bench, port, PROCESSES, strict=strict) as proxies:
        yield Side("LiteLLM, fail closed" if strict else "LiteLLM", proxies, key, "litellm", every=not strict)


@contextlib.asynccontextmanager
async def _ours(bench: Bench, port: int) -> AsyncIterator[Side]:
    async with gateway_server.gateways(bench, port, PROCESSES) as gateways:
        yield Side("here", gateways.proxies, gateways.key, "penstock", gateways.used)


async def _overspent(desk: _Desk, side: Side, case: Case) -> Figure:
    """How often the budget was spent.

    Raises:
        RuntimeError: see `measure`.
    """
    name = f"case{CASES.index(case)}"
    key = await side.key(name, case.nano)
    request = body(max_tokens=case.maximum, tokens=case.tokens, latency_ms=LATENCY_MS, model=MODEL)
    async with contextlib.AsyncExitStack() as stack:
        kills = await stack.enter_async_context(_killing(desk, side.proxies)) if case.killed else []
        told = await desk.asked(side, case.name, key, request, case.at_once, refusals=REFUSALS, pause=PAUSE_SECONDS)
    charged, calls = await desk.charged(side)
    strange = {status for status in told.statuses if status != "200" and status not in REFUSED}
    if strange and not case.killed:
        raise RuntimeError(f"{side.name} answered with {told.statuses}: {told.first_refusal}")
    answered = told.statuses.get("200", 0)
    note = f"{answered:,} answered, {sum(told.statuses.values()) - answered:,} refused"
    if case.killed:
        note += (
            f"; {len(kills)} kills, with which {told.lost:,} calls were lost, {calls - answered:,} after they were paid"
        )
    if side.counted is not None:
        counted = await side.counted(name)
        note += f"; the budget counts ${counted / DOLLAR:.9f}, the provider ${charged / DOLLAR:.9f}"
    aim = "at most 1" if side.counted else ""
    return Figure(GROUP, f"{case.name}: {side.name}", charged / case.nano, "budgets", aim, note)


async def _usable(desk: _Desk, side: Side, name: str, at_once: int) -> Figure:
    """The part of a budget, in percent, that was spent when somebody was refused for the first time."""
    nano = USABLE_NANO * USABLE_CALLS
    request = body(max_tokens=USABLE_TOKENS, tokens=USABLE_TOKENS, model=MODEL)
    told = await desk.asked(side, name, await side.key(f"usable{at_once}", nano), request, at_once, first=True)
    charged, _ = await desk.charged(side)
    note = f"a call is {100 / USABLE_CALLS:.2f} % of it at most; {told.statuses.get('200', 0)} answered"
    aim = "95 to 100 %" if side.counted else ""
    return Figure(GROUP, f"{name}: {side.name}", 100 * charged / nano, "%", aim, note)


@contextlib.asynccontextmanager
async def _killing(desk: _Desk, proxies: Proxies) -> AsyncIterator[list[int]]:
    """Kill one process after the other until the end, when all are up again; the ports, as they were hit."""
    hit: list[int] = []
    over = asyncio.Event()

    async def kill() -> None:
        generator = random.Random(SEED)
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(generator.uniform(*KILL_AFTER_SECONDS)):
                    await over.wait()
            while not over.is_set() and await desk.in_flight() < WORTH_A_KILL:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.01)
            if over.is_set():
                return
            hit.append(generator.choice(proxies.ports))
            await proxies.restart(hit[-1])

    task = asyncio.create_task(kill())
    try:
        yield hit
    finally:
        over.set()
        await task
