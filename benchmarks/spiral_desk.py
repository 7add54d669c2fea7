"""Tickets of the simulated support desk as the detector takes them: some go round in circles, and say so in a mark.

The model's spirals were there before the detector. Nothing was tuned on them.
"""

import json
from typing import Any

from benchmarks.spiral_cases import Case, Step
from penstock.adapters.embeddings import WordLlamaEmbedder
from penstock.adapters.simulated import SPIRAL_MARK, Habits, NearestExamples, SimulatedModel, banking77
from penstock.events.messages import Message, Part, Text, ToolCall, ToolResult, say
from penstock.ports.model import ModelRequest, ModelSettings, ToolSpec

TURNS = 30
WRITES = ("send_reply", "freeze_card", "refund", "close_account", "escalate")
_TAKEN = {
    "get_account": ("customer_id",),
    "list_transactions": ("customer_id", "limit"),
    "search_help": ("query",),
    "send_reply": ("customer_id", "text"),
    "freeze_card": ("customer_id", "card_id"),
    "refund": ("customer_id", "transaction_id", "amount_cents", "reason"),
    "close_account": ("customer_id",),
    "escalate": ("customer_id", "reason", "category"),
}
TOOLS = [
    ToolSpec(name, f"{name}.", {"type": "object", "properties": {key: {} for key in taken}})
    for name, taken in _TAKEN.items()
]
_TRANSACTIONS = [
    {
        "transaction_id": f"t{n}",
        "kind": "card_payment",
        "description": f"Shop {n * 7 % 23}",
        "amount_cents": -91 * n - 450,
    }
    for n in range(40)
]
_PAGES = [
    {"title": f"About {word}", "text": f"What to know about {word}. It takes two working days. Ask us about {word}."}
    for word in ("cards", "transfers", "fees", "limits", "top-ups", "exchange")
]


async def cases(seed: int, count: int, spiral_rate: float) -> list[Case]:
    """Tickets of the held-back part of Banking77, worked by the model with that seed, nobody stepping in."""
    examples = NearestExamples(WordLlamaEmbedder())
    model = SimulatedModel(seed, habits=Habits(spiral=spiral_rate, heed=0), examples=examples)
    questions = banking77("tickets")[:count]
    return [await _work(model, question.text, seed) for question in questions]


async def _work(model: SimulatedModel, question: str, seed: int) -> Case:
    talk = [say("system", "Answer the customer."), say("user", f"Customer C-1 writes:\n\n{question}")]
    steps: list[Step] = []
    begins = 0
    style = "calm"
    for _ in range(TURNS):
        answer = (await model.request(ModelRequest(talk, TOOLS, ModelSettings(2_000), "auto", None))).message
        calls = answer.tool_calls
        if not calls:
            break
        if any(isinstance(part, Text) and part.bag.get(SPIRAL_MARK) for part in answer.parts) and not begins:
            begins, style = len(steps) + 1, model.persona(question).style
        parts: list[Part] = []
        for index, call in enumerate(calls):
            step = _step(call, answer.text, same_turn=index > 0)
            steps.append(step)
            text = step.result if isinstance(step.result, str) else json.dumps(step.result)
            parts.append(ToolResult(call.id, call.name, text, "ok" if step.ok else "error"))
        talk += [answer, Message("tool", parts)]
    else:
        if not begins:  # after handing a case over it goes round without a mark, and without an end
            style = model.persona(question).style
            begins = 2 + max(n for n, step in enumerate(steps) if step.args != steps[-1].args)
    return Case(f"desk, {style}", seed, steps, begins)


def _step(call: ToolCall, text: str, *, same_turn: bool) -> Step:
    try:
        args = json.loads(call.args)
    except ValueError:
        return Step(call.name, {"raw": call.args}, ok=False, refused=True, text=text, same_turn=same_turn)
    known = call.name in _TAKEN
    result = _answer(call.name, args) if known else "there is no such tool"
    return Step(call.name, args, result, ok=known, write=call.name in WRITES, text=text, same_turn=same_turn)


def _answer(name: str, args: dict[str, Any]) -> Any:
    if name == "get_account":
        cards = [{"card_id": "virtual-1", "kind": "virtual", "status": "active"}]
        return {"customer_id": "C-1", "name": "A. Customer", "balance_cents": 41_250, "cards": cards}
    if name == "list_transactions":
        return {"transactions": _TRANSACTIONS[: int(args.get("limit") or 20)]}
    if name == "search_help":
        words = str(args.get("query", ""))
        return {"articles": sorted(_PAGES, key=lambda page: (page["title"][6:9] not in words, page["title"]))[:3]}
    return {"done": name}
