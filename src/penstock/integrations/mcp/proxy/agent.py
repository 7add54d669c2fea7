"""The agent that a session of the proxy is a run of: it takes calls from its inbox and makes them at the tool gate."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from penstock.agents.budget import Budget
from penstock.agents.definition import Definition
from penstock.agents.run import Run
from penstock.agents.tool import Tool
from penstock.gates.tool.gate import ToolCallAsked, ToolReturn, call_tool
from penstock.kernel.canonical import digest
from penstock.kernel.errors import TimedOut

VERSION = "1"
"""A change of how a session takes its calls makes new releases."""
CALL = "mcp.call"
"""The event that asks a session for a call, or for its end."""
TOO_LATE = ToolReturn("denied", None, "the call came too late: nobody waited for it any more", "mcp_too_late")

Deliver = Callable[[str, ToolReturn], None]
Stay = Callable[[UUID], Awaitable[None]]


class SessionAgent(Definition):
    """Takes calls, as many at a time as its input says, each in a branch of its own.

    It holds nothing but what its tape gives it: whoever has the run after a crash makes no call twice, and settles
    those in doubt as their tools are declared. What comes of a call is also told to ``deliver``, for a client that
    still waits in this process; a replay tells it again, and nobody listens. ``stay`` ends when no more calls are
    expected here for now: until then the run is kept in memory, for parking and claiming it for every call would read
    its tape each time.
    """

    def __init__(
        self, name: str, tools: Sequence[Tool[..., Any]], budget: Budget | None, deliver: Deliver, stay: Stay
    ) -> None:
        self.tools = {tool.name: tool.definition for tool in tools}
        parts = [f"mcp {VERSION}", *sorted(digest([name, tool.digest]) for name, tool in self.tools.items())]
        super().__init__(name, budget, dict[str, Any], dict[str, Any], parts, spirals=None)
        self._deliver = deliver
        self._stay = stay

    async def invoke(self, run: Run, opening: dict[str, Any]) -> dict[str, Any]:
        """Take calls until told to end, or until none has come for ``idle`` seconds."""
        lanes = _Lanes(run.seen.at)
        branches = [self._lane(run, lanes, opening["idle"]) for _ in range(int(opening["lanes"]))]
        made = await run.gather(*branches, self._present(run))
        return {"calls": sum(made)}

    async def _present(self, run: Run) -> int:
        await self._stay(run.id)
        return 0

    async def _lane(self, run: Run, lanes: "_Lanes", idle: float) -> int:
        made = 0
        while True:
            try:
                asked = await run.wait_event(CALL, timeout_seconds=idle)
            except TimedOut:
                if not lanes.busy and run.seen.at - lanes.called_at >= idle * 1e6:
                    return made
                continue  # others took the calls that came meanwhile
            if "id" not in asked:
                return made
            made += 1
            lanes.busy += 1
            self._deliver(asked["id"], await self._call(run, asked))
            lanes.busy -= 1
            lanes.called_at = run.seen.at

    async def _call(self, run: Run, asked: dict[str, Any]) -> ToolReturn:
        if run.seen.at > asked["until"]:
            return TOO_LATE
        tool = self.tools.get(asked["tool"])
        return await call_tool(run.context, ToolCallAsked(asked["tool"], tool, asked["args"], asked["id"]))


@dataclass(slots=True)
class _Lanes:
    """What the branches of a session share. ``busy``: how many are in a call; ``called_at``: when the last call ended,
    or the run began, as the tape knows it."""

    called_at: int
    busy: int = 0
