"""Random agents as data, and the agent that interprets them.

Whatever fails inside is caught and becomes a value, so that a program's end is known beforehand: it succeeds, unless
its last step says otherwise or its budget is too small.
"""

import json
import random
from collections.abc import Callable, Coroutine
from typing import Any
from uuid import UUID

from tests.sim.world import outside
from tests.sim.world.outside import Place

from penstock import Agent, Budget, Failed, Run, agent, escalate
from penstock.kernel.errors import (
    CallDenied,
    ChildFailed,
    DocumentConflict,
    ModelFailed,
    TimedOut,
    ToolFailed,
    WaitCycle,
    WaitFailed,
)
from penstock.ports.agents import AgentDef

Program = dict[str, Any]

TOOLS = {
    name: getattr(outside, name)
    for name in (
        "look",
        "look_twice",
        "look_apart",
        "plain",
        "plain_apart",
        "patient",
        "keyed",
        "confirmed",
        "idempotent",
        "held",
    )
}


@agent("simulated", version="1")
async def simulated(run: Run, program: Program) -> Any:
    """Interprets a program."""
    return await perform(run, program)


@agent("simulated", version="2")
async def simulated_anew(run: Run, program: Program) -> Any:
    """The same in the next release."""
    return await perform(run, program)


async def prepare(run: Run, program: Program) -> Program:
    """Reads something."""
    await _called(run, "look", program["x"])
    return program


async def deliver(run: Run, program: Program, result: Any) -> Any:
    """Writes something."""
    return [result, await _called(run, "confirmed", program["x"])]


async def take_back(run: Run, program: Program, failed: Failed) -> None:
    """Writes once for each write that there was."""
    for number, _ in enumerate(failed.writes):
        await _called(run, "idempotent", 1000 * program["x"] + number)


@agent("staged", version="1", prepare=prepare, consequence=deliver, compensate=take_back)
async def staged(run: Run, program: Program) -> Any:
    """Interprets a program between two stages, and takes back what it wrote when that fails."""
    return await perform(run, program)


looped = Agent(
    "looped",
    model="sim:loop",
    instructions="Obey.",
    tools=[outside.look, outside.plain, outside.keyed, outside.held],
    budget=Budget(steps=40),
)
AGENTS: list[AgentDef] = [simulated, staged, looped]
NEXT_AGENTS: list[AgentDef] = [simulated_anew, staged, looped]


async def perform(run: Run, program: Program) -> Any:
    """What the program comes to; a plain value."""
    return await STEPS[program["do"]](run, program)


async def _seq(run: Run, program: Program) -> Any:
    return [await perform(run, step) for step in program["steps"]]


async def _gather(run: Run, program: Program) -> Any:
    return await run.gather(*(perform(run, step) for step in program["steps"]))


async def _map(run: Run, program: Program) -> Any:
    return await run.map(lambda step: perform(run, step), program["steps"], limit=2)


async def _called(run: Run, tool: str, x: int) -> Any:
    try:
        return await run.call(TOOLS[tool], x)
    except ToolFailed as error:
        return ["failed", error.fields.get("failure")]
    except CallDenied as error:
        return ["denied", error.fields.get("rule")]


async def _tool(run: Run, program: Program) -> Any:
    return await _called(run, program["tool"], program["x"])


async def _ask(run: Run, program: Program) -> Any:
    models = ["sim:refusing", "sim:model"] if program.get("refused") else "sim:model"
    prompt = f"{run.id} number {program['x']}"
    try:
        return await run.ask(models, prompt, max_tokens=64, hedge_after_seconds=program.get("hedge"))
    except (CallDenied, ModelFailed) as error:
        return ["unanswered", error.code]


async def _hear(run: Run, program: Program) -> Any:
    try:
        value = await run.wait_event("mail", key=program["key"], timeout_seconds=program["seconds"])
    except TimedOut:
        return "nothing came"
    return ["heard", value]


async def _await(run: Run, program: Program) -> Any:
    peer = await run.record("peer", lambda: Place.now.peer(program["x"]))
    if peer is None:
        return "nobody there"
    try:
        ended = await run.wait_run(UUID(peer), timeout_seconds=program["seconds"])
    except (TimedOut, WaitFailed) as error:
        if isinstance(error, WaitCycle) and str(run.id) not in error.fields["circle"]:
            raise AssertionError(f"{run.id} is not in the circle {error.fields['circle']}") from error
        return ["not awaited", error.code]
    return ["ended", ended.outcome]


async def _send(run: Run, program: Program) -> Any:
    peer = await run.record("peer", lambda: Place.now.peer(program["x"]))
    return peer is not None and await run.send_event(UUID(peer), "note", f"{run.id} {program['x']}")


async def _note(run: Run, program: Program) -> Any:
    """What others may have sent to this run."""
    try:
        return ["noted", await run.wait_event("note", timeout_seconds=program["seconds"])]
    except TimedOut:
        return "nothing came"


async def _write(run: Run, program: Program) -> Any:
    document = run.document(f"list {program['x'] % 2}")
    entry = f"{run.id} {program['x']}"
    try:
        await document.update(lambda held: [*(held or []), entry])
    except DocumentConflict:
        return "others were faster"
    return "written"


async def _limit(run: Run, program: Program) -> Any:
    try:
        return await run.timeout(program["seconds"], perform(run, program["steps"][0]))
    except TimedOut:
        return "out of time"


async def _continue(run: Run, program: Program) -> Any:
    await run.continue_as(program["steps"][0])


async def _sleep(run: Run, program: Program) -> Any:
    await run.sleep(program["x"] % 7 * 0.4)
    return None


async def _record(run: Run, program: Program) -> Any:
    return await run.record("a value", lambda: program["x"] + 1)


async def _decide(run: Run, program: Program) -> Any:
    await run.decide("which", ["left", "right"], program["x"] % 2, why="a coin", confidence=0.5)
    return None


async def _child(run: Run, program: Program) -> Any:
    return await _as_child(run, "simulated", program["steps"][0])


async def _staged(run: Run, program: Program) -> Any:
    return await _as_child(run, "staged", program["steps"][0])


async def _looped(run: Run, program: Program) -> Any:
    return await _as_child(run, "looped", json.dumps(program["calls"]))


async def _as_child(run: Run, name: str, value: Any) -> Any:
    """A child of whichever release this worker offers."""
    agent_ = run.context.services.agents.find(name)
    assert agent_ is not None
    try:
        return await run.call(agent_, value)
    except ChildFailed as error:
        return ["child failed", error.fields["outcome"]]
    except CallDenied as error:
        return ["denied", error.fields.get("rule")]
    except WaitCycle:
        return "would wait for itself"


async def _raise(run: Run, program: Program) -> Any:
    raise LookupError("as the program says")


async def _escalate(run: Run, program: Program) -> Any:
    escalate("as the program says")


STEPS: dict[str, Callable[[Run, Program], Coroutine[Any, Any, Any]]] = {
    "seq": _seq,
    "gather": _gather,
    "map": _map,
    "tool": _tool,
    "ask": _ask,
    "sleep": _sleep,
    "record": _record,
    "decide": _decide,
    "child": _child,
    "staged": _staged,
    "looped": _looped,
    "hear": _hear,
    "await": _await,
    "send": _send,
    "note": _note,
    "write": _write,
    "limit": _limit,
    "continue": _continue,
    "raise": _raise,
    "escalate": _escalate,
}
ENDS = {"raise": "failed", "escalate": "escalated"}


class Author:
    """Writes programs. ``mail`` collects what must be published for those who wait for it: keys and values."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self._number = 0
        self.budget = 0
        self.mail: list[tuple[str, int]] = []

    def program(self) -> Program:
        """A whole one, of a handful of calls."""
        self.budget = self.rng.choice((2, 2, 3, 4, 5, 6))
        steps = [self._node(2, 0)]
        while self.budget > 0:
            steps.append(self._node(2, 0))
        roll = self.rng.random()
        if roll < 0.1:
            steps.append({"do": self.rng.choice(("raise", "escalate"))})
        elif roll < 0.16:
            self.budget = 2
            following = {"do": "seq", "steps": [self._node(1, 1), self._node(1, 1)]}
            steps.append({"do": "continue", "steps": [following]})
        return {"do": "seq", "steps": steps}

    def small(self) -> Program:
        """One of two calls."""
        self.budget = 2
        return {"do": "seq", "steps": [self._leaf(), self._leaf()]}

    def limits(self) -> Budget | None:
        """Mostly none; sometimes too little for all model calls of a program."""
        roll = self.rng.random()
        if roll < 0.7:
            return None
        if roll < 0.85:
            return Budget(usd="0.01", tokens=1_000_000)
        return Budget(usd=f"0.000{self.rng.randrange(100, 999)}")

    def _node(self, depth: int, children: int) -> Program:
        roll = self.rng.random()
        if depth and self.budget > 1 and roll < 0.28:
            do = self.rng.choice(("gather", "gather", "map", "seq"))
            return {"do": do, "steps": [self._node(depth - 1, children) for _ in range(self.rng.choice((2, 2, 3)))]}
        if depth and self.budget > 1 and roll < 0.33:
            seconds = self.rng.choice((0.5, 1.5, 3.0, 8.0))
            return {"do": "limit", "seconds": seconds, "steps": [self._node(depth - 1, children)]}
        if children < 2 and roll < 0.43:
            return {"do": "child", "steps": [self._node(depth, children + 1)]}
        if children < 2 and roll < 0.46:
            return {"do": "staged", "steps": [self._between_stages(children + 1)]}
        return self._leaf()

    def _between_stages(self, children: int) -> Program:
        steps = [self._node(1, children)]
        if self.rng.random() < 0.4:
            steps.append({"do": "raise"})
        self._number += 1
        return {"do": "seq", "x": self._number, "steps": steps}

    def _leaf(self) -> Program:
        self.budget -= 1
        self._number += 1
        x, roll = self._number, self.rng.random()
        if roll < 0.55:
            names = ("look", "look_twice", "look_apart", "plain", "plain", "plain_apart", "patient", "keyed")
            name = self.rng.choice((*names, "confirmed", "idempotent", "held"))
            return {"do": "tool", "tool": name, "x": x}
        if roll < 0.72:
            return self._ask(x)
        if roll < 0.84:
            return {"do": self.rng.choice(("sleep", "sleep", "record", "decide")), "x": x}
        return self._shared(x)

    def _ask(self, x: int) -> Program:
        program: Program = {"do": "ask", "x": x}
        roll = self.rng.random()
        if roll < 0.2:
            program["hedge"] = self.rng.choice((0.01, 0.3))
        elif roll < 0.4:
            program["refused"] = True
        return program

    def _shared(self, x: int) -> Program:
        """A step that has to do with other runs, or a conversation of the standard loop."""
        do = self.rng.choice(("hear", "hear", "await", "await", "send", "note", "write", "write", "looped"))
        program: Program = {"do": do, "x": x}
        if do == "hear":
            program["key"] = f"k{x % 2}"
            program["seconds"] = self.rng.choice((None, None, 2.0))
            self.mail.append((program["key"], x))
        elif do == "await":
            program["seconds"] = self.rng.choice((None, None, 3.0))
        elif do == "note":
            program["seconds"] = self.rng.choice((0.5, 3.0))
        elif do == "looped":
            names = ("look", "look", "plain", "keyed", "held")
            program["calls"] = [
                [[self.rng.choice(names), 100 * x + 10 * turn + at] for at in range(self.rng.choice((1, 1, 2)))]
                for turn in range(self.rng.choice((2, 4, 6)))
            ]
        return program


def expected(program: Program) -> str:
    """How a run of the program ends when nobody stops it and its budget suffices."""
    last = program["steps"][-1]["do"] if program["do"] == "seq" else program["do"]
    return ENDS.get(last, "succeeded")
