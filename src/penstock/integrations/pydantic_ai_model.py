"""The model of a pydantic-ai agent under the model gate."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from pydantic_ai import messages as library
from pydantic_ai.models import Model as LibraryModel
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings as LibrarySettings
from pydantic_ai.tools import ToolDefinition

from penstock.adapters.providers.adapter import ProviderModel
from penstock.adapters.providers.request import check_extra
from penstock.agents.run import Run
from penstock.events.messages import Message
from penstock.gates.model.gate import call_model, tools_digest
from penstock.gates.model.plan import ModelCall
from penstock.gates.run.scopes import Scopes
from penstock.integrations.pydantic_ai_messages import Transcript, with_particulars
from penstock.kernel.canonical import digest
from penstock.kernel.errors import GateMisused, RunFault
from penstock.ports.model import ModelRequest, ModelResponse, ModelSettings, Price, ToolSpec
from penstock.rules import budget, spiral

_OURS = ("max_tokens", "timeout", "max_retries", "tool_choice")
"""Settings that the gate sets for each call, or that may be asked for: not refused with those that go around it."""
_SPECS_KEPT = 4096
_NO_PRICE = Price(0.0, 0.0, source="simulated")


@dataclass(slots=True, frozen=True)
class ModelOptions:
    """How one agent's model is called. ``max_tokens`` is for agents whose own settings name none."""

    max_tokens: int = 1024
    timeout_seconds: float = 120.0
    attempts: int = 3
    hedge_after_seconds: float | None = None


class Tools:
    """The tools of requests in the gate's form, each made once: the bound of a prompt knows them by identity."""

    def __init__(self) -> None:
        self._specs: dict[tuple[str, int], tuple[ToolDefinition, ToolSpec]] = {}
        self._digests: dict[tuple[Any, ...], str] = {}

    def specs(self, parameters: ModelRequestParameters) -> list[ToolSpec]:
        """Everything that is sent beside the messages, and paid for."""
        found = [self._spec(tool) for tool in (*parameters.function_tools, *parameters.output_tools)]
        wanted = parameters.output_object
        if wanted is not None:
            words = f"{wanted.description or ''}{parameters.prompted_output_template or ''}"
            found.append(ToolSpec(wanted.name or "output", words, wanted.json_schema))
        return found

    def digest(self, specs: Sequence[ToolSpec], parameters: ModelRequestParameters, settings: dict[str, Any]) -> str:
        """Of what is offered and how: a part of the call's identity."""
        mode = (parameters.output_mode, parameters.allow_text_output)
        asked = digest(sorted((name, repr(value)) for name, value in settings.items())) if settings else ""
        key = (*map(id, specs), *mode, asked)
        known = self._digests.get(key) if parameters.output_object is None else None
        if known is None:
            if len(self._digests) >= _SPECS_KEPT:
                self._digests.clear()
            known = self._digests[key] = digest([tools_digest(specs, None), *mode, asked])
        return known

    def _spec(self, tool: ToolDefinition) -> ToolSpec:
        key = (tool.name, id(tool.parameters_json_schema))
        known = self._specs.get(key)
        if known is not None and known[0].description == tool.description:
            return known[1]
        if len(self._specs) >= _SPECS_KEPT:
            self._specs.clear()
            self._digests.clear()
        spec = ToolSpec(tool.name, tool.description or "", tool.parameters_json_schema, bool(tool.strict))
        self._specs[key] = tool, spec
        return spec


class Session:
    """What one run's model and tools share: its scopes, its transcript, and where its steps are."""

    def __init__(self, run: Run, scopes: Scopes) -> None:
        self.run = run
        self.scopes = scopes
        self.transcript = Transcript()
        self.is_last = False
        """The budget ends with the latest answer: it must be used as it is."""
        self._serial = 0
        self._calls: dict[str, str] = {}

    def check_goes_on(self) -> None:
        """Whether the model may be asked again.

        Raises:
            RunFault: the latest answer was the last that the budget allows.
        """
        if not self.is_last:
            return
        facts = self.run.context.facts
        limit, _, _ = budget.dominant_limit(facts)
        code = "spiral" if spiral.level(facts) == spiral.LAST else f"over_{limit}"
        words = "the budget's last answer did not end the agent's work"
        raise RunFault("exhausted", code, words, needed=["more room, or an agent that answers when it is told to"])

    def next_scope(self) -> str:
        """The name of the next model call's scope."""
        self.scopes.expect(set())
        self._serial += 1
        return str(self._serial)

    def take_calls(self, response: library.ModelResponse, tools: set[str]) -> None:
        """Give the tool calls of an answer their scopes, in their order."""
        for call in response.tool_calls:
            self._serial += 1
            self._calls[call.tool_call_id] = str(self._serial)
        self.scopes.expect({self._calls[call.tool_call_id] for call in response.tool_calls if call.tool_name in tools})

    def scope_of(self, call_id: str | None) -> str:
        """The scope of a tool call.

        Raises:
            GateMisused: no answer of the model asked for it.
        """
        scope = self._calls.get(call_id or "")
        if scope is None:
            raise GateMisused(f"a tool was called that the model did not ask for: {call_id!r}")
        return scope


class GatedModel(WrapperModel):
    """A model for one run of a pydantic-ai agent: every request is a call at the gate."""

    def __init__(self, provider: ProviderModel, session: Session, tools: Tools, options: ModelOptions) -> None:
        super().__init__(provider.library)
        self._behind = provider
        self._session = session
        self._tools = tools
        self._options = options

    async def request(
        self,
        messages: list[library.ModelMessage],
        model_settings: LibrarySettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> library.ModelResponse:
        """One step through the gate.

        Raises:
            CallDenied: a rule denied it.
            ModelFailed: all attempts failed.
            GateMisused: it asks for what would go past the gates.
            RunFault: the budget's last answer did not end the agent's work; the run is exhausted.
        """
        session, parameters = self._session, model_request_parameters
        session.check_goes_on()
        if parameters.native_tools:
            names = ", ".join(sorted(tool.kind for tool in parameters.native_tools))
            raise GateMisused(
                f"the agent offers its provider's own tools ({names}), which no tool gate sees",
                hint="offer a tool of your own that does the same",
            )
        asked: dict[str, Any] = dict(model_settings or {})
        if problem := check_extra({name: value for name, value in asked.items() if name not in _OURS}):
            raise GateMisused(problem, hint="take it out of the agent's model_settings")
        session.transcript.take(messages, _instructions(messages, parameters))
        specs = self._tools.specs(parameters)
        settings = ModelSettings(
            int(asked.get("max_tokens") or self._options.max_tokens),
            asked.get("temperature"),
            asked.get("seed"),
            self._timeout(asked.get("timeout")),
        )
        passed = _Passed(self._behind, session.transcript, cast("LibrarySettings", asked), parameters)
        call = ModelCall(
            passed,
            session.transcript.conversation,
            specs,
            self._tools.digest(specs, parameters, asked),
            settings=settings,
            attempts=self._options.attempts,
            hedge_after=self._options.hedge_after_seconds,
        )
        turn = await session.scopes.call(session.next_scope(), lambda: call_model(session.run.context, call))
        response = session.transcript.answered(turn)
        session.is_last = turn.last
        session.take_calls(response, {tool.name for tool in parameters.function_tools})
        if turn.message.text:
            session.run.keep_partial(turn.message.text)
        return response

    def _timeout(self, asked: Any) -> float:
        return float(asked) if isinstance(asked, int | float) and asked > 0 else self._options.timeout_seconds

    def request_stream(self, *_: Any, **__: Any) -> Any:
        """Refused.

        Raises:
            GateMisused: always.
        """
        raise GateMisused(
            "a run under the gates does not stream: an agent never sees a part of an answer",
            hint="use no event_stream_handler and no run_stream; watch the run with `penstock runs tail`",
        )

    async def count_tokens(self, *_: Any, **__: Any) -> Any:
        """Refused: it would be a call past the gate.

        Raises:
            GateMisused: always.
        """
        raise GateMisused("count_tokens would call the provider past the gate", hint="set the budget's tokens instead")

    async def compact_messages(self, *_: Any, **__: Any) -> Any:
        """Refused: it would be a call past the gate.

        Raises:
            GateMisused: always.
        """
        raise GateMisused("compact_messages would call the provider past the gate")


class _Passed:
    """One request of the framework's as the gate's model: what is sent are the framework's own messages."""

    def __init__(
        self,
        provider: ProviderModel,
        transcript: Transcript,
        settings: LibrarySettings,
        parameters: ModelRequestParameters,
    ) -> None:
        self._provider = provider
        self._transcript = transcript
        self._settings = settings
        self._parameters = parameters

    @property
    def name(self) -> str:
        return self._provider.name

    @property
    def simulated(self) -> bool:
        return self._provider.simulated

    def price(self) -> Price | None:
        """Test doubles cost nothing where no price is set."""
        found = self._provider.price()
        return _NO_PRICE if found is None and self.simulated else found

    def prompt_bound(self, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> int:
        return self._provider.prompt_bound(messages, tools)

    async def request(self, request: ModelRequest) -> ModelResponse:
        settings: dict[str, Any] = {**self._settings, "max_tokens": request.settings.max_tokens}
        parameters = self._parameters
        if request.tool_choice == "none":
            settings["tool_choice"] = "none"
            if parameters.output_tools:
                parameters = replace(parameters, allow_text_output=False)
        answer, response = await self._provider.pass_on(
            self._transcript.sent(request.messages),
            cast("LibrarySettings", settings),
            parameters,
            timeout_seconds=request.settings.timeout_seconds,
        )
        return replace(answer, message=with_particulars(answer.message, response))

    def stream(self, request: ModelRequest) -> AsyncGenerator[str | ModelResponse, None]:
        raise GateMisused("a run under the gates does not stream")


def _instructions(messages: Sequence[library.ModelMessage], parameters: ModelRequestParameters) -> str:
    """The instructions as this request sends them."""
    if parameters.instruction_parts:
        return "\n\n".join(part.content for part in parameters.instruction_parts)
    last = next((message for message in reversed(messages) if isinstance(message, library.ModelRequest)), None)
    return (last.instructions or "") if last is not None else ""


def is_library_model(model: object) -> bool:
    """Whether it is a model object of the library's."""
    return isinstance(model, LibraryModel)
