"""`@agent`: a plain async function as an agent."""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, get_type_hints

from penstock.agents.budget import Budget
from penstock.agents.definition import Definition
from penstock.agents.degrade import Fallback
from penstock.agents.stages import NO_STAGES, StageFunction, Stages
from penstock.agents.tool import source_of
from penstock.kernel.errors import AgentInvalid
from penstock.rules.filters.filters import Filters
from penstock.rules.spirals import DEFAULT, Spirals

AgentFunction = Callable[..., Awaitable[Any]]


class FunctionAgent(Definition):
    """An agent whose code is a function ``async def f(run: Run, value) -> output``."""

    def __init__(
        self,
        function: AgentFunction,
        name: str,
        budget: Budget | None,
        version: str,
        stages: Stages = NO_STAGES,
        spirals: Spirals | None = DEFAULT,
        *,
        filters: Filters | None = None,
    ) -> None:
        parameters = list(inspect.signature(function).parameters.values())
        if not inspect.iscoroutinefunction(function) or len(parameters) != 2:
            raise AgentInvalid(
                f"{getattr(function, '__name__', function)!s} is not an agent function",
                hint="write `async def name(run: Run, value: YourInput) -> YourOutput`",
            )
        try:
            hints = get_type_hints(function)
        except (NameError, TypeError) as error:
            raise AgentInvalid(f"the agent {name} has an annotation that cannot be read: {error}") from error
        input_type = hints.get(parameters[1].name, Any)
        parts = [version or source_of(function)]
        super().__init__(name, budget, input_type, hints.get("return", Any), parts, stages, spirals, filters=filters)
        self.function = function
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__

    async def invoke(self, run: Any, value: Any) -> Any:
        return await self.function(run, value)


def agent(
    name: str,
    *,
    budget: Budget | None = None,
    version: str = "",
    prepare: StageFunction | None = None,
    consequence: StageFunction | None = None,
    compensate: StageFunction | None = None,
    revisions: int = 1,
    spirals: Spirals | None = DEFAULT,
    filters: Filters | None = None,
    fallback: Fallback = None,
) -> Callable[[AgentFunction], FunctionAgent]:
    """Declare a plain async function an agent.

    Args:
        name: lower case, unique in the application.
        budget: limits of one run.
        version: what pins running runs to this code; default: the function's own source text. Set it when the
            function's behaviour lives in code it calls.
        prepare: a stage before the function: ``async def (run, value) -> prepared``, which the function then takes.
        consequence: a stage after it: ``async def (run, prepared, result) -> result``.
        compensate: a stage for when it failed after writes: ``async def (run, prepared, failed: Failed) -> None``.
        revisions: how often ``consequence`` may send the result back; the function then finds why in `run.revision`.
        spirals: when to step in as a model that it asks goes round in circles; None = never.
        filters: what is looked for in what models and tools say and tools are given; None = the setting's.
        fallback: what stands in for its answer when it fails; see `Agent`.

    Raises:
        AgentInvalid: not an async function of two parameters, or a stage or fallback that is none.
    """
    stages = Stages(prepare, consequence, compensate, revisions)

    def declare(function: AgentFunction) -> FunctionAgent:
        made = FunctionAgent(function, name, budget, version, stages, spirals, filters=filters)
        made.fall_back_to(fallback, is_text=made.output_schema().get("type", "string") == "string")
        return made

    return declare
