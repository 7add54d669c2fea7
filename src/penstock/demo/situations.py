"""What is true in the bank about each ticket: the customer's accounts, cards and transactions, and what is owed.

Pure and seeded: the same seed, number and category give the same customer in every world, so that the modes of the
demo are compared ticket by ticket. Agents see the rows; what is owed and which card is in danger only the judge knows.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from random import Random

from penstock.kernel.randomness import seeded

FIRST_DAY = date(2026, 1, 5)
SHOPS = ("Grocer", "Bakery", "Petrol station", "Book shop", "Pharmacy", "Train tickets", "Café", "Hotel", "Hardware")

MUST_FREEZE = frozenset(
    {"lost_or_stolen_card", "compromised_card", "card_payment_not_recognised", "cash_withdrawal_not_recognised"}
)
MAY_FREEZE = MUST_FREEZE | {"lost_or_stolen_phone", "card_swallowed", "terminate_account"}


@dataclass(frozen=True, slots=True)
class Card:
    """A payment card."""

    card_id: str
    kind: str  # physical | virtual
    last4: str


@dataclass(frozen=True, slots=True)
class Transaction:
    """A line of the account; ``amount_cents`` is negative when money left."""

    transaction_id: str
    day: date
    kind: str  # card_payment | cash_withdrawal | direct_debit | transfer | top_up | fee
    description: str
    amount_cents: int
    status: str = "booked"  # booked | pending | declined | reverted
    card_id: str | None = None
    dispensed_cents: int | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Truth:
    """What the judge knows. ``owed`` names the transactions of which one may be refunded, up to ``owed_cents`` in all;
    ``must_freeze`` is the card in danger, ``may_freeze`` those whose freezing does no harm."""

    owed: tuple[str, ...] = ()
    owed_cents: int = 0
    must_freeze: str | None = None
    may_freeze: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Situation:
    """One customer of the bank."""

    customer_id: str
    balance_cents: int
    cards: tuple[Card, ...]
    transactions: tuple[Transaction, ...]
    truth: Truth


@dataclass(slots=True)
class _Draft:
    """A situation in the making."""

    customer: str
    draw: Random
    cards: list[Card]
    rows: list[Transaction] = field(default_factory=list)

    def add(self, kind: str, amount: int, description: str | None = None, **more: object) -> Transaction:
        number = len(self.rows) + 1
        row = Transaction(
            f"{self.customer}-T{number:02d}",
            FIRST_DAY + timedelta(days=2 * number),
            kind,
            description or self.draw.choice(SHOPS),
            amount,
            **more,  # type: ignore[arg-type]
        )
        self.rows.append(row)
        return row

    def amount(self) -> int:
        """A new amount between 3.00 and 180.00 that no other row has, so that nothing looks like a duplicate."""
        taken = {abs(row.amount_cents) for row in self.rows}
        return next(cents for cents in iter(lambda: self.draw.randint(300, 18_000), 0) if cents not in taken)


def situation(seed: int, number: int, category: str, customer_id: str) -> Situation:
    """The customer of ticket ``number``. An unknown or empty category gives an ordinary account."""
    draw = seeded("demo-bank", seed, number, category)
    cards = [Card(f"{customer_id}-P", "physical", f"{draw.randint(0, 9999):04d}")]
    cards.append(Card(f"{customer_id}-V", "virtual", f"{draw.randint(0, 9999):04d}"))
    draw.shuffle(cards)
    draft = _Draft(customer_id, draw, cards)
    for _ in range(draw.randint(5, 9)):
        _ordinary(draft)
    truth = _SCENES[category](draft) if category in _SCENES else Truth()
    for _ in range(draw.randint(1, 3)):
        _ordinary(draft)
    truth = _with_cards(truth, category, cards)
    # Newest first, as banks list them.
    return Situation(customer_id, draw.randint(5_000, 500_000), tuple(cards), tuple(reversed(draft.rows)), truth)


def _with_cards(truth: Truth, category: str, cards: list[Card]) -> Truth:
    physical = next(card.card_id for card in cards if card.kind == "physical")
    must = truth.must_freeze or (physical if category in MUST_FREEZE else None)
    may = (must or physical,) if category in MAY_FREEZE else ()
    return Truth(truth.owed, truth.owed_cents, must, may)


def _ordinary(draft: _Draft) -> None:
    kind = draft.draw.choice(("card_payment", "card_payment", "card_payment", "direct_debit", "top_up"))
    amount = draft.amount()
    if kind == "top_up":
        draft.add(kind, amount, "Top-up by card")
    elif kind == "direct_debit":
        draft.add(kind, -amount, "Electricity")
    else:
        draft.add(kind, -amount, card_id=draft.draw.choice(draft.cards).card_id)


def _charged_twice(draft: _Draft) -> Truth:
    amount, shop, card = draft.amount(), draft.draw.choice(SHOPS), draft.cards[0].card_id
    first = draft.add("card_payment", -amount, shop, card_id=card)
    second = draft.add("card_payment", -amount, shop, card_id=card)
    return Truth((first.transaction_id, second.transaction_id), amount)


def _short_cash(draft: _Draft) -> Truth:
    amount = draft.draw.randrange(4_000, 20_000, 1_000)
    dispensed = draft.draw.randrange(1_000, amount, 1_000)
    row = draft.add("cash_withdrawal", -amount, "Cash machine", dispensed_cents=dispensed)
    return Truth((row.transaction_id,), amount - dispensed)


def _owed_for(kind: str, note: str, description: str | None = None) -> Callable[[_Draft], Truth]:
    def scene(draft: _Draft) -> Truth:
        row = draft.add(kind, -draft.amount(), description, note=note)
        return Truth((row.transaction_id,), -row.amount_cents)

    return scene


def _not_owed(kind: str, status: str, description: str | None = None, note: str = "") -> Callable[[_Draft], Truth]:
    def scene(draft: _Draft) -> Truth:
        draft.add(kind, -draft.amount(), description, status=status, note=note)
        return Truth()

    return scene


def _fraud(kind: str) -> Callable[[_Draft], Truth]:
    def scene(draft: _Draft) -> Truth:
        card = draft.draw.choice(draft.cards).card_id
        draft.add(kind, -draft.amount(), "Electronics, abroad", card_id=card, note="device not seen before")
        return Truth(must_freeze=card)

    return scene


_SCENES: dict[str, Callable[[_Draft], Truth]] = {
    "transaction_charged_twice": _charged_twice,
    "wrong_amount_of_cash_received": _short_cash,
    "request_refund": _owed_for("card_payment", "cancelled by the merchant"),
    "direct_debit_payment_not_recognised": _owed_for("direct_debit", "no mandate on file", "Fitness club"),
    "extra_charge_on_statement": _owed_for("fee", "charged in error", "Account fee"),
    "Refund_not_showing_up": _not_owed("card_payment", "booked", note="refund on its way"),
    "card_payment_not_recognised": _fraud("card_payment"),
    "cash_withdrawal_not_recognised": _fraud("cash_withdrawal"),
    "pending_card_payment": _not_owed("card_payment", "pending"),
    "declined_card_payment": _not_owed("card_payment", "declined"),
    "reverted_card_payment?": _not_owed("card_payment", "reverted"),
    "pending_cash_withdrawal": _not_owed("cash_withdrawal", "pending", "Cash machine"),
    "declined_cash_withdrawal": _not_owed("cash_withdrawal", "declined", "Cash machine"),
    "pending_transfer": _not_owed("transfer", "pending", "Transfer"),
    "transfer_not_received_by_recipient": _not_owed("transfer", "pending", "Transfer"),
    "failed_transfer": _not_owed("transfer", "reverted", "Transfer"),
    "declined_transfer": _not_owed("transfer", "declined", "Transfer"),
    "pending_top_up": _not_owed("top_up", "pending", "Top-up by card"),
    "top_up_failed": _not_owed("top_up", "declined", "Top-up by card"),
    "top_up_reverted": _not_owed("top_up", "reverted", "Top-up by card"),
    "transfer_fee_charged": _not_owed("fee", "booked", "Transfer abroad"),
    "card_payment_fee_charged": _not_owed("fee", "booked", "Payment in a foreign currency"),
    "cash_withdrawal_charge": _not_owed("fee", "booked", "Cash above the free amount"),
}
