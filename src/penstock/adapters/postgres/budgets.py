"""Budgets in the database: the arithmetic is in ``penstock.exchange_shares`` and ``penstock.charge_budgets``
(migration 0022)."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from uuid import UUID

import msgspec

from penstock.adapters.postgres import queries
from penstock.adapters.postgres.database import Database, columns
from penstock.adapters.postgres.rows import numbers
from penstock.kernel.errors import InputInvalid, JournalError, ShareLost
from penstock.ports.budgets import (
    ACCOUNTS_MAX,
    BUDGETS_MAX,
    LIST_MAX,
    OTHER,
    RECALL_US,
    SPREAD,
    UNLIMITED,
    Account,
    AccountKey,
    Ask,
    Budget,
    Exchange,
    Standing,
    Triple,
)
from penstock.ports.records import Batch

_PUT = "SELECT id, anew FROM penstock.put_budget($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"

_KNOWN = "SELECT id FROM penstock.budgets WHERE tenant = $1 AND name = $2"

_REMOVE = """
WITH changed AS (UPDATE penstock.budget_changes SET number = number + 1)
DELETE FROM penstock.budgets WHERE tenant = $1 AND name = $2 RETURNING id"""

# Accounts first: from then on nothing is charged to them.
_DROP = """
WITH gone AS (DELETE FROM penstock.budget_accounts WHERE tenant = $1 AND budget = $2 RETURNING tenant, id)
DELETE FROM penstock.budget_shares s USING gone WHERE s.tenant = gone.tenant AND s.account = gone.id"""

_BUDGETS = """
SELECT tenant, name, match, period, timezone, nano, tokens, calls, at_end, id FROM penstock.budgets
WHERE $1::text IS NULL OR tenant = $1 ORDER BY tenant, name LIMIT $2"""

_CHANGE = "SELECT number FROM penstock.budget_changes"

_OPEN = """
SELECT o.id, o.who
FROM unnest($1::text[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[]) WITH ORDINALITY
    AS k(tenant, budget, who, since, until, number)
CROSS JOIN LATERAL penstock.open_budget_account(
    k.tenant, k.budget, coalesce((SELECT array_agg(w.value ORDER BY w.ordinality)
        FROM json_array_elements_text(k.who::json) WITH ORDINALITY AS w), '{}'), k.since, k.until, $6, $7
) AS o
ORDER BY k.number"""

_EXCHANGE = """
SELECT account, gone, wanted, granted, limits, used, held, change, now_us, alive
FROM penstock.exchange_shares($1, $2, $3, $4::text[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[],
                              $9::boolean[], $10, $11, $12, $13)"""

_ACCOUNTS = """
SELECT a.id, penstock.account_names(b.match, a.who)::text, a.since, a.until,
       a.nano + s.nano, a.tokens + s.tokens, a.calls + s.calls,
       a.held_nano + s.held_nano, a.held_tokens + s.held_tokens, a.held_calls + s.held_calls, a.told
FROM penstock.budgets b
JOIN LATERAL (
    SELECT * FROM penstock.budget_accounts a
    WHERE a.tenant = b.tenant AND a.budget = b.id AND (a.until = 0 OR a.until > $3) AND ($4 = 0 OR a.id < $4)
    ORDER BY a.id DESC LIMIT $5
) AS a ON true
CROSS JOIN LATERAL (
    SELECT coalesce(sum(s.nano), 0)::bigint AS nano, coalesce(sum(s.tokens), 0)::bigint AS tokens,
           coalesce(sum(s.calls), 0)::bigint AS calls, coalesce(sum(s.held_nano), 0)::bigint AS held_nano,
           coalesce(sum(s.held_tokens), 0)::bigint AS held_tokens, coalesce(sum(s.held_calls), 0)::bigint AS held_calls
    FROM penstock.budget_shares s WHERE s.tenant = a.tenant AND s.account = a.id
) AS s
WHERE b.tenant = $1 AND b.name = $2
ORDER BY a.id DESC"""

# The wait first, then the number, in a statement of its own: a change that the number lacks finds the wait.
_WAIT = """
INSERT INTO penstock.budget_waits (tenant, account, run_id, dedup)
SELECT a.tenant, a.id, $3, format('budget:%s:%s:%s', $4::text, a.id, c.number)
FROM penstock.budget_accounts a CROSS JOIN penstock.budget_changes c WHERE a.tenant = $1 AND a.id = $2
ON CONFLICT DO NOTHING"""

_WAITING = """
SELECT w.account, w.run_id, w.dedup FROM penstock.budget_waits w
JOIN penstock.budget_accounts a ON a.tenant = w.tenant AND a.id = w.account
WHERE w.tenant = $1 AND a.budget = $2 ORDER BY w.account, w.run_id LIMIT $3"""

_TOLD = "DELETE FROM penstock.budget_waits WHERE tenant = $1 AND account = $2 AND run_id = $3 AND dedup = $4"

_FORGET = """
WITH old AS MATERIALIZED (
    SELECT a.tenant, a.id FROM penstock.budget_accounts a
    JOIN penstock.budgets b ON b.tenant = a.tenant AND b.id = a.budget
    WHERE ((a.until > 0 AND a.until < $1) OR (b.period = 'run' AND a.touched_at < $1))
      AND a.held_nano = 0 AND a.held_tokens = 0 AND a.held_calls = 0
      AND NOT EXISTS (SELECT FROM penstock.budget_shares s WHERE s.tenant = a.tenant AND s.account = a.id)
    LIMIT $2 FOR UPDATE OF a SKIP LOCKED
), waits AS (
    DELETE FROM penstock.budget_waits w USING old WHERE w.tenant = old.tenant AND w.account = old.id
), gone AS (
    DELETE FROM penstock.budget_accounts a USING old WHERE a.tenant = old.tenant AND a.id = old.id RETURNING true
)
SELECT count(*) FROM gone"""

_WAKE_BATCH = 500
_NOTHING: Triple = (-1, -1, -1)
_encode = msgspec.json.Encoder(order="sorted").encode


class PostgresBudgets:
    """Implements `penstock.ports.budgets.Budgets`; see there. ``tell`` wakes waiting workers."""

    def __init__(self, database: Database, tell: Callable[[], None] = lambda: None) -> None:
        self._database = database
        self._tell = tell

    async def put(self, budget: Budget, actor: str) -> Budget:
        match = _encode(dict(budget.match)).decode()
        known = await self._database.value(_KNOWN, budget.tenant, budget.name)
        row = await self._database.row(
            _PUT,
            budget.tenant,
            budget.name,
            match,
            budget.period,
            budget.timezone,
            *budget.limits,
            budget.at_end,
            actor,
            BUDGETS_MAX,
        )
        assert row is not None
        number, anew = row
        if not number:
            raise InputInvalid(f"there are {BUDGETS_MAX:,} budgets already", hint="remove some")
        if known is not None:
            await self._wake(budget.tenant, known)
            if anew:
                await self._database.fetch(_DROP, budget.tenant, known)
        return replace(budget, id=number)

    async def remove(self, tenant: str, name: str) -> bool:
        number = await self._database.value(_REMOVE, tenant, name)
        if number is None:
            return False
        await self._wake(tenant, number)
        await self._database.fetch(_DROP, tenant, number)
        return True

    async def _wake(self, tenant: str, budget: int) -> None:
        """Tell the runs that wait for a budget. One that dies on the way leaves them to their timers."""
        while True:
            waiting = await self._database.fetch(_WAITING, tenant, budget, _WAKE_BATCH)
            for account, run, dedup in waiting:
                await self._database.value(queries.DELIVER, tenant, run, dedup, "budget", b"")
                await self._database.fetch(_TOLD, tenant, account, run, dedup)
            if waiting:
                self._tell()
            if len(waiting) < _WAKE_BATCH:
                return

    async def budgets(self, tenant: str | None) -> list[Budget]:
        return [
            Budget(row[0], row[1], msgspec.json.decode(row[2], type=dict[str, str]), *row[3:])
            for row in await self._database.fetch(_BUDGETS, tenant, BUDGETS_MAX)
        ]

    async def change(self) -> int:
        number: int = await self._database.value(_CHANGE)
        return number

    async def open(self, keys: Sequence[AccountKey]) -> list[tuple[int, tuple[str, ...]]]:
        rows = [(key.tenant, key.budget, _encode(key.who).decode(), key.since, key.until) for key in keys]
        found = await self._database.fetch(_OPEN, *columns(rows, 5), OTHER, ACCOUNTS_MAX)
        return [(number, tuple(who)) for number, who in found]

    async def exchange(self, holder: UUID, lease_seconds: float, asks: Sequence[Ask], *, fresh: bool) -> Exchange:
        # In the order of accounts: other holders lock the same rows at the same time.
        ordered = sorted(asks, key=lambda ask: ask.account)
        rows = await self._database.fetch(
            _EXCHANGE,
            holder,
            int(lease_seconds * 1e6),
            fresh,
            [ask.tenant for ask in ordered],
            [ask.account for ask in ordered],
            [number for ask in ordered for number in ask.least or _NOTHING],
            [number for ask in ordered for number in (ask.ample if ask.least else _NOTHING)],
            [number for ask in ordered for number in ask.keep or _NOTHING],
            [ask.leave for ask in ordered],
            RECALL_US,
            SPREAD,
            UNLIMITED,
            LIST_MAX,
        )
        head, *rest = rows
        found = [Standing(*row[:3], *(tuple(part) for part in row[3:7])) for row in rest]
        place = {ask.account: number for number, ask in enumerate(asks)}
        found.sort(key=lambda standing: (place.get(standing.account, len(place)), standing.account))
        return Exchange(head[8], alive=head[9], change=head[7], standings=found)

    async def accounts(
        self, tenant: str, name: str, limit: int = 100, *, since: int = 0, after: int = 0
    ) -> list[Account]:
        limit = max(0, min(limit, LIST_MAX))
        return [
            Account(
                row[0], msgspec.json.decode(row[1], type=dict[str, str]), row[2], row[3],
                tuple(row[4:7]), tuple(row[7:10]), row[10],
            )
            for row in await self._database.fetch(_ACCOUNTS, tenant, name, since, after, limit)
        ]  # fmt: skip

    async def wait(self, tenant: str, account: int, run: UUID, path: str) -> int:
        await self._database.fetch(_WAIT, tenant, account, run, path)
        return await self.change()

    async def forget(self, before: int, limit: int) -> int:
        number: int = await self._database.value(_FORGET, before, limit)
        return number


def charge_arguments(batches: Sequence[Batch]) -> list[object]:
    """The last arguments of ``penstock.charge_budgets``. Numbers go as text: the driver need not look at each."""
    of: list[int] = []
    account: list[int] = []
    holder: list[UUID] = []
    amounts: list[str] = []
    before, text, differ = None, "", False
    for number, batch in enumerate(batches, 1):
        for charge in batch.charges:
            of.append(number)
            account.append(charge.account)
            holder.append(charge.holder)
            differ = differ or (charge.holder is not holder[0] and charge.holder != holder[0])
            six = (
                charge.held_nano,
                charge.held_tokens,
                charge.held_calls,
                charge.nano,
                charge.tokens,
                charge.calls,
            )
            if six != before:  # all accounts of one event are charged the same
                before, text = six, ",".join(map(str, six))
            amounts.append(text)
    return [numbers(of), numbers(account), holder if differ else holder[:1], "{" + ",".join(amounts) + "}"]


def refusal(error: JournalError | ValueError) -> JournalError | InputInvalid:
    """Why a batch was refused; what a share does not hold is told apart from what cannot be stored."""
    if not isinstance(error, JournalError):
        return InputInvalid(f"a batch is malformed: {error}")
    if "budget share short" in error.what:
        return ShareLost("what is granted to this process of a budget does not hold the call")
    return error
