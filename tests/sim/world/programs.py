"""Random agents as data, and the agent that interprets them.

Whatever fails inside is caught and becomes a value, so that a program's end is known beforehand: it succeeds, unless
its last step says otherwise or its budget is too small.
"""

import random
from collections.abc import Callable, Coroutine
from typing import Any

from tests.sim.world import outside

from penstock import Budget, Run, agent, escalate
from penstock.kernel.errors import CallDenied, ChildFailed, ModelFailed, ToolFailed

Program = dict[str, Any]

TOOLS = {
    name: getattr(outside, name)
    for name in ("look", "look_apart", "plain", "plain_apart", "patient", "keyed", "confirmed", "idempotent", "held")
}


@agent("simulated", version="1")
async def simulated(run: Run, program: Program) -> Any:
    """Interprets a program."""
    return await perform(run, program)


async def perform(run: Run, program: Program) -> Any:
    """What the program comes to; a plain value."""
    return await STEPS[program["do"]](run, program)


async def _seq(run: Run, program: Program) -> Any:
    return [await perform(run, step) for step in program["steps"]]


async def _gather(run: Run, program: Program) -> Any:
    return await run.gather(*(perform(run, step) for step in program["steps"]))


async def _map(run: Run, program: Program) -> Any:
    return await run.map(lambda step: perform(run, step), program["steps"], limit=2)


async def _tool(run: Run, program: Program) -> Any:
    try:
        return await run.call(TOOLS[program["tool"]], program["x"])
    except ToolFailed as error:
        return ["failed", error.fields.get("failure")]
    except CallDenied as error:
        return ["denied", error.fields.get("rule")]


async def _ask(run: Run, program: Program) -> Any:
    try:
        return await run.ask("sim:model", f"{run.id} number {program['x']}", max_tokens=64)
    except (CallDenied, ModelFailed) as error:
        return ["unanswered", error.code]


async def _sleep(run: Run, program: Program) -> Any:
    await run.sleep(program["x"] % 7 * 0.4)
    return None


async def _record(run: Run, program: Program) -> Any:
    return await run.record("a value", lambda: program["x"] + 1)


async def _decide(run: Run, program: Program) -> Any:
    await run.decide("which", ["left", "right"], program["x"] % 2, why="a coin", confidence=0.5)
    return None


async def _child(run: Run, program: Program) -> Any:
    try:
        return await run.call(simulated, program["steps"][0])
    except ChildFailed as error:
        return ["child failed", error.fields["outcome"]]
    except CallDenied as error:
        return ["denied", error.fields.get("rule")]


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
    "raise": _raise,
    "escalate": _escalate,
}
ENDS = {"raise": "failed", "escalate": "escalated"}


class Author:
    """Writes programs."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self._number = 0
        self.budget = 0

    def program(self) -> Program:
        """A whole one, of a handful of calls."""
        self.budget = self.rng.choice((2, 3, 4, 5, 6, 8))
        steps = [self._node(2, 0)]
        while self.budget > 0:
            steps.append(self._node(2, 0))
        if self.rng.random() < 0.1:
            steps.append({"do": self.rng.choice(("raise", "escalate"))})
        return {"do": "seq", "steps": steps}

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
        if children < 2 and roll < 0.40:
            return {"do": "child", "steps": [self._node(depth, children + 1)]}
        return self._leaf()

    def _leaf(self) -> Program:
        self.budget -= 1
        self._number += 1
        x, roll = self._number, self.rng.random()
        if roll < 0.70:
            names = ("look", "look_apart", "plain", "plain", "plain_apart", "patient", "keyed", "confirmed")
            name = self.rng.choice((*names, "idempotent", "held"))
            return {"do": "tool", "tool": name, "x": x}
        return {"do": self.rng.choice(("ask", "ask", "ask", "sleep", "sleep", "record", "decide")), "x": x}


def expected(program: Program) -> str:
    """How a run of the program ends when nobody stops it and its budget suffices."""
    last = program["steps"][-1]["do"] if program["do"] == "seq" else program["do"]
    return ENDS.get(last, "succeeded")
