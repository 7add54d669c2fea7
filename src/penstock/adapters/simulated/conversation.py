"""What the simulated model reads off a conversation. It keeps no state of its own: this is all it knows."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from penstock.events.messages import Message, ToolCall, ToolResult

BUDGET_LINE = "[budget left:"  # a running account of what remains tells nobody to change course

_CUSTOMER = re.compile(r"\A\s*Customer (?P<id>[\w-]{1,64}) writes:\s*(?P<question>.*)\Z", re.DOTALL)


@dataclass(slots=True)
class PastCall:
    """A tool call of an earlier turn. ``args`` is None when what was written is not a JSON object; ``status`` is
    ``pending`` until its result is there."""

    turn: int
    name: str
    args: dict[str, Any] | None
    status: str = "pending"
    text: str = ""


@dataclass(slots=True)
class Conversation:
    """``turn`` counts the model's own earlier answers. ``interventions`` are the turns before which somebody told it
    to change course: a note, or a denied call."""

    question: str = ""
    customer: str = ""
    turn: int = 0
    calls: list[PastCall] = field(default_factory=list)
    interventions: list[int] = field(default_factory=list)

    def named(self, name: str) -> list[PastCall]:
        """The calls of one tool, in order."""
        return [call for call in self.calls if call.name == name]

    def succeeded(self, name: str) -> bool:
        """Whether a call of the tool came back well."""
        return any(call.name == name and call.status == "ok" for call in self.calls)

    def result(self, name: str) -> Any:
        """The plain value of the tool's first good result; None when there is none, its text when it is not JSON."""
        for call in self.calls:
            if call.name == name and call.status == "ok":
                try:
                    return msgspec.json.decode(call.text)
                except msgspec.DecodeError:
                    return call.text
        return None


def read_conversation(messages: Sequence[Message]) -> Conversation:
    """Read a conversation. The question is the first user message, without the line that names the customer."""
    talk = Conversation()
    open_calls: dict[str, PastCall] = {}
    asked = False
    for message in messages:
        if message.role == "user" and not asked:
            asked = True
            _read_question(talk, message.text)
        elif message.role == "assistant":
            for part in message.parts:
                if type(part) is ToolCall:
                    call = PastCall(talk.turn, part.name, _read_args(part.args))
                    talk.calls.append(call)
                    open_calls[part.id] = call
            talk.turn += 1
        elif message.role == "note" and not message.text.startswith(BUDGET_LINE):
            talk.interventions.append(talk.turn)
        for part in message.parts:
            if type(part) is ToolResult:
                _read_result(talk, open_calls, part)
    return talk


def _read_question(talk: Conversation, text: str) -> None:
    match = _CUSTOMER.match(text)
    if match:
        talk.customer = match["id"]
    question = (match["question"] if match else text).strip()
    talk.question = question.encode(errors="replace").decode()


def _read_result(talk: Conversation, open_calls: dict[str, PastCall], part: ToolResult) -> None:
    call = open_calls.get(part.id)
    if call is not None:
        call.status, call.text = part.status, part.text
    if part.status == "denied":
        talk.interventions.append(talk.turn)


def _read_args(text: str) -> dict[str, Any] | None:
    try:
        args = msgspec.json.decode(text or "{}")
    except msgspec.DecodeError:
        return None
    return args if isinstance(args, dict) else None
