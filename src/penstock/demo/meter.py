"""Counting at the wire: what each ticket really asked of the model and cost, whatever the mode says of itself."""

import re
from collections import Counter
from collections.abc import AsyncGenerator, Collection, Sequence
from dataclasses import dataclass, field

import msgspec

from penstock.adapters.simulated import SPIRAL_MARK
from penstock.adapters.simulated.conversation import BUDGET_LINE
from penstock.events import Amount
from penstock.events.messages import Message, Text, ToolResult
from penstock.ports.model import Model, ModelError, ModelRequest, ModelResponse, Price, ToolSpec

# The simulated model marks its spirals. Of another, a ticket is called one when the same call was asked this often, or
# this many model calls were made; tickets that go well take three to five and repeat nothing.
SPIRAL_REPEATS = 3
SPIRAL_CALLS = 10

_CUSTOMER = re.compile(r"Customer ([\w-]+) writes:")
_CATEGORY = re.compile(r"Category: ([\w?]+)")


@dataclass(slots=True)
class Reading:
    """One ticket's meter."""

    model_calls: int = 0
    tokens: int = 0
    nano: int = 0
    asked: Counter[tuple[str, str]] = field(default_factory=Counter)
    category: str = ""
    spiral_until: int = 0  # the last model call of a spiral, counted from 1
    interrupted: bool = False  # a note or a denial came after the spiral had begun

    @property
    def spiral(self) -> bool:
        return self.spiral_until > 0

    def asked_for(self, names: Collection[str]) -> int:
        """How many calls of these tools the model asked for."""
        return sum(count for (name, _), count in self.asked.items() if name in names)


class MeteredModel:
    """A model that notes what passes. The ticket is known by its customer, whom the first user message names."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.readings: dict[str, Reading] = {}

    @property
    def name(self) -> str:
        return self._model.name

    @property
    def simulated(self) -> bool:
        return self._model.simulated

    def price(self) -> Price | None:
        """The price of the model behind."""
        return self._model.price()

    def prompt_bound(self, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> int:
        """The bound of the model behind."""
        return self._model.prompt_bound(messages, tools)

    async def request(self, request: ModelRequest) -> ModelResponse:
        """Pass the call on and note what came of it.

        Raises:
            ModelError: as the model behind.
        """
        reading = self.readings.setdefault(_customer(request.messages), Reading())
        reading.model_calls += 1
        reading.interrupted = reading.interrupted or (reading.spiral and _interrupted(request.messages))
        try:
            response = await self._model.request(request)
        except ModelError as error:
            if error.billed is not False:
                self._charge(reading, None, request)
            raise
        self._charge(reading, response.used, request)
        self._note(reading, response.message)
        return response

    async def stream(self, request: ModelRequest) -> AsyncGenerator[str | ModelResponse, None]:
        """The whole answer at once: the demo watches nothing word by word."""
        yield await self.request(request)

    def _charge(self, reading: Reading, used: Amount | None, request: ModelRequest) -> None:
        """Add a call; one whose use is not known is charged its maximum."""
        if used is None:
            used = Amount(self.prompt_bound(request.messages, request.tools), request.settings.max_tokens)
        price = self.price()
        reading.tokens += used.tokens
        reading.nano += price.of(used) if price else 0

    def _note(self, reading: Reading, message: Message) -> None:
        match = _CATEGORY.search(message.text)
        if match:
            reading.category = match[1]
        for call in message.tool_calls:
            reading.asked[call.name, call.args] += 1
            try:
                args = msgspec.json.decode(call.args)
            except msgspec.DecodeError:
                continue
            if isinstance(args, dict) and isinstance(args.get("category"), str):
                reading.category = args["category"]
        marked = any(isinstance(part, Text) and SPIRAL_MARK in part.bag for part in message.parts)
        repeats = max(reading.asked.values(), default=0)
        looks_so = repeats >= SPIRAL_REPEATS or reading.model_calls >= SPIRAL_CALLS
        if marked or (looks_so and not self.simulated):
            reading.spiral_until = reading.model_calls


def _customer(messages: Sequence[Message]) -> str:
    first = next((message.text for message in messages if message.role == "user"), "")
    match = _CUSTOMER.search(first)
    return match[1] if match else ""


def _interrupted(messages: Sequence[Message]) -> bool:
    for message in reversed(messages):
        if message.role == "assistant":
            return False
        if (message.role == "note" and not message.text.startswith(BUDGET_LINE)) or any(
            isinstance(part, ToolResult) and part.status == "denied" for part in message.parts
        ):
            return True
    return False
