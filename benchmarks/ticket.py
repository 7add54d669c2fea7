"""The job that both sides do: a support ticket in nine steps, five answers of a model and four tool calls.

The model is a fake without latency, so that what is left is the platform. Its n-th answer depends on nothing but n and
the ticket. Nothing here knows either side.
"""

from collections import Counter
from collections.abc import Awaitable, Callable

INSTRUCTIONS = "You are a support agent of a bank. Look the customer up before you answer, and be brief. " * 8
MODEL_CALLS = 5
TOOL_CALLS = 4
WRITES = ("add_note", "send_reply")

done: Counter[tuple[str, str]] = Counter()
"""How often each tool acted for each ticket, counted inside the effect."""


def text_of(number: int) -> str:
    """What the customer wrote."""
    return f"[{number}] I was charged twice for the same payment at the bakery, please look into it."


def number_of(text: str) -> str:
    """The ticket's number in what the customer wrote."""
    return text[1 : text.index("]")]


def answer(turn: int, number: str) -> tuple[str, str] | str:
    """What the model says after ``turn`` earlier answers: a tool and its arguments in JSON, or the last words."""
    if turn == 0:
        return "get_account", f'{{"ticket": "{number}"}}'
    if turn == 1:
        return "list_payments", f'{{"ticket": "{number}", "limit": 5}}'
    if turn == 2:
        return "add_note", f'{{"ticket": "{number}", "text": "charged twice, the second one is pending"}}'
    if turn == 3:
        return "send_reply", f'{{"ticket": "{number}", "text": "The second charge will be released in two days."}}'
    return "The second charge was only a reservation; it will be released within two days."


def tokens_of(turn: int) -> tuple[int, int]:
    """What the model says it used for the answer after ``turn`` earlier ones: input and output tokens."""
    return 300 + 60 * turn, 30


async def get_account(ticket: str) -> dict[str, object]:
    """The customer's account."""
    done[ticket, "get_account"] += 1
    return {"customer": f"c-{ticket}", "balance_cents": 120_34, "currency": "EUR", "status": "open"}


async def list_payments(ticket: str, limit: int) -> list[dict[str, object]]:
    """The customer's latest payments."""
    done[ticket, "list_payments"] += 1
    return [{"id": f"p-{ticket}-{i}", "cents": 450, "to": "bakery", "state": "booked"} for i in range(min(limit, 2))]


async def add_note(ticket: str, text: str) -> str:
    """Put a note on the ticket."""
    done[ticket, "add_note"] += 1
    return f"noted {len(text)} characters"


async def send_reply(ticket: str, text: str) -> str:
    """Send the customer a reply."""
    done[ticket, "send_reply"] += 1
    return f"sent {len(text)} characters"


TOOLS: dict[str, Callable[..., Awaitable[object]]] = {
    "get_account": get_account,
    "list_payments": list_payments,
    "add_note": add_note,
    "send_reply": send_reply,
}


def wrong(counts: Counter[tuple[str, str]], tickets: range) -> list[str]:
    """Tickets whose tools did not act exactly once each: what was lost, doubled, or never asked for."""
    expected = {(str(number), tool) for number in tickets for tool in TOOLS}
    return sorted({ticket for ticket, tool in expected ^ set(counts)} | {key[0] for key, n in counts.items() if n != 1})
