"""The bank's tools as the agents see them, each with its declared effect, risk, way of settling doubt and bounds."""

from typing import Annotated, Any

from pydantic import Field

from penstock.agents.tool import Tool, tool
from penstock.demo.bank import Bank
from penstock.events import Change
from penstock.ports.tools import IdempotencyKey

REFUND_MAX_CENTS = 20_000
LIMIT_MAX = 100

CustomerId = Annotated[str, Field(min_length=1, max_length=64, description="As in the first line of the message.")]
Reason = Annotated[str, Field(max_length=500)]


def own_records(args: dict[str, Any]) -> str | None:
    """A card or transaction belongs to the customer of the case: the bank's identifiers begin with their customer."""
    for name in ("transaction_id", "card_id"):
        record = args.get(name)
        if record is not None and not record.startswith(f"{args['customer_id']}-"):
            return f"{name} is not one of customer {args['customer_id']}"
    return None


def within_refund_bounds(args: dict[str, Any]) -> str | None:
    """A refund is at least one cent and at most what an agent may propose at all."""
    cents = args["amount_cents"]
    if not 1 <= cents <= REFUND_MAX_CENTS:
        return f"amount_cents is {cents}; an agent may propose 1 to {REFUND_MAX_CENTS}"
    return None


class BankTools:
    """The tools over one bank. ``calls`` counts those that reached the bank."""

    def __init__(self, bank: Bank) -> None:
        self._bank = bank
        self.calls = 0

    def all(self) -> list[Tool[Any, Any]]:
        """The tools in the order in which models see them."""
        bounds = [own_records, within_refund_bounds]
        return [
            tool(effect="read")(self.get_account),
            tool(effect="read")(self.list_transactions),
            tool(effect="read")(self.search_help),
            tool(effect="write", permission="auto", in_doubt="keyed")(self.send_reply),
            tool(effect="write", permission="auto", in_doubt="idempotent", validate=[own_records])(self.freeze_card),
            tool(
                effect="write",
                risk="high",
                in_doubt="keyed",
                validate=bounds,
                timeout_seconds=3,
                preview=self.refund_changes,
            )(self.refund),
            tool(effect="write", risk="prohibited")(self.close_account),
        ]

    async def get_account(self, customer_id: CustomerId) -> dict[str, Any]:
        """The customer's account: balance, status and cards."""
        self.calls += 1
        return await self._bank.get_account(customer_id)

    async def list_transactions(
        self, customer_id: CustomerId, limit: Annotated[int, Field(ge=1, le=LIMIT_MAX)] = 20
    ) -> dict[str, Any]:
        """The customer's latest transactions, newest first. Amounts are in cents, negative when money left."""
        self.calls += 1
        return await self._bank.list_transactions(customer_id, limit)

    async def search_help(self, query: Annotated[str, Field(min_length=1, max_length=500)]) -> dict[str, Any]:
        """The bank's help pages that match a few words best."""
        self.calls += 1
        return await self._bank.search_help(query)

    async def send_reply(
        self,
        customer_id: CustomerId,
        text: Annotated[str, Field(min_length=1, max_length=5000)],
        *,
        key: IdempotencyKey,
    ) -> dict[str, Any]:
        """Send the reply to the customer. Once for each case."""
        self.calls += 1
        return await self._bank.send_reply(customer_id, text, key)

    async def freeze_card(self, customer_id: CustomerId, card_id: str) -> dict[str, Any]:
        """Freeze a card so that nobody can pay with it. The customer can thaw it in the app."""
        self.calls += 1
        return await self._bank.freeze_card(customer_id, card_id)

    async def refund(
        self, customer_id: CustomerId, transaction_id: str, amount_cents: int, reason: Reason, *, key: IdempotencyKey
    ) -> dict[str, Any]:
        """Pay back a transaction or a part of it. Only what is owed."""
        self.calls += 1
        return await self._bank.refund(customer_id, transaction_id, amount_cents, reason, key)

    async def refund_changes(self, customer_id: str, transaction_id: str, amount_cents: int) -> list[Change]:
        """What a refund would change, for the person who decides on it."""
        now = await self._bank.before_refund(customer_id, transaction_id)
        what = f"{now.description} of {now.day} ({_euros(now.amount_cents)}): paid back"
        paid = now.paid_back_cents
        return [
            Change(what, _euros(paid), _euros(paid + amount_cents)),
            Change("balance of the account", _euros(now.balance_cents), _euros(now.balance_cents + amount_cents)),
        ]

    async def close_account(self, customer_id: CustomerId) -> dict[str, Any]:
        """Close the customer's account for good."""
        self.calls += 1
        return await self._bank.close_account(customer_id)

    async def replies_sent(self, customer_id: CustomerId) -> int:
        """How many replies the customer was sent. For the desk itself, not for its model."""
        return await self._bank.count(customer_id, "reply")


def _euros(cents: int) -> str:
    return f"{'-' if cents < 0 else ''}€{abs(cents) // 100:,}.{abs(cents) % 100:02d}"
