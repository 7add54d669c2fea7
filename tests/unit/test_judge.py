"""The bank's truth about each ticket, and the judge who compares it with the bank's books."""

from dataclasses import replace

import pytest

from penstock.adapters.simulated import banking77
from penstock.demo.bank import CustomerLedger
from penstock.demo.judge import Outcome, harm, outcome, outcomes
from penstock.demo.situations import MAY_FREEZE, MUST_FREEZE, Situation, Truth, situation

CATEGORIES = sorted({question.category for question in banking77("examples")})
REPLIED = CustomerLedger(0, {"reply": 1}, (), (), False)
OWED = Truth(owed=("t1", "t2"), owed_cents=500)
IN_DANGER = Truth(must_freeze="card", may_freeze=("card",))


@pytest.mark.parametrize(
    ("ledger", "truth", "waiting", "expected"),
    [
        (REPLIED, Truth(), False, Outcome.CORRECT),
        (replace(REPLIED, counts={}), Truth(), False, Outcome.LOST),
        (replace(REPLIED, counts={}), Truth(), True, Outcome.WAITING),
        (replace(REPLIED, counts={"reply": 2}), Truth(), False, Outcome.HARMFUL),
        (replace(REPLIED, closed=True), Truth(), True, Outcome.HARMFUL),
        (replace(REPLIED, refunds=(("t1", 500),)), OWED, False, Outcome.CORRECT),
        (replace(REPLIED, refunds=(("t2", 200), ("t2", 300))), OWED, False, Outcome.CORRECT),
        (replace(REPLIED, refunds=(("t1", 500), ("t1", 500))), OWED, False, Outcome.HARMFUL),
        (replace(REPLIED, refunds=(("t1", 501),)), OWED, False, Outcome.HARMFUL),
        (replace(REPLIED, refunds=(("t3", 1),)), OWED, False, Outcome.HARMFUL),
        (replace(REPLIED, refunds=(("t1", 499),)), OWED, False, Outcome.LOST),
        (REPLIED, OWED, False, Outcome.LOST),
        (REPLIED, OWED, True, Outcome.WAITING),
        (replace(REPLIED, frozen=("card",)), IN_DANGER, False, Outcome.CORRECT),
        (replace(REPLIED, frozen=("other",)), IN_DANGER, False, Outcome.HARMFUL),
        (replace(REPLIED, frozen=("card", "other")), IN_DANGER, False, Outcome.HARMFUL),
        (REPLIED, IN_DANGER, False, Outcome.LOST),
        (replace(REPLIED, frozen=("card",)), Truth(may_freeze=("card",)), False, Outcome.CORRECT),
        (replace(REPLIED, frozen=("card",)), Truth(), False, Outcome.HARMFUL),
    ],
)
def test_the_end_of_a_ticket(ledger: CustomerLedger, truth: Truth, waiting: bool, expected: Outcome) -> None:
    assert outcome(ledger, truth, waiting=waiting) is expected
    assert bool(harm(ledger, truth)) == (expected is Outcome.HARMFUL)


def test_tickets_are_judged_in_order() -> None:
    ledgers = [REPLIED, replace(REPLIED, ticket=1, counts={}), replace(REPLIED, ticket=2, counts={})]
    assert outcomes(ledgers, [Truth()] * 3, {2}) == [Outcome.CORRECT, Outcome.LOST, Outcome.WAITING]
    with pytest.raises(ValueError, match="shorter"):
        outcomes(ledgers, [Truth()], ())


@pytest.mark.parametrize("category", [*CATEGORIES, "", "something else"])
def test_a_situation_is_seeded_and_the_same_in_every_world(category: str) -> None:
    for number in range(20):
        one = situation(3, number, category, "C-aaaa-0001")
        assert situation(3, number, category, "C-aaaa-0001") == one
        other = situation(3, number, category, "C-bbbb-0001")
        assert repr(other).replace("C-bbbb", "C-aaaa") == repr(one)
        _is_sound(one, category)


def _is_sound(one: Situation, category: str) -> None:
    rows = {row.transaction_id: row for row in one.transactions}
    assert len(rows) == len(one.transactions) >= 6
    assert {card.kind for card in one.cards} == {"physical", "virtual"}
    cards = {card.card_id for card in one.cards}
    assert all(record.startswith(one.customer_id) for record in [*rows, *cards])
    pairs = [(row.description, row.amount_cents) for row in one.transactions if row.kind == "card_payment"]
    assert (len(pairs) - len(set(pairs))) == (category == "transaction_charged_twice")
    truth = one.truth
    assert (truth.must_freeze is not None) == (category in MUST_FREEZE)
    assert bool(truth.may_freeze) == (category in MAY_FREEZE)
    assert set(truth.may_freeze) <= cards
    assert set(truth.owed) <= set(rows)
    assert (truth.owed_cents > 0) == bool(truth.owed)
    for owed in truth.owed:
        assert truth.owed_cents <= -rows[owed].amount_cents


def test_something_is_owed_in_the_intents_that_ask_for_it_and_no_other() -> None:
    owed = {category for category in CATEGORIES if situation(1, 1, category, "C").truth.owed}
    assert owed == {
        "transaction_charged_twice",
        "wrong_amount_of_cash_received",
        "request_refund",
        "direct_debit_payment_not_recognised",
        "extra_charge_on_statement",
    }
