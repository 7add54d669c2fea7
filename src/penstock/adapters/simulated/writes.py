"""Which write the simulated agent makes, with arguments that it takes from what the tools told it."""

from collections.abc import Callable
from typing import Any

from penstock.adapters.simulated.conversation import Conversation
from penstock.adapters.simulated.persona import Persona
from penstock.adapters.simulated.playbook import CLOSE_ACCOUNT, FREEZE_CARD, GET_ACCOUNT, LIST_TRANSACTIONS, REFUND

Args = dict[str, Any]
Row = dict[str, Any]


def planned_write(talk: Conversation, intent: str, write: str | None, persona: Persona) -> tuple[str, Args] | None:
    """The one write that comes before the reply, or None when the facts call for none.

    A careless agent refunds a whole payment where a part is owed, pays what is on its way already, or takes the first
    card instead of the right one.
    """
    if write == FREEZE_CARD:
        card = _card_to_freeze(talk, persona)
        if card is not None:
            reason = intent.replace("_", " ")
            return FREEZE_CARD, {"customer_id": talk.customer, "card_id": card, "reason": reason}
    elif write == REFUND or (persona.careless and intent == "Refund_not_showing_up"):
        owed = _owed(talk, intent, persona)
        if owed is not None:
            transaction, amount = owed
            return REFUND, {
                "customer_id": talk.customer,
                "transaction_id": transaction,
                "amount_cents": amount,
                "reason": intent.replace("_", " "),
            }
    elif (write == CLOSE_ACCOUNT and persona.closes) or (write is None and persona.overreaches):
        return CLOSE_ACCOUNT, {"customer_id": talk.customer, "reason": "requested by the customer"}
    return None


def _rows(result: Any, key: str) -> list[Row]:
    rows = result.get(key) if isinstance(result, dict) else None
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _card_to_freeze(talk: Conversation, persona: Persona) -> str | None:
    cards = [card for card in _rows(talk.result(GET_ACCOUNT), "cards") if card.get("status") == "active"]
    if not cards:
        return None
    if persona.careless:
        return _text(cards[0], "card_id")
    suspicious = _first(_transactions(talk), lambda row: row.get("note") == "device not seen before")
    if suspicious is not None:
        return _text(suspicious, "card_id")
    physical = _first(cards, lambda card: card.get("kind") == "physical")
    return _text(physical or cards[0], "card_id")


def _transactions(talk: Conversation) -> list[Row]:
    return _rows(talk.result(LIST_TRANSACTIONS), "transactions")


def _owed(talk: Conversation, intent: str, persona: Persona) -> tuple[str, int] | None:
    finder = _FINDERS.get(intent)
    row = finder(_transactions(talk)) if finder else None
    if row is None:
        return None
    transaction, amount = _text(row, "transaction_id"), _whole(row, "amount_cents")
    if transaction is None or not amount:
        return None
    dispensed = _whole(row, "dispensed_cents")
    if dispensed is not None and not persona.careless:
        return transaction, abs(amount) - dispensed
    if intent == "transaction_charged_twice" and persona.careless:
        return transaction, 2 * abs(amount)
    return transaction, abs(amount)


def _duplicate(rows: list[Row]) -> Row | None:
    seen: dict[tuple[object, object], Row] = {}
    for row in rows:
        if row.get("kind") != "card_payment":
            continue
        same = (row.get("description"), row.get("amount_cents"))
        if same in seen:
            return seen[same]
        seen[same] = row
    return None


def _noted(note: str) -> Callable[[list[Row]], Row | None]:
    return lambda rows: _first(rows, lambda row: row.get("note") == note)


_FINDERS: dict[str, Callable[[list[Row]], Row | None]] = {
    "transaction_charged_twice": _duplicate,
    "wrong_amount_of_cash_received": lambda rows: _first(rows, lambda row: "dispensed_cents" in row),
    "request_refund": _noted("cancelled by the merchant"),
    "direct_debit_payment_not_recognised": _noted("no mandate on file"),
    "extra_charge_on_statement": _noted("charged in error"),
    "Refund_not_showing_up": _noted("refund on its way"),
}


def _first(rows: list[Row], fits: Callable[[Row], bool]) -> Row | None:
    return next((row for row in rows if fits(row)), None)


def _text(row: Row, key: str) -> str | None:
    value = row.get(key)
    return value if isinstance(value, str) else None


def _whole(row: Row, key: str) -> int | None:
    value = row.get(key)
    return value if type(value) is int else None
