"""Money is whole nano-dollars."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.kernel.errors import BudgetInvalid
from penstock.kernel.money import NANO, nano_usd, show_usd


@pytest.mark.parametrize(
    ("amount", "nano"),
    [
        ("0.10", 100_000_000),
        (0.1, 100_000_000),
        (0.1 + 0.2, 300_000_000),
        (Decimal("0.000000001"), 1),
        (3, 3 * NANO),
        ("0", 0),
        ("1e3", 1000 * NANO),
        (" 2.5 ", 2_500_000_000),
    ],
)
def test_dollars_become_nano_dollars(amount: Any, nano: int) -> None:
    assert nano_usd(amount) == nano


@pytest.mark.parametrize("amount", ["-1", -0.01, "nan", float("nan"), "inf", float("inf"), "ten", "", "1,5"])
def test_what_is_no_amount_is_refused(amount: Any) -> None:
    with pytest.raises(BudgetInvalid, match="not an amount of money"):
        nano_usd(amount)


@given(st.integers(0, 10**15))
def test_every_nano_dollar_can_be_written_as_decimal_dollars(nano: int) -> None:
    assert nano_usd(Decimal(nano) / NANO) == nano
    assert nano_usd(f"{nano // NANO}.{nano % NANO:09}") == nano


@pytest.mark.parametrize(
    ("nano", "shown"),
    [
        (0, "$0.00"),
        (NANO, "$1.00"),
        (1_234_567 * NANO + 5 * NANO // 10, "$1,234,567.50"),
        (-2 * NANO, "-$2.00"),
        (123_456_789, "$0.123"),
        (1_234_567, "$0.00123"),
        (1, "$0.00000000100"),
    ],
)
def test_amounts_are_shown_for_people(nano: int, shown: str) -> None:
    assert show_usd(nano) == shown


@given(st.integers(1, 10**12))
def test_more_than_nothing_never_looks_like_nothing(nano: int) -> None:
    assert any(digit in "123456789" for digit in show_usd(nano))
