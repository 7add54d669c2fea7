"""Random agents as data: a program is plain JSON, and one agent interprets it.

What a program returns does not depend on the order in which its calls end. What it *asks* of the gates does: an
ordered read carries the order of arrival, the time and a random draw in its arguments, so that a replay in which any
of these differs diverges.
"""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from hypothesis import strategies as st

from penstock import Budget, Change, Run, TransientToolError, agent, tool
from penstock.events import Amount, Failure
from penstock.events.messages import say
from penstock.kernel.canonical import digest
from penstock.kernel.errors import CallDenied, ChildFailed, TimedOut, ToolFailed
from penstock.ports.model import ModelError, ModelRequest, ModelResponse, Price
from penstock.ports.tools import IdempotencyKey, ToolContext
from penstock.testing import ScriptedModel

Program = dict[str, Any]


class World:
    """What is outside: how often each effect happened, and how often anything was asked at all."""

    def __init__(self) -> None:
        self.effects: dict[str, int] = {}
        self.asked = 0

    def effect(self, key: str) -> None:
        self.effects[key] = self.effects.get(key, 0) + 1


world = World()


@tool(effect="read", repeatable=True, timeout_seconds=5)
async def read(x: int, pause: int, stamp: str = "") -> int:
    """Takes ``pause`` turns of the loop, or milliseconds when negative."""
    world.asked += 1
    if pause < 0:
        await asyncio.sleep(-pause / 1000)
    for _ in range(pause):
        await asyncio.sleep(0)
    return 2 * x


@tool(effect="write", risk="low", permission="auto", in_doubt="keyed", repeatable=True, timeout_seconds=5)
async def keyed(x: int, key: IdempotencyKey) -> int:
    """A receiver that knows a repeat by its key."""
    world.asked += 1
    world.effects.setdefault(key, 1)
    await asyncio.sleep(0)
    return 3 * x


async def did(x: int, key: IdempotencyKey) -> bool:
    return str(key) in world.effects


@tool(effect="write", permission="auto", in_doubt="confirm", confirm=did, repeatable=True, timeout_seconds=5)
async def confirmed(x: int, key: IdempotencyKey) -> None:
    """A receiver that would do it again, but can be asked whether it has."""
    world.asked += 1
    world.effect(str(key))


async def before_held(x: int) -> list[Change]:
    """Asked whenever a person is about to be, and never in replay."""
    world.asked += 1
    await asyncio.sleep(0)
    if x == 5:
        raise LookupError("nothing known of five")
    return [Change(f"thing {x}", "0", str(5 * x))]


@tool(effect="write", risk="high", in_doubt="keyed", repeatable=True, timeout_seconds=5, preview=before_held)
async def held(x: int, key: IdempotencyKey) -> int:
    """Waits for a person, who says no to every third."""
    world.asked += 1
    world.effects.setdefault(key, 1)
    return 5 * x


@tool(effect="write", risk="prohibited")
async def prohibited(x: int) -> None:
    """Is never called."""
    raise AssertionError("a prohibited tool was called")


@tool(effect="read", attempts=2, repeatable=True, timeout_seconds=5)
async def flaky(x: int, context: ToolContext) -> int:
    """Fails the first time it is asked at each place."""
    world.asked += 1
    if context.attempt == 1:
        raise TransientToolError("try again")
    return 7 * x


@tool(effect="read", repeatable=True, timeout_seconds=5, hedge_after=0.002)
async def hedged(x: int, pause: int) -> int:
    """Is asked twice when it takes longer than that; whichever attempt is first counts."""
    world.asked += 1
    await asyncio.sleep(abs(pause) / 1000)
    return 11 * x


@tool(effect="read", repeatable=True, timeout_seconds=5)
async def broken(x: int) -> int:
    """Always fails."""
    world.asked += 1
    raise ValueError(f"{x} is not acceptable")


def _answer(request: ModelRequest) -> ModelResponse:
    world.asked += 1
    text = request.messages[-1].text
    return ModelResponse(say("assistant", f"{text} indeed"), Amount(tokens_in=len(text), tokens_out=2))


class HesitantModel(ScriptedModel):
    """Takes as many milliseconds as the last digit of the prompt says."""

    async def request(self, request: ModelRequest) -> ModelResponse:
        await asyncio.sleep(int(request.messages[-1].text[-1]) / 1000)
        return await super().request(request)


model = ScriptedModel([_answer], name="sim:model", price=Price(1.0, 1.0), repeat=True)
hesitant = HesitantModel([_answer], name="sim:hesitant", price=Price(1.0, 1.0), repeat=True)
unavailable = ScriptedModel(
    [ModelError(Failure("model_auth", "permanent", "no"), billed=False)], name="sim:unavailable", repeat=True
)


class Arrivals:
    """The order in which things came to an agent; shared by all branches of a run."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.seen: list[Any] = []

    def note(self, what: Any) -> Any:
        self.seen.append(what)
        return what

    def stamp(self) -> str:
        return digest([self.seen, self.run.now().isoformat(), self.run.seen.tokens, self.run.seen.nano])


@agent("simulated-agent", version="1", budget=Budget(retries=1000))
async def simulated(run: Run, program: Program) -> Any:
    """Interprets a program."""
    return await perform(Arrivals(run), program)


async def perform(come: Arrivals, program: Program) -> Any:
    """What the program comes to; a plain value."""
    return come.note(await STEPS[program["do"]](come, program))


async def _seq(come: Arrivals, program: Program) -> Any:
    return [await perform(come, step) for step in program["steps"]]


async def _gather(come: Arrivals, program: Program) -> Any:
    return await come.run.gather(*(perform(come, step) for step in program["steps"]))


async def _map(come: Arrivals, program: Program) -> Any:
    return await come.run.map(lambda step: perform(come, step), program["steps"], limit=program["x"] % 3 + 1)


async def _semaphore(come: Arrivals, program: Program) -> Any:
    semaphore = asyncio.Semaphore(program["x"] % 2 + 1)

    async def one(step: Program) -> Any:
        async with semaphore:
            return await perform(come, step)

    return await come.run.gather(*(one(step) for step in program["steps"]))


async def _event(come: Arrivals, program: Program) -> Any:
    """All but the first branch wait until the first is through."""
    opened = asyncio.Event()

    async def one(index: int, step: Program) -> Any:
        if index:
            await opened.wait()
        result = await perform(come, step)
        opened.set()
        return result

    return await come.run.gather(*(one(index, step) for index, step in enumerate(program["steps"])))


async def _queue(come: Arrivals, program: Program) -> Any:
    """Branches hand their results to one that counts them."""
    queue: asyncio.Queue[Any] = asyncio.Queue()

    async def produce(step: Program) -> Any:
        result = await perform(come, step)
        await queue.put(result)
        return result

    async def consume() -> int:
        for _ in program["steps"]:
            come.note(["taken", await queue.get()])
            await come.run.call(read, 0, 0, come.stamp())
        return len(program["steps"])

    return await come.run.gather(consume(), *(produce(step) for step in program["steps"]))


async def _read(come: Arrivals, program: Program) -> Any:
    return await come.run.call(read, program["x"], program["pause"])


async def _ordered(come: Arrivals, program: Program) -> Any:
    return await come.run.call(read, program["x"], program["pause"], come.stamp())


async def _random(come: Arrivals, program: Program) -> Any:
    await come.run.call(read, 0, 0, str(come.run.random().random()))
    return program["x"]


async def _keyed(come: Arrivals, program: Program) -> Any:
    return await come.run.call(keyed, program["x"])


async def _confirmed(come: Arrivals, program: Program) -> Any:
    return await come.run.call(confirmed, program["x"])


async def _held(come: Arrivals, program: Program) -> Any:
    try:
        return await come.run.call(held, program["x"])
    except CallDenied as error:
        return ["denied", error.fields.get("rule")]


async def _denied(come: Arrivals, program: Program) -> Any:
    try:
        return await come.run.call(prohibited, program["x"])
    except CallDenied as error:
        return ["denied", error.what, error.fields.get("rule")]


async def _flaky(come: Arrivals, program: Program) -> Any:
    return await come.run.call(flaky, program["x"])


async def _broken(come: Arrivals, program: Program) -> Any:
    try:
        return await come.run.call(broken, program["x"])
    except ToolFailed as error:
        return ["failed", error.what]


async def _ask(come: Arrivals, program: Program) -> Any:
    return await come.run.ask(model, f"number {program['x']}")


async def _ask_hedged(come: Arrivals, program: Program) -> Any:
    return await come.run.ask(hesitant, f"number {program['x']}", hedge_after_seconds=0.003)


async def _ask_another(come: Arrivals, program: Program) -> Any:
    return await come.run.ask([unavailable, model], f"number {program['x']}")


async def _hedged(come: Arrivals, program: Program) -> Any:
    return await come.run.call(hedged, program["x"], program["pause"])


async def _sleep(come: Arrivals, program: Program) -> Any:
    await come.run.sleep(program["x"] / 1000)
    return None


async def _record(come: Arrivals, program: Program) -> Any:
    def take() -> int:
        world.asked += 1
        return int(program["x"]) + 1

    return await come.run.record("a value", take)


async def _unrecorded(come: Arrivals, program: Program) -> Any:
    def take() -> int:
        world.asked += 1
        raise OSError("nothing there")

    try:
        return await come.run.record("a value", take)
    except ToolFailed as error:
        return ["not recorded", error.what]


async def _decide(come: Arrivals, program: Program) -> Any:
    await come.run.decide("which", ["left", "right"], program["x"] % 2, why="a coin", confidence=0.5)
    return None


async def _patched(come: Arrivals, program: Program) -> Any:
    return [await come.run.patched("change"), await come.run.patched("change")]


async def _timeout(come: Arrivals, program: Program) -> Any:
    """One that never fires."""
    return await come.run.timeout(3600, perform(come, program["steps"][0]))


async def _overrun(come: Arrivals, program: Program) -> Any:
    """One that always fires, at any moment of what goes on inside; that comes to nothing, whatever it was."""

    async def endless() -> None:
        await come.run.sleep(3600)

    inside = Arrivals(come.run)
    try:
        work = [perform(inside, step) for step in program["steps"]]
        await come.run.timeout(program["x"] / 2000, come.run.gather(endless(), *work))
    except TimedOut as error:
        return ["timed out", error.code]
    raise AssertionError("an endless sleep ended")


async def _child(come: Arrivals, program: Program) -> Any:
    try:
        return await come.run.call(simulated, program["steps"][0])
    except ChildFailed as error:
        return ["child failed", error.fields["outcome"], error.fields["child_code"]]


async def _raise(come: Arrivals, program: Program) -> Any:
    raise LookupError(f"no {program['x']}")


STEPS: dict[str, Callable[[Arrivals, Program], Coroutine[Any, Any, Any]]] = {
    "read": _read,
    "ordered": _ordered,
    "random": _random,
    "keyed": _keyed,
    "confirmed": _confirmed,
    "held": _held,
    "denied": _denied,
    "flaky": _flaky,
    "broken": _broken,
    "ask": _ask,
    "ask_hedged": _ask_hedged,
    "ask_another": _ask_another,
    "hedged": _hedged,
    "sleep": _sleep,
    "record": _record,
    "unrecorded": _unrecorded,
    "decide": _decide,
    "patched": _patched,
    "seq": _seq,
    "gather": _gather,
    "map": _map,
    "semaphore": _semaphore,
    "event": _event,
    "queue": _queue,
    "timeout": _timeout,
    "overrun": _overrun,
    "child": _child,
    "raise": _raise,
}
LEAVES = [
    "read",
    "ordered",
    "ordered",
    "keyed",
    "confirmed",
    "held",
    "denied",
    "flaky",
    "broken",
    "ask",
    "ask_hedged",
    "ask_another",
    "hedged",
    "sleep",
    "record",
    "unrecorded",
    "decide",
]

_leaf = st.builds(
    lambda do, x, pause: {"do": do, "x": x, "pause": pause},
    st.sampled_from(LEAVES),
    st.integers(0, 9),
    st.integers(-2, 6),
)


def _node(inner: st.SearchStrategy[Program], *more: str) -> st.SearchStrategy[Program]:
    groups = ["seq", "gather", "gather", "map", "semaphore", "event", "queue", "timeout", *more]
    several = st.builds(
        lambda do, steps, x: {"do": do, "steps": steps, "x": x},
        st.sampled_from(groups),
        st.lists(inner, min_size=1, max_size=4),
        st.integers(0, 9),
    )
    return several | st.builds(lambda step: {"do": "child", "steps": [step]}, inner)


trees = st.recursive(_leaf, _node, max_leaves=8)
_head = st.sampled_from([[], [], [{"do": "random", "x": 1}], [{"do": "patched", "x": 1}]])
_end = st.sampled_from([[], [], [], [{"do": "raise", "x": 1}]])
_whole = partial(st.builds, lambda head, steps, end: {"do": "seq", "steps": [*head, *steps, *end]}, _head)
programs = _whole(st.lists(trees, min_size=1, max_size=3), _end)
"""A sequence, now and then with a random draw or a version branch at its head or a failure at its end. Neither of the
first two may stand in a parallel branch: draws are counted in order, and beside a branch that was further before a
crash new code cannot be told from old."""

_timed_trees = st.recursive(_leaf, lambda inner: _node(inner, "overrun", "overrun", "overrun"), max_leaves=8)
timed_programs = _whole(st.lists(_timed_trees, min_size=1, max_size=3), _end)
"""With time-outs that fire. Which calls inside them are made depends on how fast the machine is; the rest does not."""
