"""What calls would have cost at corrected prices, beside what they were billed at.

Nothing that was recorded changes: the figures that budgets were held to stay what they were. What is read here is kept
with both prices, so that a correction given to a customer can be shown again.
"""

from collections.abc import Mapping
from uuid import UUID

import msgspec

from penstock.journal.calls import PaidCall
from penstock.kernel.clock import Clock
from penstock.kernel.ids import new_id
from penstock.ports.journal import Journal
from penstock.ports.price import Price
from penstock.views.paid_calls import Looked, paid_calls

PRICES_MAX = 50
"""Different prices as billed that one record names."""
KEPT_SHOWN = 100


class RerateRow(msgspec.Struct):
    """One customer. ``kept``: of ``billed``, what cannot be rated anew (charged at the maximum, or without usage): it
    stays in ``corrected`` as it was."""

    customer: str
    calls: int = 0
    billed: int = 0
    corrected: int = 0
    kept: int = 0

    @property
    def difference(self) -> int:
        """Corrected less billed, nano-dollars."""
        return self.corrected - self.billed


class Rerate(msgspec.Struct, omit_defaults=True):
    """A re-rating. Money in nano-dollars, times in microseconds since the epoch; prices as `Price.text` writes them."""

    id: UUID
    at: int
    model: str
    since: int
    until: int
    price: str
    before: dict[str, int] = {}  # calls by the price that they were billed at
    rows: list[RerateRow] = []
    partial: bool = False
    pruned: int = 0  # runs whose records are gone
    reason: str = ""

    @property
    def billed(self) -> int:
        """All customers' money as it was billed."""
        return sum(row.billed for row in self.rows)

    @property
    def corrected(self) -> int:
        """All customers' money at the corrected price."""
        return sum(row.corrected for row in self.rows)


async def rerate(
    journal: Journal,
    clock: Clock,
    tenant: str,
    model: str,
    price: Price,
    since: int,
    until: int,
    *,
    reason: str = "",
    keep: bool = True,
) -> Rerate:
    """Rate a model's calls of a stretch of time anew; ``keep``: store what came of it.

    Raises:
        JournalError: the store cannot be reached.
    """
    looked = Looked()
    rows: dict[str, RerateRow] = {}
    before: dict[str, int] = {}
    async for found in paid_calls(journal, tenant, since, until, looked):
        customer = found.run.tags.get("customer", "")
        for call in found.calls:
            if call.model == model:
                _add(rows.setdefault(customer, RerateRow(customer)), call, price)
                name = call.price if call.price in before or len(before) < PRICES_MAX else "*"
                before[name] = before.get(name, 0) + 1
    made = Rerate(
        id=new_id(clock),
        at=await journal.now(),
        model=model,
        since=since,
        until=until,
        price=price.text,
        before=before,
        rows=sorted(rows.values(), key=lambda row: (-abs(row.difference), row.customer)),
        partial=looked.partial,
        pruned=looked.pruned,
        reason=reason,
    )
    if keep:
        await journal.usage.put_rerate(tenant, made.id, made.at, msgspec.json.encode(made))
    return made


async def rerates(journal: Journal, tenant: str, limit: int = KEPT_SHOWN) -> list[Rerate]:
    """Re-ratings that were kept, the newest first."""
    return [msgspec.json.decode(body, type=Rerate) for body in await journal.usage.rerates(tenant, limit)]


def differences(made: Rerate) -> Mapping[str, int]:
    """By customer, corrected less billed; of those for whom it makes one."""
    return {row.customer: row.difference for row in made.rows if row.difference}


def _add(row: RerateRow, call: PaidCall, price: Price) -> None:
    row.calls += 1
    row.billed += call.used.nano
    is_known = not call.at_maximum and (call.used.tokens_in > 0 or call.used.nano == 0)
    nano = price.rate(call.used) if is_known and call.kind != "cached" else None
    if nano is None:
        row.kept += call.used.nano
        nano = call.used.nano
    row.corrected += nano
