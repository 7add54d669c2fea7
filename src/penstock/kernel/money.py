"""Money is an integer count of nano-dollars: one US dollar is 10**9. Floats never touch an account."""

from decimal import Decimal, InvalidOperation
from functools import lru_cache

from penstock.kernel.errors import BudgetInvalid

NANO = 10**9


def nano_usd(amount: str | int | float | Decimal) -> int:
    """Nano-dollars of an amount in dollars. Floats are read by their shortest decimal form.

    Raises:
        BudgetInvalid: not a finite, non-negative number.
    """
    try:
        value = Decimal(str(amount))
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite() or value < 0:
        raise BudgetInvalid(f"{amount!r} is not an amount of money", hint="write dollars as a string, such as '0.10'")
    return int((value * NANO).to_integral_value())


@lru_cache(maxsize=1024)  # the same limits are shown with each step
def show_usd(nano: int) -> str:
    """Dollars for people: two decimals from one dollar up, else three significant digits; only nothing is $0.00."""
    if nano == 0:
        return "$0.00"
    sign, value = ("-" if nano < 0 else ""), abs(nano)
    if value >= NANO:
        dollars, rest = divmod(round(value, -7), NANO)
        return f"{sign}${dollars:,}.{rest // 10**7:02}"
    places = len(str(value))
    dollars, rest = divmod(round(value, 3 - places) if places > 3 else value, NANO)
    return f"{sign}${dollars}.{f'{rest:09}':0<11}"[: len(sign) + 3 + 12 - places]
