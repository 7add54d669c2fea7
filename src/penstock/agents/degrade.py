"""What an agent falls back to, by how it failed: another agent, a prepared answer, a person.

A failure that nothing is declared for stands. What stands in for the agent's own answer is said in the run's outcome.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from penstock.agents.run import Run
from penstock.gates.tool.help import ask_person
from penstock.kernel.canonical import stable_json
from penstock.kernel.errors import (
    AgentInvalid,
    BreakerOpen,
    CallDenied,
    ChildFailed,
    Escalation,
    IsolationFull,
    ModelFailed,
    OutputInvalid,
    PenstockError,
    TimedOut,
    ToolFailed,
    UsageUnreadable,
)

if TYPE_CHECKING:
    from penstock.agents.definition import Definition

FailureClass = Literal[
    "model_failed",
    "tool_failed",
    "refused",
    "child_failed",
    "output_invalid",
    "timed_out",
    "not_confident",
    "exhausted",
    "other",
    "any",
]
"""How an agent can fail.

``refused``: a rule, a policy or a person denied a call that it could not do without. ``not_confident``: it hands the
case over itself. ``exhausted``: a limit is reached, and nothing more may be spent. ``other``: an error of the platform
of any other kind. ``any``: whatever has no entry of its own, but neither of the two before ``other``.
"""
_OF_ITS_OWN = ("not_confident", "exhausted")
STEPS_MAX = 5
"""Fallbacks of one class, tried one after the other."""


@dataclass(slots=True, frozen=True)
class Template:
    """A prepared answer. It costs nothing and cannot fail.

    Args:
        answer: of the agent's output type. In texts ``{run}`` becomes the id of the run, for people to quote.
    """

    answer: Any


@dataclass(slots=True, frozen=True)
class Person:
    """A person takes over.

    Args:
        words: what they are told besides the failure.
        waits: the run waits for their answer, which becomes its own; else it ends as ``escalated``. The agent's output
            must be text then.
    """

    words: str = ""
    waits: bool = False


Fallback = Any
"""An agent, a `Template` or its text, or a `Person`; or several, tried in this order; or a mapping of these by
`FailureClass`. One alone is meant for ``any``."""
Steps = dict[str, tuple[Any, ...]]


def read_fallback(agent: "Definition", said: Fallback, *, is_text: bool) -> Steps:
    """What is declared, by class.

    Raises:
        AgentInvalid: it cannot be used: a class that there is not, an answer that does not fit, what would cost money
            when none is left.
    """
    if said is None:
        return {}
    by_class = said if isinstance(said, Mapping) else {"any": said}
    steps: Steps = {}
    for name, declared in by_class.items():
        if name not in get_args(FailureClass):
            known = ", ".join(get_args(FailureClass))
            raise AgentInvalid(f"{agent.name} has a fallback for {name!r}", hint=f"there are {known}")
        several = declared if isinstance(declared, Sequence) and not isinstance(declared, str) else [declared]
        if not 0 < len(several) <= STEPS_MAX:
            raise AgentInvalid(f"{agent.name} has {len(several)} fallbacks for {name}; there can be 1 to {STEPS_MAX}")
        steps[name] = tuple(_step(agent, name, step, is_text=is_text) for step in several)
    return steps


def agents_of(steps: Steps) -> "list[Definition]":
    """The agents that are fallen back to."""
    from penstock.agents.definition import Definition

    return [step for several in steps.values() for step in several if isinstance(step, Definition)]


def part_of(steps: Steps) -> str:
    """What of it makes a release."""

    def words(step: Any) -> str:
        if isinstance(step, Template):
            return f"template {stable_json(step.answer).decode()}"
        return f"person {step.words} {step.waits}" if isinstance(step, Person) else f"agent {step.name}"

    lines = [f"{name}: {', '.join(map(words, several))}" for name, several in sorted(steps.items())]
    return "fallback: " + "; ".join(lines)


def class_of(failure: PenstockError) -> FailureClass:
    """How an agent failed, by the error that ended its work."""
    if isinstance(failure, BreakerOpen):
        return {"model": "model_failed", "tool": "tool_failed"}.get(failure.fields.get("gate", ""), "refused")  # type: ignore[return-value]
    known: tuple[tuple[tuple[type[PenstockError], ...], FailureClass], ...] = (
        ((Escalation,), "not_confident"),
        ((CallDenied,), "refused"),
        ((ModelFailed, UsageUnreadable), "model_failed"),
        ((ToolFailed, IsolationFull), "tool_failed"),
        ((ChildFailed,), "child_failed"),
        ((OutputInvalid,), "output_invalid"),
        ((TimedOut,), "timed_out"),
    )
    return next((name for kinds, name in known if isinstance(failure, kinds)), "other")


def steps_for(steps: Steps, name: FailureClass) -> tuple[Any, ...]:
    """What is declared for a class."""
    return steps.get(name, () if name in _OF_ITS_OWN else steps.get("any", ()))


async def fall_back(agent: "Definition", run: Run, value: Any, failure: PenstockError) -> Any:
    """What stands in for the agent's answer.

    Raises:
        PenstockError: ``failure``, when nothing is declared for it; the last fallback's own, when all have failed.
        Escalation: a person takes over.
    """
    last = failure
    for step in steps_for(agent.fallbacks, class_of(failure)):
        try:
            answer = await _take(agent, run, value, failure, step)
        except Escalation:
            raise
        except PenstockError as error:
            last = error
        else:
            failure.fields["answered_by"] = _name(step)
            return answer
    raise last


def prepared_answer(agent: "Definition", name: FailureClass, run: Any) -> bytes:
    """The stored form of the first prepared answer for a class; b"" = there is none."""
    for step in steps_for(agent.fallbacks, name):
        if isinstance(step, Template):
            return stable_json(_filled(step.answer, str(run)))
    return b""


async def _take(agent: "Definition", run: Run, value: Any, failure: PenstockError, step: Any) -> Any:
    if isinstance(step, Template):
        return agent.read_output(stable_json(_filled(step.answer, str(run.id))))
    if not isinstance(step, Person):
        return await run.call(step, value)
    words = f"{step.words}: {failure.what}" if step.words else failure.what
    if not step.waits:
        raise Escalation(words) from failure
    found = await ask_person(run.context, words)
    if found.status != "answered":
        raise Escalation(f"nobody took over in time: {words}") from failure
    return found.words


def _step(agent: "Definition", name: str, step: Any, *, is_text: bool) -> Any:
    from penstock.agents.definition import Definition

    if isinstance(step, str):
        step = Template(step)
    if isinstance(step, Template):
        try:
            return Template(agent.plain_answer(step.answer))
        except OutputInvalid as error:
            raise AgentInvalid(f"the prepared answer of {agent.name} for {name} does not fit: {error.what}") from error
    if not isinstance(step, Person | Definition):
        raise AgentInvalid(
            f"{agent.name} falls back to {type(step).__name__} for {name}",
            hint="that is an agent, a text or Template, or a Person",
        )
    if name == "exhausted":
        raise AgentInvalid(
            f"{agent.name} falls back to {_name(step)} when it is exhausted",
            hint="nothing more may be spent or begun then: give a text or a Template, which is handed over as partial",
        )
    if isinstance(step, Person) and step.waits and not is_text:
        raise AgentInvalid(f"a person's words are no output of {agent.name}", hint="leave out waits=True")
    return step


def _name(step: Any) -> str:
    if isinstance(step, Template):
        return "a prepared answer"
    return "a person" if isinstance(step, Person) else "the fallback"


def _filled(answer: Any, run: str) -> Any:
    if isinstance(answer, str):
        return answer.replace("{run}", run)
    if isinstance(answer, dict):
        return {key: _filled(item, run) for key, item in answer.items()}
    return [_filled(item, run) for item in answer] if isinstance(answer, list) else answer
