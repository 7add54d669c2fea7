"""`Budget`: what a user writes, as the journal keeps it."""

from decimal import Decimal
from typing import Any

import pytest

from penstock import Budget
from penstock.events import BudgetRecord
from penstock.kernel.errors import BudgetInvalid


def test_no_limit_is_zero_and_money_is_nano_dollars() -> None:
    assert Budget().record() == BudgetRecord()
    whole = Budget(tokens=20_000, usd="0.10", steps=12, calls=7, attempts=3, seconds=60, depth=2, fanout=9).record()
    assert whole == BudgetRecord(20_000, 100_000_000, 12, 7, 3, 60, 2, 9)


@pytest.mark.parametrize(
    ("usd", "nano"), [("0.1", 10**8), (0.1, 10**8), (Decimal("0.1"), 10**8), (2, 2 * 10**9), ("0.000000001", 1)]
)
def test_money_is_read_exactly(usd: Any, nano: int) -> None:
    assert Budget(usd=usd).record().nano == nano


@pytest.mark.parametrize(
    "wrong",
    [
        {"tokens": 0},
        {"tokens": -1},
        {"steps": 0},
        {"seconds": 0.0},
        {"tokens": 2**53},
        {"seconds": float("inf")},
        {"seconds": float("nan")},
        {"usd": "0"},
        {"usd": "-1"},
        {"usd": "nan"},
        {"usd": "Infinity"},
        {"usd": "ten"},
        {"usd": "0.0000000001"},
    ],
    ids=str,
)
def test_a_limit_that_is_no_positive_number_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(BudgetInvalid):
        Budget(**wrong).record()
