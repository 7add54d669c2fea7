"""A fast answer first: another agent answers at once, provisionally, while the agent does its whole work.

Both stand in the run's journal: the responder is a child run, and two notes say what was given out provisionally and
what became of it. The caller may show the first at once; the second confirms or replaces it.
"""

from collections.abc import Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from penstock.agents.run import Run
from penstock.kernel.canonical import stable_json
from penstock.kernel.errors import AgentInvalid, CallDenied, ChildFailed, TimedOut

if TYPE_CHECKING:
    from penstock.agents.definition import Definition

PROVISIONAL = "answer.provisional"
"""Name of the note that keeps what was given out first: ``{"agent", "output"}``."""
SETTLED = "answer.settled"
"""Name of the note that says what became of it: ``{"kind": "confirmed" | "replaced"}``."""
SECONDS_MAX = 3600.0


@dataclass(slots=True, frozen=True)
class Responder:
    """An agent that answers first.

    Args:
        agent: takes the same input. It needs a budget of its own: what it may spend is set aside of the run's.
        seconds: it has no longer than this; the run does not wait for it any further.

    Raises:
        AgentInvalid: no budget of its own, or a time out of bounds.
    """

    agent: "Definition"
    seconds: float = 10.0

    def __post_init__(self) -> None:
        limits = self.agent.budget
        if not (limits.tokens or limits.nano):
            raise AgentInvalid(
                f"the responder {self.agent.name} has no budget of tokens or money",
                hint="without one it would reserve all that the run has",
            )
        if not 0 < self.seconds <= SECONDS_MAX:
            raise AgentInvalid(f"a responder has {self.seconds!r} seconds", hint=f"choose up to {SECONDS_MAX:.0f}")


async def answer_first(
    run: Run, agent: "Definition", responder: Responder, value: Any, work: Coroutine[Any, Any, Any]
) -> Any:
    """What ``work`` gives, while the responder answers beside it. A responder that fails is missed by nobody."""
    given, answer = await run.gather(_provisional(run, responder, value), work)
    if given is not None:
        kind = "confirmed" if stable_json(agent.plain_answer(answer)) == stable_json(given["output"]) else "replaced"
        await run.record(SETTLED, lambda: {"kind": kind})
    return answer


async def _provisional(run: Run, responder: Responder, value: Any) -> dict[str, Any] | None:
    """What was given out; None when there was nothing to give."""
    agent = responder.agent
    try:
        output = await run.timeout(responder.seconds, run.call(agent, value))
    except (ChildFailed, CallDenied, TimedOut):
        return None
    given = {"agent": agent.name, "output": agent.plain_output(output)}
    await run.record(PROVISIONAL, lambda: given)
    return given
