"""pydantic-ai agents under the gates: `govern` makes a Penstock agent of one, as it is written.

Its model calls go through the model gate, its tool calls through the tool gate; everything between them (its loop, its
instructions, its validators, its output functions) is the agent's code, which a recovery runs again against the tape.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Union, get_type_hints

from pydantic_ai import Agent as LibraryAgent
from pydantic_ai import exceptions as library_errors
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.models import Model as LibraryModel
from pydantic_ai.output import NativeOutput, PromptedOutput, TextOutput, ToolOutput
from pydantic_ai.toolsets import AbstractToolset
from pydantic_ai.usage import UsageLimits
from pydantic_core import to_jsonable_python

from penstock.adapters.providers import model_by_name, model_from
from penstock.adapters.providers.adapter import ProviderModel
from penstock.agents.budget import Budget
from penstock.agents.definition import Definition
from penstock.agents.loop import as_text
from penstock.agents.run import Run
from penstock.agents.stages import StageFunction, Stages
from penstock.gates.run.scopes import Scopes, host
from penstock.integrations.pydantic_ai_model import GatedModel, ModelOptions, Session, Tools
from penstock.integrations.pydantic_ai_release import release_parts
from penstock.integrations.pydantic_ai_tools import Effects, GatedToolset, function_tools, tool_context
from penstock.integrations.tool_effects import ToolEffect
from penstock.kernel.errors import AgentInvalid, OutputInvalid
from penstock.rules.filters.filters import Filters
from penstock.rules.spirals import DEFAULT, Spirals

__all__ = ["GovernedAgent", "ToolEffect", "govern", "tool_context"]

_NO_LIMITS = UsageLimits(request_limit=None)  # the run's budget is the limit


class GovernedAgent(Definition):
    """A pydantic-ai agent as a Penstock agent; made by `govern`."""

    def __init__(
        self,
        agent: LibraryAgent[Any, Any],
        name: str,
        *,
        budget: Budget | None,
        effects: Effects,
        options: ModelOptions,
        model: LibraryModel | str,
        types: tuple[Any, Any],
        prompt: Callable[[Any], str],
        deps: Callable[[Run, Any], Any] | None,
        version: str,
        stages: Stages,
        spirals: Spirals | None,
        filters: Filters | None,
    ) -> None:
        self.agent = agent
        self.model = model
        self.effects = effects
        self.options = options
        self._prompt = prompt
        self._deps = deps
        self._tools = Tools()
        self._provider = model_from(model) if not isinstance(model, str) else None
        parts = release_parts(agent, self._provider.name if self._provider else str(model), effects, options, deps)
        super().__init__(name, budget, *types, [*parts, version], stages, spirals, filters=filters)

    async def invoke(self, run: Any, value: Any) -> Any:
        """Run the agent's loop: `pydantic_ai.Agent.run`, with its model and tools behind the gates.

        Raises:
            OutputInvalid: the model gave no acceptable answer within the agent's own retries.
        """
        return await host(run.context, lambda scopes: self._work(run, value, scopes))

    async def _work(self, run: Run, value: Any, scopes: Scopes) -> Any:
        session = Session(run, scopes)
        model = GatedModel(self._provider_for(run), session, self._tools, self.options)
        deps = self._deps(run, value) if self._deps is not None else None
        try:
            result = await self.agent.run(
                self._prompt(value),
                deps=deps,
                model=model,
                usage_limits=_NO_LIMITS,
                capabilities=[_Gates(session, self.effects)],
                infer_name=False,
            )
        except library_errors.UnexpectedModelBehavior as error:
            raise OutputInvalid(f"{self.name}: {error.message}") from error
        return result.output

    def _provider_for(self, run: Run) -> ProviderModel:
        if self._provider is not None:
            return self._provider
        found = run.model(str(self.model))
        # A replay knows models by name alone, but this library's loop asks its model how it likes to be asked.
        return found if isinstance(found, ProviderModel) else model_by_name(str(self.model))


class _Gates(AbstractCapability[Any]):
    """Puts the agent's tools behind the gate, and what the framework takes from clock and randomness on the tape."""

    def __init__(self, session: Session, effects: Effects) -> None:
        self._session = session
        self._effects = effects

    def get_wrapper_toolset(self, toolset: AbstractToolset[Any]) -> AbstractToolset[Any]:
        return GatedToolset(toolset, self._session, self._effects)

    def get_default_run_id(self) -> str:
        return str(self._session.run.id)

    def get_default_conversation_id(self, run_id: str) -> str:
        return run_id

    def get_run_clock(self) -> Callable[[], datetime]:
        return self._session.run.now


def govern(
    agent: LibraryAgent[Any, Any],
    *,
    name: str,
    budget: Budget | None = None,
    effects: Mapping[str, ToolEffect] | None = None,
    model: LibraryModel | str | None = None,
    input: Any = str,  # noqa: A002 - the word for it everywhere else
    output: Any = None,
    prompt: Callable[[Any], str] | None = None,
    deps: Callable[[Run, Any], Any] | None = None,
    max_tokens: int = 1024,
    timeout_seconds: float = 120.0,
    attempts: int = 3,
    hedge_after_seconds: float | None = None,
    version: str = "",
    prepare: StageFunction | None = None,
    consequence: StageFunction | None = None,
    compensate: StageFunction | None = None,
    revisions: int = 1,
    spirals: Spirals | None = DEFAULT,
    filters: Filters | None = None,
) -> GovernedAgent:
    """A Penstock agent of a pydantic-ai agent, which stays as it is and may go on being used without.

    Args:
        agent: with its own instructions, tools, output type, validators and retries.
        name: lower case, unique in the application.
        budget: limits of one run; they stand in for the agent's ``UsageLimits``.
        effects: what its tools do to the world, by tool name. A tool that is not named here is taken for a write that
            a person approves first, and that is never repeated when it is in doubt.
        model: instead of the agent's own. A name (``provider:model``) is called with one wire call per request.
        input: the type of a run's input.
        output: the type of its output; default: what the agent's ``output_type`` says, as far as it is a type.
        prompt: the user's prompt from the input; default: the input, as JSON when it is no text.
        deps: makes the agent's dependencies from the run and its input, each time its code is run: also in a replay.
            What a tool changes in them is lost there, because the tool is not run again.
        max_tokens: most output tokens of one answer, where the agent's ``model_settings`` name none.
        timeout_seconds: of one model call, likewise.
        attempts: tries of one model call, on transient failures.
        hedge_after_seconds: after so long without an answer the model is asked a second time.
        version: set it when the behaviour of the agent's code changes in what it calls: the release pins the text of
            instructions, tools and validators, not of what they use.
        prepare, consequence, compensate, revisions: stages around it, as for `penstock.Agent`.
        spirals, filters: when to step in as a run goes round in circles, None = never; as for `penstock.Agent`.

    Raises:
        AgentInvalid: it has no model, streams, or an effect names no tool of its.
        ToolInvalid: an effect contradicts itself.
        ProviderInvalid: its model would make more than one wire call per request, or its settings go past the gates.
    """
    if (used := agent.model if model is None else model) is None:
        raise AgentInvalid(f"the agent {name} has no model", hint="pass model=… to it or to govern")
    options = ModelOptions(max_tokens, timeout_seconds, attempts, hedge_after_seconds)
    _check(agent, name, effects or {}, options)
    return GovernedAgent(
        agent,
        name,
        budget=budget,
        effects=Effects(effects or {}),
        options=options,
        model=used,
        types=(input, _output_type(agent.output_type) if output is None else output),
        prompt=prompt or _prompt,
        deps=deps,
        version=version,
        stages=Stages(prepare, consequence, compensate, revisions),
        spirals=spirals,
        filters=filters,
    )


def _prompt(value: Any) -> str:
    return as_text(to_jsonable_python(value))


def _check(agent: LibraryAgent[Any, Any], name: str, effects: Mapping[str, ToolEffect], options: ModelOptions) -> None:
    """An effect of a tool that there is not is a slip of the pen, and its tool would run as an undeclared one."""
    if agent.event_stream_handler is not None:
        raise AgentInvalid(
            f"the agent {name} has an event_stream_handler, and runs under the gates do not stream",
            hint="watch a run with `penstock runs tail`, or with platform.follow",
        )
    hedge = options.hedge_after_seconds
    if hedge is not None and not 0 < hedge < options.timeout_seconds:
        raise AgentInvalid(f"hedge_after_seconds of {name} is {hedge!r}; 0 < it < timeout_seconds")
    known: dict[str, Any] = {}
    for toolset in agent.toolsets:
        found = function_tools(toolset)
        if not found:
            return  # a toolset that makes its tools when it is run
        known.update(found)
    if unknown := sorted(set(effects) - set(known)):
        raise AgentInvalid(f"{name} has no tool {', '.join(unknown)}; it has {', '.join(sorted(known)) or 'none'}")


def _output_type(spec: Any) -> Any:
    """The type of what the agent gives, where its specification is one; otherwise Any."""
    if isinstance(spec, list | tuple):
        types = [_output_type(one) for one in spec]
        return Union[tuple(types)] if Any not in types else Any  # noqa: UP007 - made at run time
    if isinstance(spec, ToolOutput):
        return _output_type(spec.output)
    if isinstance(spec, NativeOutput | PromptedOutput):
        return _output_type(spec.outputs)
    function = spec.output_function if isinstance(spec, TextOutput) else spec
    if isinstance(function, type) or not callable(function):
        return function
    if hasattr(function, "__origin__"):
        return function
    try:
        return get_type_hints(function).get("return", Any)
    except (NameError, TypeError):
        return Any
