"""What may stand around an agent's own work: `prepare` before, `consequence` after, `compensate` when it failed."""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_type_hints

import msgspec
from pydantic import ValidationError

from penstock.agents.run import Revision, Run
from penstock.agents.tool import source_of
from penstock.events import Event, ToolIntent, ToolOutcome
from penstock.gates.run.context import RunContext
from penstock.gates.run.ledger import first_ref, is_write
from penstock.gates.stage import run_stage
from penstock.kernel.canonical import clean_text, describe
from penstock.kernel.errors import (
    AgentInvalid,
    CallDenied,
    ClaimLost,
    Escalation,
    InputInvalid,
    InputTooLarge,
    PayloadMissing,
    PenstockError,
    Reject,
    Revise,
)

if TYPE_CHECKING:
    from penstock.agents.definition import Definition

StageFunction = Callable[..., Awaitable[Any]]

REVISIONS_MAX = 100
WORDS_MAX_CHARS = 500


@dataclass(slots=True, frozen=True)
class Write:
    """A write of this run that took effect. ``result`` is None where the answer was lost or had no plain form."""

    path: str
    tool: str
    args: Any
    result: Any
    key: str = ""  # the idempotency key it was called with


@dataclass(slots=True, frozen=True)
class Failed:
    """What ``compensate`` is told: how the run is going to end, why, and which writes took effect, in order.

    Writes of child runs are not among them: a child compensates for itself.
    """

    outcome: str  # failed | refused
    code: str
    reason: str
    writes: list[Write]


@dataclass(slots=True, frozen=True)
class Stages:
    """The stages that an agent declares.

    Args:
        prepare: ``async def (run, value) -> prepared``: checks the input and gathers what the work needs.
        consequence: ``async def (run, prepared, result) -> result``: checks, routes and delivers the result.
        compensate: ``async def (run, prepared, failed: Failed) -> None``: takes back what can be taken back.
        revisions: how often ``consequence`` may send the result back.

    Raises:
        AgentInvalid: not an async function with those parameters, or ``revisions`` out of bounds.
    """

    prepare: StageFunction | None = None
    consequence: StageFunction | None = None
    compensate: StageFunction | None = None
    revisions: int = 1

    def __post_init__(self) -> None:
        _check(self.prepare, "prepare", ["run", "value"])
        _check(self.consequence, "consequence", ["run", "value", "result"])
        _check(self.compensate, "compensate", ["run", "value", "failed"])
        if not 0 <= self.revisions <= REVISIONS_MAX:
            raise AgentInvalid(f"revisions is {self.revisions}", hint=f"choose from 0 to {REVISIONS_MAX}")

    @property
    def parts(self) -> list[str]:
        """What of them makes a release; nothing when there are none, so that agents without keep theirs."""
        declared = {"prepare": self.prepare, "consequence": self.consequence, "compensate": self.compensate}
        texts = [f"{name}: {source_of(function)}" for name, function in declared.items() if function is not None]
        return [*texts, f"revisions: {self.revisions}"] if texts else []

    def input_type(self, inner: Any) -> Any:
        """What a run takes: what ``prepare`` is annotated to take, else what the agent's own work takes."""
        return _hint(self.prepare, 1, inner)

    def output_type(self, inner: Any) -> Any:
        """What a run gives: what ``consequence`` is annotated to return, else what the agent's own work gives."""
        return _hint(self.consequence, None, inner)


async def perform(agent: "Definition", run: Run, value: Any) -> Any:
    """An agent's whole work: its stages around its own code and its fallback.

    Raises:
        Reject: the case was refused; before any of the agent's own work if ``prepare`` said so.
        Escalation: the result was sent back once too often, or the agent's code escalates.
    """
    stages = agent.stages
    prepared = await _prepare(agent, run, value) if stages.prepare is not None else value
    try:
        return await _answer(agent, run, prepared)
    except Escalation:
        raise  # a person takes over, with everything as it stands
    except Exception as failure:
        if stages.compensate is not None:
            await _compensate(stages.compensate, run, prepared, failure)
        raise


async def _prepare(agent: "Definition", run: Run, value: Any) -> Any:
    function = agent.stages.prepare
    assert function is not None

    async def work() -> Any:
        try:
            prepared = _accepted(await function(Run(run.context, "prepare"), value))
        except ValidationError as error:
            raise Reject(
                f"the input of {agent.name} is not valid: {validation_words(error)}", "input_invalid"
            ) from error
        except (InputInvalid, InputTooLarge) as error:
            raise Reject(error.what, error.code) from error
        return agent.plain_prepared(prepared)

    return agent.read_prepared(await run_stage(run.context, "prepare", work))


async def _answer(agent: "Definition", run: Run, prepared: Any) -> Any:
    """The agent's result, past its consequence."""
    consequence = agent.stages.consequence
    if consequence is None:
        result = await _attempt(agent, run, prepared)
        if agent.stages.compensate is not None:
            agent.plain_output(result)  # while there is still somebody to take back what was done
        return result
    number = 0
    while True:
        result = await _attempt(agent, run, prepared)
        label = f"consequence {number}"

        async def work(result: Any = result, label: str = label) -> Any:
            return agent.plain_output(_accepted(await consequence(Run(run.context, label), prepared, result)))

        try:
            return agent.read_output(await run_stage(run.context, "consequence", work))
        except Revise as asked:
            number += 1
            if number > agent.stages.revisions:
                words = f"the result was not accepted after {agent.stages.revisions} revisions: {asked.what}"
                raise Escalation(words) from asked
            run.revision = Revision(number, asked.what, result)


async def _attempt(agent: "Definition", run: Run, value: Any) -> Any:
    """The agent's code, and its fallback when it fails."""
    run.context.recovered_from = None
    try:
        return await agent.invoke(run, value)
    except Reject:
        raise
    except PenstockError as failure:
        recovered = await agent.recover(run, value, failure)
        run.context.recovered_from = failure
        return recovered


async def _compensate(function: StageFunction, run: Run, prepared: Any, failure: Exception) -> None:
    """Let the agent take back what it did. A failure here does not replace the first one: it is said beside it."""
    ctx = run.context
    writes = await _writes(ctx)
    if not writes:
        return
    refused = isinstance(failure, Reject | CallDenied)
    if isinstance(failure, PenstockError):
        code = failure.reject_code if isinstance(failure, Reject) else failure.code
        failed = Failed("refused" if refused else "failed", code, failure.what, writes)
    else:
        failed = Failed("failed", "agent_raised", describe(failure, WORDS_MAX_CHARS), writes)

    async def work() -> None:
        await function(Run(ctx, "compensate"), prepared, failed)

    ctx.uncompensated = [f"{write.tool} at {write.path}" for write in writes]
    try:
        await run_stage(ctx, "compensate", work)
    except Exception as error:  # noqa: BLE001 - whatever the agent's code raises is said in the outcome
        ctx.uncompensated.append(f"it failed: {clean_text(getattr(error, 'what', error), WORDS_MAX_CHARS)}")
    else:
        ctx.uncompensated = []


async def _writes(ctx: RunContext) -> list[Write]:
    """The writes that took effect, as far as this run has seen their outcomes."""
    branch = ctx.schedule.bind()
    writes = []
    for path, events in ctx.seen.writes.items():
        intent = next(event for event in events if isinstance(event, ToolIntent))
        if took_effect(events):
            args, result = await _content(ctx, intent, "args"), await _content(ctx, events[-1], "result")
            writes.append(Write(path, intent.tool, args, result, intent.key))
    ctx.schedule.unbind(branch)
    return writes


def took_effect(events: list[Event]) -> bool:
    """Whether the events are those of a write that happened, by its last outcome."""
    last = events[-1]
    if not any(is_write(event) for event in events) or not isinstance(last, ToolOutcome):
        return False
    unreadable = last.failure is not None and last.failure.code == "tool_result_invalid"
    return last.status in ("ok", "happened") or unreadable


def effect_name(path: str, events: list[Event]) -> str:
    """A write in a few words."""
    return f"{next(event.tool for event in events if isinstance(event, ToolIntent))} at {path}"


async def _content(ctx: RunContext, event: Event, name: str) -> Any:
    ref = first_ref(event, name)
    if not ref:
        return None
    try:
        return msgspec.json.decode(await ctx.load(ref))
    except PayloadMissing:  # unless it is of an outcome that was recorded a moment ago, and is still on its way
        await _flush(ctx)
        return msgspec.json.decode(await ctx.load(ref))


async def _flush(ctx: RunContext) -> None:
    try:
        await ctx.log.flush()
    except ClaimLost as lost:
        ctx.stop(lost)
        await ctx.halt()


def _accepted(value: Any) -> Any:
    """A stage may return its refusal as well as raise it."""
    if isinstance(value, Reject | Revise | Escalation):
        raise value
    return value


def validation_words(error: ValidationError) -> str:
    """Where the first values do not fit, and why; without the values."""
    lines = [
        f"{'.'.join(str(place) for place in item['loc']) or 'input'}: {item['msg']}"
        for item in error.errors(include_url=False, include_input=False)[:5]
    ]
    return "; ".join(lines)


def _check(function: StageFunction | None, name: str, takes: list[str]) -> None:
    if function is None:
        return
    if not inspect.iscoroutinefunction(function) or len(inspect.signature(function).parameters) != len(takes):
        raise AgentInvalid(
            f"{name} is {function!r}, which is no such stage", hint=f"write `async def {name}({', '.join(takes)})`"
        )


def _hint(function: StageFunction | None, parameter: int | None, otherwise: Any) -> Any:
    """The annotation of a parameter (None: of what it returns)."""
    if function is None:
        return otherwise
    try:
        hints = get_type_hints(function)
    except (NameError, TypeError) as error:
        raise AgentInvalid(f"a stage has an annotation that cannot be read: {error}") from error
    name = "return" if parameter is None else list(inspect.signature(function).parameters)[parameter]
    found = hints.get(name, otherwise)
    return otherwise if found is Any else found


NO_STAGES = Stages()
