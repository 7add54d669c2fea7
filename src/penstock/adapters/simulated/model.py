"""`SimulatedModel`: a support agent's model without a model, for trying Penstock offline.

Everything it says is made up by rule, and labelled so.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Literal

from penstock.adapters.embeddings import WordLlamaEmbedder
from penstock.adapters.simulated import tokens
from penstock.adapters.simulated.conversation import Conversation, read_conversation
from penstock.adapters.simulated.examples import NearestExamples
from penstock.adapters.simulated.moves import Move, Scene, next_move
from penstock.adapters.simulated.persona import Habits, Persona, draw_persona
from penstock.events import Amount
from penstock.events.messages import Message, Part, Text, ToolCall
from penstock.kernel.clock import Clock, SystemClock
from penstock.ports.model import ModelRequest, ModelResponse, Price, ToolSpec

NAME = "simulated:support-desk"
SPIRAL_MARK = "simulated_spiral"  # in a text's bag: the round of the spiral it belongs to, so that measuring can tell

# OpenAI's list price of GPT-4o: 2.50 and 10.00 dollars per million tokens (a test compares it with genai-prices).
PRICE = Price(input=2500.0, output=10_000.0, source="simulated; priced like openai:gpt-4o")

Finish = Literal["stop", "length", "tool_calls"]


class SimulatedModel:
    """A model that behaves like a support agent, at set rates like a bad one.

    It keeps no state between calls: an answer depends on ``seed``, ``habits`` and the conversation alone, so the same
    seed and question give the same behaviour on every worker until somebody intervenes. It routes the question by its
    nearest labelled examples, looks things up, makes the write the case calls for, replies and answers.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        spiral_rate: float | None = None,
        habits: Habits | None = None,
        latency_seconds: float = 0.0,
        clock: Clock | None = None,
        examples: NearestExamples | None = None,
    ) -> None:
        """``spiral_rate`` replaces the one in ``habits``. ``latency_seconds`` is waited before each answer.
        ``examples`` may be shared by several models: loading them takes most of a second.

        Raises:
            UsageError: a rate outside [0, 1].
        """
        base = habits or Habits()
        self.seed = seed
        self.habits = base if spiral_rate is None else _with_spirals(base, spiral_rate)
        self._latency = latency_seconds
        self._clock: Clock = clock or SystemClock()
        self._examples = examples or NearestExamples(WordLlamaEmbedder())
        self._personas: dict[str, Persona] = {}

    @property
    def name(self) -> str:
        return NAME

    @property
    def simulated(self) -> bool:
        return True

    def price(self) -> Price:
        """What GPT-4o costs; the source says that it is only pretended."""
        return PRICE

    def prompt_bound(self, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> int:
        """Exactly what `request` will count."""
        return tokens.of_prompt(messages, tools)

    def persona(self, question: str) -> Persona:
        """How the model will behave on a question."""
        persona = self._personas.get(question)
        if persona is None:
            if len(self._personas) >= 65_536:
                self._personas.clear()
            persona = self._personas[question] = draw_persona(self.seed, question, self.habits)
        return persona

    async def request(self, request: ModelRequest) -> ModelResponse:
        """Answer. Never fails; text beyond ``max_tokens`` is cut and the finish is ``length``."""
        if not self._examples.ready:
            await asyncio.to_thread(self._examples.load)
        if self._latency > 0:
            await self._clock.sleep(self._latency)
        return self._respond(request)

    async def stream(self, request: ModelRequest) -> AsyncGenerator[str | ModelResponse, None]:
        """The same, word by word, the whole answer last."""
        response = await self.request(request)
        for word in response.message.text.split(" "):
            yield word + " "
        yield response

    def _respond(self, request: ModelRequest) -> ModelResponse:
        talk = read_conversation(request.messages)
        scene = Scene(
            self.seed,
            self.habits,
            self.persona(talk.question),
            self._examples.classify(talk.question),
            talk,
            frozenset(tool.name for tool in request.tools),
        )
        must_answer = request.tool_choice == "none" or (request.tool_choice == "required" and bool(request.output_tool))
        move = next_move(scene, must_answer=must_answer)
        message, finish = self._written(request, talk, move)
        message, was_cut = tokens.cut(message, request.settings.max_tokens)
        output = request.output_tool
        sent = [*request.tools, output] if output is not None and output not in request.tools else request.tools
        used = Amount(
            tokens_in=tokens.of_prompt(request.messages, sent),
            tokens_out=sum(map(tokens.of_part, message.parts)),
        )
        return ModelResponse(message, used, "length" if was_cut else finish, self._id(talk))

    def _written(self, request: ModelRequest, talk: Conversation, move: Move) -> tuple[Message, Finish]:
        """A move as the provider's message."""
        if move.answer is None:
            specs = {tool.name: tool for tool in request.tools}
            calls = [
                self._call(talk, number, call.name, _fitted(specs.get(call.name), call.args), call.broken)
                for number, call in enumerate(move.calls)
            ]
            bag = {SPIRAL_MARK: move.spiral} if move.spiral else {}
            return Message("assistant", [Text(move.text, bag), *calls]), "tool_calls"
        if request.output_tool is None:
            return Message("assistant", [Text(str(move.answer["reply"]))]), "stop"
        answer = _fitted(request.output_tool, move.answer)
        if request.tool_choice == "none":
            return Message("assistant", [Text(tokens.as_json(answer))]), "stop"
        part: Part = self._call(talk, 0, request.output_tool.name, answer, broken=False)
        return Message("assistant", [part]), "tool_calls"

    def _call(self, talk: Conversation, number: int, name: str, args: dict[str, Any], broken: bool) -> ToolCall:
        text = tokens.as_json(args)
        return ToolCall(f"{self._id(talk)}_{number}", name, text[: max(1, len(text) * 2 // 3)] if broken else text)

    def _id(self, talk: Conversation) -> str:
        digest = hashlib.sha256(f"{self.seed}\x1f{talk.customer}\x1f{talk.question}".encode(errors="replace"))
        return f"sim_{digest.hexdigest()[:10]}_{talk.turn}"


def _with_spirals(habits: Habits, rate: float) -> Habits:
    values = {name: getattr(habits, name) for name in Habits.__slots__}
    return Habits(**{**values, "spiral": rate})


def _fitted(spec: ToolSpec | None, wanted: dict[str, Any]) -> dict[str, Any]:
    """The arguments a tool takes, as far as they are known; required ones that are not get an empty value of their
    type, as a model that knows no better would write."""
    if spec is None:
        return wanted
    properties = spec.schema.get("properties")
    if not isinstance(properties, Mapping):
        return wanted
    fitted = {name: value for name, value in wanted.items() if name in properties}
    for name in spec.schema.get("required", ()):
        if name not in fitted:
            fitted[name] = _empty(properties.get(name))
    return fitted


def _empty(schema: object) -> Any:
    if not isinstance(schema, Mapping):
        return ""
    options = schema.get("enum")
    if isinstance(options, list) and options:
        return options[0]
    return {"integer": 0, "number": 0.0, "boolean": False, "array": [], "object": {}, "null": None}.get(
        str(schema.get("type")), ""
    )
