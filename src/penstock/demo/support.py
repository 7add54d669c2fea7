"""The support desk: one agent over the bank's tools. The same prompt, tools and model serve all three modes."""

import json
import re
from importlib.resources import files
from typing import Annotated, Any

from pydantic import BaseModel, Field

from penstock.agents.agent import Agent
from penstock.agents.budget import Budget
from penstock.agents.run import escalate
from penstock.agents.tool import tool
from penstock.demo.support_tools import BankTools
from penstock.ports.model import Model

NAME = "support-desk"
# Tickets that go well take three to five model calls and 7,000 to 12,000 tokens: two or three cents with GPT-4o.
BUDGET = Budget(tokens=30_000, usd="0.08", steps=12, attempts=3, seconds=120)
_MESSAGE = re.compile(r"\ACustomer (?P<customer>[\w-]+) writes:")


class TicketReply(BaseModel):
    """The final result of a ticket."""

    category: Annotated[str, Field(max_length=100, description="The intent of the customer's message.")]
    reply: Annotated[str, Field(min_length=1, max_length=5000, description="The reply to the customer.")]
    confidence: Annotated[float, Field(ge=0, le=1)]
    actions: Annotated[list[str], Field(max_length=20, description="Names of the tools that changed something.")] = []
    left_to_do: Annotated[
        list[str], Field(max_length=20, description="Tools whose work is needed but was not done: a colleague will.")
    ] = []


class SupportDesk(Agent):
    """The standard loop, and a duty of care: an answer reaches the customer also when the model had no room left to
    send it, and what the model could not do reaches a person."""

    def __init__(
        self,
        bank: BankTools,
        model: str | Model,
        *,
        name: str = NAME,
        budget: Budget = BUDGET,
        extra: dict[str, Any] | None = None,
    ) -> None:
        """``extra`` as for `Agent`; it is part of the release, so it also tells desks of different demos apart."""
        super().__init__(
            name,
            model=model,
            instructions=instructions(),
            tools=bank.all(),
            output=TicketReply,
            budget=budget,
            can_escalate=True,
            extra=extra,
        )
        self.replies_sent = tool(effect="read")(bank.replies_sent)

    async def invoke(self, run: Any, value: Any) -> TicketReply:
        """Work one message; see `message`.

        Raises:
            Escalation: the model was not confident, or something is left to do.
        """
        answer: TicketReply = await super().invoke(run, value)
        customer = customer_of(value)
        if await run.call(self.replies_sent, customer) == 0:
            await run.call(self.tools["send_reply"], customer, answer.reply)
        if answer.left_to_do:
            run.keep_partial(answer.model_dump())
            escalate(f"left to do: {', '.join(answer.left_to_do)}")
        return answer


def instructions() -> str:
    """The prompt with the names of the categories."""
    prompt = (files("penstock") / "demo" / "support_desk.md").read_text(encoding="utf-8")
    names = json.loads((files("penstock") / "data" / "banking77" / "categories.json").read_text(encoding="utf-8"))
    return f"{prompt}\nThe categories are: {', '.join(names)}.\n"


def message(customer: str, text: str) -> str:
    """A ticket as the desk gets it."""
    return f"Customer {customer} writes:\n\n{text}"


def customer_of(text: str) -> str:
    """The customer of a message.

    Raises:
        ValueError: the message does not name one.
    """
    match = _MESSAGE.match(text)
    if match is None:
        raise ValueError("the message does not begin with the line `Customer … writes:`")
    return match["customer"]
