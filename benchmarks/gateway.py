"""A gateway before a model: requests a second, and the time it adds, of LiteLLM's proxy and of `penstock gateway`; with
a budgeted key, one worker each, over the same simulated provider and beside calls that go to it directly.

The provider, the callers and the gateway share the machine's cores, and so does PostgreSQL, which only our side uses:
here every call is in the journal before it goes out. Subjects take turns in each round, and a figure is the median of
its rounds.
"""

import asyncio
import contextlib
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from statistics import median

from benchmarks import gateway_server, litellm_server, load, upstream
from benchmarks.bench import Bench
from benchmarks.child import Child
from benchmarks.figures import Figure, others_took
from benchmarks.load import NUMBER, Load, Told

GROUP = "A gateway before a model"
CONNECTIONS = (1, 32)
ROUNDS, QUICK_ROUNDS = 3, 1
SECONDS, QUICK_SECONDS = 6.0, 1.5
WARM_SECONDS = 1.0
FIRST_SECONDS = 6.0
"""Of calls before the first round: what a gateway loads at its first calls is not paid by those that are measured."""
BUDGET_NANO = 10**14
"""$100,000: checked at each call, and never at its end."""
TREE = "a budget on each of five levels"
AIMS = {("rate", 1): "", ("rate", 32): "1,000/s", ("p50", 1): "1 ms", ("p99", 1): "3 ms"}


@dataclass(slots=True, frozen=True)
class Subject:
    """What is asked; ``cpu`` is the processor time of its processes so far, seconds."""

    name: str
    port: int
    path: str
    key: str
    cpu: Callable[[], float]
    note: str


@dataclass(slots=True, frozen=True)
class Trial:
    """One subject at one number of connections, in one round."""

    told: Told
    cpu_us: float  # of the subject, for each answer


async def measure(bench: Bench) -> list[Figure]:
    """See the module.

    Raises:
        Unavailable: LiteLLM cannot be installed or started here.
        RuntimeError: a call was not answered with success.
    """
    async with contextlib.AsyncExitStack() as stack:
        provider = await stack.enter_async_context(running("upstream"))
        callers = await stack.enter_async_context(running("load"))
        subjects = await stack.enter_async_context(_subjects(bench, provider.said["port"]))
        found: dict[tuple[str, int], list[Trial]] = defaultdict(list)
        for subject in subjects:
            bench.say(f"first calls: {subject.name}")
            await _trial(bench, callers, subject, 32, FIRST_SECONDS)
        before = await bench.server.reading()
        ours = _cpu(subjects) + (await provider.asked("counts"))["cpu"]
        for number in range(QUICK_ROUNDS if bench.quick else ROUNDS):
            for connections in CONNECTIONS:
                for subject in subjects:
                    bench.say(f"round {number + 1}, {connections} at once: {subject.name}")
                    found[subject.name, connections].append(await _trial(bench, callers, subject, connections))
        after = await bench.server.reading()
        served = (await provider.asked("counts"))["cpu"]
        taken = sum(trial.told.cpu for trials in found.values() for trial in trials)
        ours = _cpu(subjects) - ours + served + taken + after.cpu_seconds - before.cpu_seconds
        return _figures(subjects, found, others_took(after.others(before, ours)))


@contextlib.asynccontextmanager
async def running(module: str) -> AsyncIterator[Child]:
    """A process of a module here, until the end."""
    child = await Child.start(module)
    try:
        yield child
    except BaseException:
        child.kill()  # it may be busy for a minute yet
        raise
    await child.stop()


@contextlib.asynccontextmanager
async def _subjects(bench: Bench, port: int) -> AsyncIterator[list[Subject]]:
    async with (
        litellm_server.litellm(bench, port) as peer,
        gateway_server.gateways(bench, port) as ours,
    ):
        budgeted = await ours.key("budgeted", BUDGET_NANO)
        tree = await ours.key("tree", BUDGET_NANO, levels=5)
        version = litellm_server.ENVIRONMENT.version()
        path, (own,) = ours.proxies.path, ours.proxies.ports
        yield [
            Subject("direct", port, "/v1/chat/completions", "direct", lambda: 0.0, "no gateway"),
            Subject(
                "LiteLLM",
                peer.ports[0],
                peer.path,
                litellm_server.key("bench", BUDGET_NANO),
                peer.cpu_seconds,
                f"{version}, a budgeted key, nothing stored",
            ),
            Subject("here", own, path, budgeted, ours.proxies.cpu_seconds, "a budgeted key, each call journalled"),
            Subject(f"here, {TREE}", own, path, tree, ours.proxies.cpu_seconds, "the same process"),
        ]


async def _trial(bench: Bench, callers: Child, subject: Subject, connections: int, warm: float = WARM_SECONDS) -> Trial:
    """One measurement.

    Raises:
        RuntimeError: a call failed.
    """
    cpu = subject.cpu()
    told = await load.ask(
        callers,
        Load(
            ports=[subject.port],
            path=subject.path,
            headers={"Authorization": f"Bearer {subject.key}"},
            body=body(max_tokens=64),
            connections=connections,
            seconds=bench.seconds(SECONDS, QUICK_SECONDS),
            warm=warm,
        ),
    )
    if set(told.statuses) != {"200"} or told.lost:
        raise RuntimeError(
            f"{subject.name} answered with {told.statuses}, {told.lost} connections lost: {told.first_refusal}"
        )
    return Trial(told, (subject.cpu() - cpu) * 1e6 / told.answers)


def body(
    *, max_tokens: int | None, tokens: int = upstream.TOKENS, latency_ms: int = 0, model: str = "gpt-4o-mini"
) -> str:
    """A request for a chat completion of so many tokens after so long; None: it declares no maximum."""
    orders = f"[[tokens={tokens} latency_ms={latency_ms}]]"
    words = f"{orders} Ticket {NUMBER.decode()}: where is my parcel? Answer in one sentence."
    request: dict[str, object] = {
        "model": model,
        "messages": [{"role": "system", "content": "You help customers."}, {"role": "user", "content": words}],
    }
    if max_tokens is not None:
        request["max_tokens"] = max_tokens
    return json.dumps(request)


def _cpu(subjects: list[Subject]) -> float:
    """Of all gateways; subjects that share a process count once."""
    return sum({subject.port: subject.cpu() for subject in subjects}.values())


def _figures(subjects: list[Subject], found: dict[tuple[str, int], list[Trial]], others: str) -> list[Figure]:
    def value(name: str, connections: int, read: Callable[[Trial], float]) -> float:
        return median(map(read, found[name, connections]))

    figures = []
    for connections in CONNECTIONS:
        at = f"{connections:,} at once" if connections > 1 else "one at a time"
        for subject in subjects:
            ours = subject.name.startswith("here")
            rate = value(subject.name, connections, lambda trial: trial.told.rate)
            cpu = value(subject.name, connections, lambda trial: trial.cpu_us)
            note = f"{subject.note}; {cpu:,.0f} µs of its processor a call" if subject.cpu() else subject.note
            aim = AIMS.get(("rate", connections), "") if ours else ""
            figures.append(Figure(GROUP, f"{at}: {subject.name}", rate, "calls/s", aim, note))
        for subject in subjects[1:]:
            aims = AIMS if subject.name.startswith("here") else {}
            for share, read in (("p50", lambda trial: trial.told.p50), ("p99", lambda trial: trial.told.p99)):
                direct = value("direct", connections, read)
                added = value(subject.name, connections, read) - direct
                name = f"{at}, added to the {share.upper()}: {subject.name}"
                note = f"beside {direct:.2f} ms directly"
                figures.append(Figure(GROUP, name, added, "ms", aims.get((share, connections), ""), note))
    return figures + _ratios(found, value, others)


def _ratios(
    found: dict[tuple[str, int], list[Trial]], value: Callable[[str, int, Callable[[Trial], float]], float], others: str
) -> list[Figure]:
    def rate(trial: Trial) -> float:
        return trial.told.rate

    figures = []
    for connections in CONNECTIONS:
        ratio = value("here", connections, rate) / value("LiteLLM", connections, rate)
        note = f"calls a second, ours by LiteLLM's; {others}"
        figures.append(Figure(GROUP, f"{connections:,} at once: **ratio**", ratio, "times", note=note))
    costs = [
        (1 - rate(tree) / rate(one)) * 100
        for connections in CONNECTIONS
        for one, tree in zip(found["here", connections], found[f"here, {TREE}", connections], strict=True)
    ]
    note = f"fewer calls a second, median of {len(costs)} pairs, from {min(costs):.1f} to {max(costs):.1f} %"
    figures.append(Figure(GROUP, f"{TREE}, beside one", median(costs), "%", "5 %", note))
    one, tree = (value(name, CONNECTIONS[-1], lambda trial: trial.cpu_us) for name in ("here", f"here, {TREE}"))
    note = f"more of the gateway's processor a call, {CONNECTIONS[-1]} at once; other work moves it less"
    return [*figures, Figure(GROUP, f"{TREE}: processor", (tree / one - 1) * 100, "%", "5 %", note)]


async def settled(provider: Child) -> dict[str, dict[str, int]]:
    """What the provider counts by key, once nothing is on its way any more."""
    while (counts := await provider.asked("counts"))["in_flight"]:  # noqa: ASYNC110 - another process
        await asyncio.sleep(0.1)
    by_key: dict[str, dict[str, int]] = counts["by_key"]
    return by_key
