"""A small bank in PostgreSQL, schema ``penstock_demo_bank``: what the demo's agents read and change.

It is on its own: it knows nothing of Penstock, and it does what it is asked. Like most internal services it trusts its
caller on business rules; only keys protect it from repeats. Each effect is one statement that also counts itself.
"""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Any, Self

import asyncpg

from penstock.demo import bank_effects as effects
from penstock.demo.situations import Situation, Transaction

SCHEMA = "penstock_demo_bank"
_KEEP = "1 day"  # worlds of earlier demos, for whoever wants to look at them
_LOCK = 0x70656E_62616E6B  # "pen", "bank": two demos that start at once make the schema one after the other


class BankRefused(Exception):
    """The bank did not do what it was asked; nothing changed. The words may go to the model."""


@dataclasses.dataclass(frozen=True, slots=True)
class CustomerLedger:
    """What happened to one customer. ``counts``: the bank's own counters; ``refunds``: (transaction, cents)."""

    ticket: int
    counts: dict[str, int]
    refunds: tuple[tuple[str, int], ...]
    frozen: tuple[str, ...]
    closed: bool


@dataclasses.dataclass(frozen=True, slots=True)
class BeforeRefund:
    """A transaction and its account as they stand. ``amount_cents`` is negative when money left."""

    description: str
    day: str
    amount_cents: int
    balance_cents: int
    paid_back_cents: int


class Bank:
    """The bank behind a pool of connections. Make it with `open`; close it after use."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._pool = pool

    @classmethod
    async def open(cls, dsn: str, *, connections: int = 8) -> Self:
        """Connect; make the schema and the help pages where they are missing; drop worlds older than a day."""
        pool = await asyncpg.create_pool(
            dsn, min_size=1, max_size=connections, server_settings={"search_path": SCHEMA}, command_timeout=60
        )
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
            await connection.execute("SET LOCAL client_min_messages = warning")
            await connection.execute((files("penstock") / "demo" / "bank_schema.sql").read_text())
            await _write_help(connection)
            await connection.execute("DELETE FROM customers WHERE made_at < now() - $1::text::interval", _KEEP)
        return cls(pool)

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.close()

    async def found(self, world: str, situations: Sequence[Situation]) -> None:
        """Open a world with these customers; the ticket number of each is its place in the sequence."""
        async with self._pool.acquire() as connection, connection.transaction():
            for table, columns, records in _tables(world, situations):
                await connection.copy_records_to_table(table, schema_name=SCHEMA, columns=columns, records=records)

    async def get_account(self, customer_id: str) -> dict[str, Any]:
        """A customer's account and cards.

        Raises:
            BankRefused: no such customer.
        """
        account = await self._pool.fetchrow("SELECT * FROM accounts WHERE customer_id = $1", customer_id)
        if account is None:
            raise BankRefused(f"there is no customer {customer_id}")
        cards = await self._pool.fetch(
            "SELECT card_id, kind, last4, status FROM cards WHERE customer_id = $1 ORDER BY position", customer_id
        )
        return {
            "customer_id": customer_id,
            "currency": account["currency"],
            "balance_cents": account["balance_cents"],
            "status": account["status"],
            "cards": [dict(card) for card in cards],
        }

    async def list_transactions(self, customer_id: str, limit: int) -> dict[str, Any]:
        """The latest ``limit`` transactions, newest first.

        Raises:
            BankRefused: no such customer.
        """
        rows = await self._pool.fetch(
            "SELECT transaction_id, day::text, kind, description, amount_cents, status, card_id, dispensed_cents, note"
            " FROM transactions WHERE customer_id = $1 ORDER BY position LIMIT $2",
            customer_id,
            limit,
        )
        if not rows and not await self._pool.fetchval("SELECT 1 FROM customers WHERE customer_id = $1", customer_id):
            raise BankRefused(f"there is no customer {customer_id}")
        return {"transactions": [{key: value for key, value in row.items() if value not in (None, "")} for row in rows]}

    async def search_help(self, query: str) -> dict[str, Any]:
        """The two help pages that match a query best, by PostgreSQL's text search; any of its words may match."""
        rows = await self._pool.fetch(
            "WITH asked AS (SELECT replace(plainto_tsquery('english', $1)::text, '&', '|')::tsquery AS any_word)"
            " SELECT title, body AS text FROM help_articles, asked WHERE words @@ any_word"
            " ORDER BY ts_rank(words, any_word, 1) DESC, slug LIMIT 2",
            query,
        )
        return {"articles": [dict(row) for row in rows]}

    async def send_reply(self, customer_id: str, body: str, key: str) -> dict[str, Any]:
        """Send a reply to the customer; a repeat with the same key sends nothing.

        Raises:
            BankRefused: no such customer.
        """
        return await self._effect(effects.SEND_REPLY, customer_id, body, key)

    async def freeze_card(self, customer_id: str, card_id: str) -> dict[str, Any]:
        """Freeze a card; freezing a frozen card changes nothing.

        Raises:
            BankRefused: the customer has no such card.
        """
        return await self._effect(effects.FREEZE_CARD, customer_id, card_id)

    async def refund(
        self, customer_id: str, transaction_id: str, amount_cents: int, reason: str, key: str
    ) -> dict[str, Any]:
        """Pay money back to the customer's account; a repeat with the same key pays nothing.

        Raises:
            BankRefused: the customer has no such transaction, or the amount is not positive.
        """
        if amount_cents <= 0:
            raise BankRefused(f"{amount_cents} cents cannot be refunded")
        return await self._effect(effects.REFUND, customer_id, transaction_id, amount_cents, reason, key)

    async def before_refund(self, customer_id: str, transaction_id: str) -> BeforeRefund:
        """What a refund of that transaction would find.

        Raises:
            BankRefused: the customer has no such transaction.
        """
        row = await self._pool.fetchrow(
            "SELECT t.description, t.day::text, t.amount_cents, a.balance_cents, coalesce((SELECT sum(r.amount_cents)"
            " FROM refunds r WHERE r.customer_id = $1 AND r.transaction_id = $2), 0)::bigint AS paid_back_cents"
            " FROM transactions t JOIN accounts a USING (customer_id)"
            " WHERE t.customer_id = $1 AND t.transaction_id = $2",
            customer_id,
            transaction_id,
        )
        if row is None:
            raise BankRefused(f"customer {customer_id} has no transaction {transaction_id}")
        return BeforeRefund(**row)

    async def refunded(self, key: str) -> bool:
        """Whether a refund with that key was paid."""
        return bool(await self._pool.fetchval("SELECT 1 FROM refunds WHERE key = $1", key))

    async def close_account(self, customer_id: str) -> dict[str, Any]:
        """Close an account for good.

        Raises:
            BankRefused: no such customer.
        """
        return await self._effect(effects.CLOSE_ACCOUNT, customer_id)

    async def count(self, customer_id: str, effect: str) -> int:
        """How often an effect happened to a customer: reply, freeze, refund or closure."""
        found: int = await self._pool.fetchval(
            "SELECT coalesce(sum(n), 0)::int FROM counters WHERE customer_id = $1 AND effect = $2", customer_id, effect
        )
        return found

    async def ledger(self, world: str) -> list[CustomerLedger]:
        """What happened to each customer of a world, by ticket number: for the judge."""
        rows = await self._pool.fetch(effects.LEDGER, world)
        return [
            CustomerLedger(
                ticket=row["ticket"],
                counts=json.loads(row["counts"]),
                refunds=tuple((item["transaction"], item["cents"]) for item in json.loads(row["refunds"])),
                frozen=tuple(row["frozen"]),
                closed=row["closed"],
            )
            for row in rows
        ]

    async def _effect(self, statement: str, *args: object) -> dict[str, Any]:
        known, done = await self._pool.fetchrow(statement, *args)
        if not known:
            raise BankRefused(f"there is no such record: {', '.join(map(str, args[:2]))}")
        return {"status": "done" if done else "was done before"}


def _tables(
    world: str, situations: Sequence[Situation]
) -> Iterable[tuple[str, tuple[str, ...], list[tuple[object, ...]]]]:
    yield (
        "customers",
        ("customer_id", "world", "ticket"),
        [(one.customer_id, world, number) for number, one in enumerate(situations)],
    )
    yield (
        "accounts",
        ("customer_id", "balance_cents"),
        [(one.customer_id, one.balance_cents) for one in situations],
    )
    yield (
        "cards",
        ("card_id", "customer_id", "position", "kind", "last4"),
        [
            (card.card_id, one.customer_id, position, card.kind, card.last4)
            for one in situations
            for position, card in enumerate(one.cards)
        ],
    )
    columns = tuple(entry.name for entry in dataclasses.fields(Transaction))
    yield (
        "transactions",
        ("customer_id", "position", *columns),
        [
            (one.customer_id, position, *(getattr(row, column) for column in columns))
            for one in situations
            for position, row in enumerate(one.transactions)
        ],
    )


async def _write_help(connection: "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]") -> None:
    articles = json.loads((files("penstock") / "data" / "demo_bank" / "help.json").read_text(encoding="utf-8"))
    await connection.executemany(
        "INSERT INTO help_articles (slug, title, body, words) VALUES ($1, $2, $3,"
        " setweight(to_tsvector('english', $2), 'A') || setweight(to_tsvector('english', $3), 'C'))"
        " ON CONFLICT (slug) DO UPDATE SET title = excluded.title, body = excluded.body, words = excluded.words",
        [(article["slug"], article["title"], article["text"]) for article in articles],
    )
