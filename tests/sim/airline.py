"""The recorded airline runs as a world: a model that says what GPT-4o said, its customers, and the airline's tools.

Policy of this airline: reading is free; changing a reservation and handing over to a person may be done at once;
bookings and certificates are high risk and cancellations need confirmation, so a person decides on each.
"""

import functools
import gzip
import json
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from penstock import Budget, Run, Tool, ToolContext, agent, tool
from penstock.events import Amount, Failure
from penstock.events.messages import Message, Part, Text, ToolCall, encode_message
from penstock.ports.model import ModelError, ModelRequest, ModelResponse, Price, ToolSpec

DATA = Path(__file__).parents[1] / "data" / "tau_airline" / "runs.jsonl.gz"
PRICE = Price(2500.0, 10_000.0, source="list price of gpt-4o")


@functools.cache
def recorded() -> list[list[dict[str, Any]]]:
    """The messages of each recorded run."""
    with gzip.open(DATA, "rt", encoding="utf-8") as lines:
        return [json.loads(line)["traj"] for line in lines]


@dataclass
class Airline:
    """What really happened outside, and how often anybody was asked anything."""

    cases: list[list[dict[str, Any]]] = field(default_factory=recorded)
    asked: int = 0
    writes: list[tuple[int, str, str]] = field(default_factory=list)  # case, path, tool
    untooled: dict[int, int] = field(default_factory=dict)  # calls of a case that never reached the gate
    astray: list[tuple[int, str, str]] = field(default_factory=list)  # calls without a recorded answer

    def result(self, context: ToolContext, name: str, *, writes: bool = False) -> str:
        """What the tool answered at this place: turns, answers and calls have the places of the recording.

        Raises:
            RuntimeError: the recorded answer was an error.
        """
        case = int(context.tags["x_case"])
        message = self.cases[case][int(context.path) + 1 + self.untooled.get(case, 0)]
        self.asked += 1
        if message.get("name") != name:
            self.astray.append((case, context.path, name))
            raise LookupError(f"the recording has {message} here")
        if writes:
            self.writes.append((case, context.path, name))
        if message["content"].startswith("Error"):
            raise RuntimeError(message["content"])
        return str(message["content"])


airline = Airline()


class Leg(BaseModel):
    flight_number: str
    date: str


class Passenger(BaseModel):
    first_name: str
    last_name: str
    dob: str


class Payment(BaseModel):
    payment_id: str
    amount: float


Cabin = Literal["basic_economy", "economy", "business"]
Bags = Annotated[int, Field(ge=0)]


def one_certificate_at_most(args: dict[str, Any]) -> str | None:
    """A rule of the airline's own policy, which the recorded agent was told in its instructions."""
    certificates = [item for item in args["payment_methods"] if item["payment_id"].startswith("certificate")]
    return None if len(certificates) <= 1 else f"{len(certificates)} certificates; at most one may be used"


@tool(effect="read")
async def get_user_details(user_id: str, context: ToolContext) -> str:
    """A customer's profile."""
    return airline.result(context, "get_user_details")


@tool(effect="read")
async def get_reservation_details(reservation_id: str, context: ToolContext) -> str:
    """A reservation."""
    return airline.result(context, "get_reservation_details")


@tool(effect="read")
async def search_direct_flight(origin: str, destination: str, date: str, context: ToolContext) -> str:
    """Direct flights of a day."""
    return airline.result(context, "search_direct_flight")


@tool(effect="read")
async def search_onestop_flight(origin: str, destination: str, date: str, context: ToolContext) -> str:
    """Flights with one stop."""
    return airline.result(context, "search_onestop_flight")


@tool(effect="read")
async def list_all_airports(context: ToolContext) -> str:
    """All airports."""
    return airline.result(context, "list_all_airports")


@tool(effect="read")
async def calculate(expression: str, context: ToolContext) -> str:
    """The value of an expression."""
    return airline.result(context, "calculate")


@tool(effect="read", repeatable=True)
async def think(thought: str, context: ToolContext) -> str:
    """Room for thought; says nothing."""
    return airline.result(context, "think")


@tool(effect="write", risk="high", validate=[one_certificate_at_most])
async def book_reservation(  # noqa: PLR0917 - the airline's signature
    user_id: str,
    origin: str,
    destination: str,
    flight_type: Literal["one_way", "round_trip"],
    cabin: Cabin,
    flights: list[Leg],
    passengers: Annotated[list[Passenger], Field(max_length=5)],
    payment_methods: list[Payment],
    total_baggages: Bags,
    nonfree_baggages: Bags,
    insurance: Literal["yes", "no"],
    context: ToolContext,
) -> str:
    """Book."""
    return airline.result(context, "book_reservation", writes=True)


@tool(effect="write", risk="medium")
async def cancel_reservation(reservation_id: str, context: ToolContext) -> str:
    """Cancel."""
    return airline.result(context, "cancel_reservation", writes=True)


@tool(effect="write", risk="high")
async def send_certificate(user_id: str, amount: int, context: ToolContext) -> str:
    """Compensate a customer."""
    return airline.result(context, "send_certificate", writes=True)


@tool(effect="write", risk="low", permission="auto")
async def transfer_to_human_agents(summary: str, context: ToolContext) -> str:
    """Hand over to a person."""
    return airline.result(context, "transfer_to_human_agents", writes=True)


@tool(effect="write", permission="auto")
async def update_reservation_flights(
    reservation_id: str, cabin: Cabin, flights: list[Leg], payment_id: str, context: ToolContext
) -> str:
    """Change flights or cabin."""
    return airline.result(context, "update_reservation_flights", writes=True)


@tool(effect="write", permission="auto")
async def update_reservation_baggages(
    reservation_id: str, total_baggages: Bags, nonfree_baggages: Bags, payment_id: str, context: ToolContext
) -> str:
    """Change the baggage."""
    return airline.result(context, "update_reservation_baggages", writes=True)


@tool(effect="write", permission="auto")
async def update_reservation_passengers(reservation_id: str, passengers: list[Passenger], context: ToolContext) -> str:
    """Change the passengers."""
    return airline.result(context, "update_reservation_passengers", writes=True)


TOOLS: list[Tool[..., Any]] = [
    get_user_details,
    get_reservation_details,
    search_direct_flight,
    search_onestop_flight,
    list_all_airports,
    calculate,
    think,
    book_reservation,
    cancel_reservation,
    send_certificate,
    transfer_to_human_agents,
    update_reservation_flights,
    update_reservation_baggages,
    update_reservation_passengers,
]
HELD = {"book_reservation", "cancel_reservation", "send_certificate"}


class RecordedModel:
    """Answers with the recorded assistant messages of one case, in order: the n-th answer follows n - 1 others.

    A token is four bytes, whoever counts.
    """

    simulated = True

    def __init__(self, case: int) -> None:
        self.name = f"recorded:{case}"
        self.answers = [message for message in airline.cases[case] if message["role"] == "assistant"]

    def price(self) -> Price:
        return PRICE

    def prompt_bound(self, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> int:
        return sum(_tokens(message) for message in messages) + 100 * len(tools)

    async def request(self, request: ModelRequest) -> ModelResponse:
        airline.asked += 1
        number = sum(message.role == "assistant" for message in request.messages)
        if number >= len(self.answers):
            raise ModelError(Failure("recording_ended", "permanent", f"{self.name} has no answer {number}"))
        said = self.answers[number]
        calls = said.get("tool_calls") or []
        parts: list[Part] = [Text(said["content"])] if said["content"] else []
        parts += [ToolCall(call["id"], call["function"]["name"], call["function"]["arguments"]) for call in calls]
        message = Message("assistant", parts)
        used = Amount(self.prompt_bound(request.messages, request.tools), _tokens(message))
        return ModelResponse(message, used, "tool_calls" if calls else "stop")

    async def stream(self, request: ModelRequest) -> AsyncGenerator[str | ModelResponse, None]:
        yield await self.request(request)


def _tokens(message: Message) -> int:
    return -(-len(encode_message(message)) // 4)


class Case(BaseModel):
    """Which recording, and how many answers of the model it holds."""

    case: int
    answers: int


def case_of(number: int) -> Case:
    return Case(case=number, answers=sum(message["role"] == "assistant" for message in airline.cases[number]))


def customer(case: int, turn: int) -> str | None:
    """What the customer says next; None when the customer has gone."""
    airline.asked += 1
    said = [message["content"] for message in airline.cases[case] if message["role"] == "user"]
    return said[turn] if turn < len(said) else None


@agent("airline-desk", budget=Budget(usd="50"), version="1")
async def desk(run: Run, value: Case) -> dict[str, int]:
    """Talks with a customer until the customer has gone."""
    instructions = airline.cases[value.case][0]["content"]
    chat = run.chat(RecordedModel(value.case), instructions=instructions, tools=TOOLS, max_tokens=4096)
    airline.untooled[value.case] = answers = turns = 0
    statuses: dict[str, int] = {}
    while (words := await run.record("customer", functools.partial(customer, value.case, turns))) is not None:
        turns += 1
        chat.hear(words)
        while answers < value.answers:
            step = await chat.step()
            answers += 1
            if step.last:
                airline.untooled[value.case] += len(step.results)
            for result in step.results:
                statuses[result.status] = statuses.get(result.status, 0) + 1
            if not step.results:
                break
    return {"answers": answers, "turns": turns, **statuses}
