"""`Agent`: instructions, a model, tools and a budget, run by the standard loop."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from penstock.agents.budget import Budget
from penstock.agents.caching import checked_cache, release_part
from penstock.agents.definition import Definition
from penstock.agents.degrade import Fallback
from penstock.agents.hybrid import Responder, answer_first
from penstock.agents.loop import as_text, standard_loop
from penstock.agents.memory import SessionMemory, remember
from penstock.agents.stages import StageFunction, Stages
from penstock.agents.tool import Tool
from penstock.gates.model.gate import tools_digest
from penstock.kernel.canonical import digest
from penstock.kernel.errors import AgentInvalid, OutputInvalid
from penstock.ports.cache import Cache
from penstock.ports.model import Model, ModelSettings, ToolSpec
from penstock.rules.filters.filters import Filters
from penstock.rules.spirals import DEFAULT, Spirals

LOOP_VERSION = "1"  # a change of the loop that changes what it asks of the gates makes new releases
OUTPUT_TOOL = "final_answer"
ESCALATE_TOOL = "escalate"


class AgentTool:
    """An agent offered to another agent's model as a tool; each call is a child run."""

    def __init__(self, agent: Definition, name: str, description: str, budget: Budget | None) -> None:
        self.agent = agent
        self.budget = budget.record() if budget else agent.budget
        schema = agent._input.json_schema()
        self.spec = ToolSpec(
            name,
            description,
            {
                "type": "object",
                "properties": {"input": {**schema, "description": "what the agent is to work on"}},
                "required": ["input"],
                "additionalProperties": False,
            },
        )

    @property
    def name(self) -> str:
        return self.spec.name


class Agent(Definition):
    """An agent that calls a model, runs the tools it asks for, and repeats until it answers.

    Args:
        name: lower case, unique in the application.
        model: ``provider:model`` (any pydantic-ai model name) or a model object. Of several, each is asked when all
            attempts at the one before have failed; the conversation then stays with the one that answered.
        instructions: the system prompt, or the path of the file that holds it.
        tools: `@tool` functions, and other agents as ``agent.as_tool()``.
        output: the type of the answer, checked and repaired a bounded number of times; None = text.
        budget: limits of one run.
        max_tokens: most output tokens of one answer.
        temperature: None = the provider's default.
        timeout_seconds: of one model call.
        attempts: tries of one model call at each model, on transient failures.
        hedge_after_seconds: after so long without an answer the model is asked a second time, and the first answer
            counts. Both are paid for.
        repairs: how often an answer that does not fit ``output`` is sent back.
        show_budget: tell the model after each step what remains.
        can_escalate: offer the model a way to say that it is not confident; the run then ends as ``escalated``. With
            ``"wait"`` it waits instead, and a person's answer is the result of the call.
        fallback: what stands in for it when it fails: another agent, run as a child; a text, or a `Template`; a
            `Person`; several, tried in that order; or a mapping of these by how it failed (see
            `penstock.agents.degrade.FailureClass`). The run then succeeds with the code ``fallback`` and the failure as
            its reason.
        extra: settings handed to the provider as they are.
        prepare: a stage before the loop: ``async def (run, value) -> prepared``. What it is annotated to take is the
            agent's input; what it gives is the user message, as JSON when it is no text.
        consequence: a stage after the loop: ``async def (run, prepared, result) -> result``.
        compensate: a stage for when the loop or ``consequence`` failed after writes:
            ``async def (run, prepared, failed: Failed) -> None``.
        revisions: how often ``consequence`` may send the answer back to the model.
        memory: "session" (or a `SessionMemory` with other bounds): the model is shown the last turns of the session and
            a summary of older ones, and a run that succeeds adds its own. Runs of this agent must name a session.
        responder: an agent with a budget of its own (or a `Responder` with a time of its own) that answers the same
            input first. Its answer is provisional: it is confirmed or replaced by this agent's.
        spirals: when to step in as a run goes round in circles; None = never.
        filters: what is looked for in what the model and tools say and tools are given; None = the setting's.
        cache: answers of the model may be given again to exactly the same request; to whom and for how long.
        prompt_cache: ask the provider to keep the unchanging part of the prompt in its own cache, where that has to be
            asked for (Anthropic). Writing to it costs more than reading a prompt, reading from it much less.

    Raises:
        AgentInvalid: contradictions, such as two tools of one name.
    """

    def __init__(
        self,
        name: str,
        *,
        model: str | Model | Sequence[str | Model],
        instructions: str | Path,
        tools: Sequence[Tool[..., Any] | AgentTool] = (),
        output: Any = None,
        budget: Budget | None = None,
        max_tokens: int = 1024,
        temperature: float | None = None,
        timeout_seconds: float = 120.0,
        attempts: int = 3,
        hedge_after_seconds: float | None = None,
        repairs: int = 2,
        show_budget: bool = True,
        can_escalate: bool | Literal["wait"] = False,
        fallback: Fallback = None,
        extra: dict[str, Any] | None = None,
        prepare: StageFunction | None = None,
        consequence: StageFunction | None = None,
        compensate: StageFunction | None = None,
        revisions: int = 1,
        memory: Literal["session"] | SessionMemory | None = None,
        responder: Definition | Responder | None = None,
        spirals: Spirals | None = DEFAULT,
        filters: Filters | None = None,
        cache: Cache | None = None,
        prompt_cache: bool = False,
    ) -> None:
        self.model, self.fallback_models = _in_order(name, model)
        self.memory = _memory(name, memory)
        self.responder = Responder(responder) if isinstance(responder, Definition) else responder
        self.instructions = _text(name, instructions)
        self.tools: dict[str, Tool[..., Any] | AgentTool] = _by_name(name, tools)
        self.settings = ModelSettings(max_tokens, temperature, None, timeout_seconds, extra or {}, prompt_cache)
        self.cache = checked_cache(name, cache, temperature)
        if hedge_after_seconds is not None and not 0 < hedge_after_seconds < timeout_seconds:
            raise AgentInvalid(f"hedge_after_seconds of {name} is {hedge_after_seconds!r}; 0 < it < timeout_seconds")
        self.attempts = attempts
        self.hedge_after_seconds = hedge_after_seconds
        self.repairs = repairs
        self.show_budget = show_budget
        self.can_escalate = can_escalate
        self.output_adapter: TypeAdapter[Any] | None = None if output in (None, str) else TypeAdapter(output)
        self.output_tool = _output_tool(name, self.output_adapter)
        self.specs = [tool.definition.spec if isinstance(tool, Tool) else tool.spec for tool in self.tools.values()]
        if can_escalate:
            self.specs.append(_escalate_spec(waits=can_escalate == "wait"))
        self.tools_digest = tools_digest(self.specs, self.output_tool)
        self._output_type = output or str
        self._taken = Any if prepare is not None else str
        stages = Stages(prepare, consequence, compensate, revisions)
        super().__init__(name, budget, self._taken, self._output_type, self._parts(), stages, spirals, filters=filters)
        self.fallback = fallback
        self.fall_back_to(fallback, is_text=self.output_adapter is None)

    def _parts(self) -> list[str]:
        models = [model if isinstance(model, str) else model.name for model in (self.model, *self.fallback_models)]
        tools = [
            tool.definition.digest if isinstance(tool, Tool) else tool.agent.release for tool in self.tools.values()
        ]
        settings = [self.settings.max_tokens, self.settings.temperature, self.settings.extra, self.repairs]
        memory = [self.memory.part] if self.memory is not None else []  # agents without keep their releases
        first = self.responder
        responder = [f"responder: {first.agent.release}, {first.seconds:g} s"] if first is not None else []
        return [
            LOOP_VERSION,
            *models,
            self.instructions,
            *tools,
            self.tools_digest,
            digest([*settings, self.show_budget]),
            *memory,
            *responder,
            *([release_part(self.cache)] if self.cache is not None else []),
            *(["prompt cache"] if self.settings.prompt_cache else []),
        ]

    async def perform(self, run: Any, value: Any) -> Any:
        result = await super().perform(run, value)
        if self.memory is not None:
            await remember(run, self.memory, run.heard or "", result)
        return result

    async def invoke(self, run: Any, value: Any) -> Any:
        run.heard = as_text(value)
        work = standard_loop(run, self, run.heard)
        return await (work if self.responder is None else answer_first(run, self, self.responder, value, work))

    def parse_output(self, text: str) -> Any:
        """The typed answer of JSON text, or the text itself when no type was declared.

        Raises:
            ValueError: it does not fit; the words are for the model.
        """
        if self.output_adapter is None:
            if not text.strip():
                raise ValueError("the answer was empty")
            self._check_storable(text)
            return text
        try:
            value = self.output_adapter.validate_json(_bare_json(text))
        except ValidationError as error:
            lines = [
                f"{'.'.join(str(place) for place in item['loc']) or 'answer'}: {item['msg']}"
                for item in error.errors(include_url=False, include_input=False)[:5]
            ]
            raise ValueError("; ".join(lines)) from error
        self._check_storable(value)
        return value

    def with_model(self, model: str | Model | Sequence[str | Model]) -> "Agent":
        """The same agent on another model; a release of its own."""
        changed = copy.copy(self)
        changed.model, changed.fallback_models = _in_order(self.name, model)
        Definition.__init__(
            changed,
            self.name,
            self.limits,
            self._taken,
            self._output_type,
            changed._parts(),
            self.stages,
            self.spirals,
            filters=self.filters,
        )
        changed.fall_back_to(self.fallback, is_text=self.output_adapter is None)
        return changed

    def _check_storable(self, value: Any) -> None:
        try:
            self.plain_answer(value)
        except OutputInvalid as error:
            raise ValueError(error.what) from error

    def as_tool(self, *, name: str | None = None, description: str = "", budget: Budget | None = None) -> AgentTool:
        """This agent as a tool of another agent's model."""
        words = description or f"Delegate to the agent {self.name}."
        return AgentTool(self, name or self.name.replace("-", "_").replace(".", "_"), words, budget)


def _in_order(agent: str, model: str | Model | Sequence[str | Model]) -> tuple[str | Model, tuple[str | Model, ...]]:
    """The first model, and the others."""
    if isinstance(model, str) or not isinstance(model, Sequence):
        return model, ()
    if not model:
        raise AgentInvalid(f"{agent} has no model", hint="name at least one")
    names = [one if isinstance(one, str) else one.name for one in model]
    if len(set(names)) < len(names):
        raise AgentInvalid(f"{agent} names a model twice", hint="attempts=… says how often one model is tried")
    first, *others = model
    return first, tuple(others)


def _memory(agent: str, memory: object) -> SessionMemory | None:
    if memory == "session":
        return SessionMemory()
    if memory is not None and not isinstance(memory, SessionMemory):
        raise AgentInvalid(f"the memory of {agent} is {memory!r}", hint='write memory="session", or a SessionMemory')
    return memory


def _text(name: str, instructions: str | Path) -> str:
    if isinstance(instructions, str):
        return instructions
    try:
        return instructions.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise AgentInvalid(f"the instructions of {name} cannot be read: {error}") from error


def _by_name(agent: str, tools: Sequence[Tool[..., Any] | AgentTool]) -> dict[str, Tool[..., Any] | AgentTool]:
    found: dict[str, Tool[..., Any] | AgentTool] = {}
    for tool in tools:
        if not isinstance(tool, Tool | AgentTool):
            raise AgentInvalid(f"{tool!r} in the tools of {agent} is no tool", hint="decorate the function with @tool")
        if tool.name in found or tool.name in (OUTPUT_TOOL, ESCALATE_TOOL):
            raise AgentInvalid(f"{agent} has two tools named {tool.name}, or the name is reserved")
        found[tool.name] = tool
    return found


def _output_tool(agent: str, adapter: TypeAdapter[Any] | None) -> ToolSpec | None:
    if adapter is None:
        return None
    schema = adapter.json_schema()
    if schema.get("type") != "object":
        raise AgentInvalid(f"the output of {agent} is not an object", hint="wrap it in a pydantic model")
    return ToolSpec(OUTPUT_TOOL, "Give the final answer. Ends the task.", schema)


def _escalate_spec(*, waits: bool) -> ToolSpec:
    why = "because you are not confident, or may not do what it needs."
    ends = f"Hand this case to a person {why} Ends the task."
    return ToolSpec(
        ESCALATE_TOOL,
        f"Ask a person {why} Their answer is the result." if waits else ends,
        {
            "type": "object",
            "properties": {"reason": {"type": "string", "description": "why, in one sentence"}},
            "required": ["reason"],
            "additionalProperties": False,
        },
    )


def _bare_json(text: str) -> str:
    """JSON text without the code fence that models like to put around it."""
    stripped = text.strip()
    if stripped.startswith("```"):
        stripped = stripped.removeprefix("```json").removeprefix("```").removesuffix("```")
    return stripped
