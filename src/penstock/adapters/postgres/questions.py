"""Questions to people in PostgreSQL. What decides is in ``migrations/0016_lists.sql`` and
``0029_approvals.sql``."""

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import msgspec

from penstock.adapters.postgres import rows
from penstock.adapters.postgres.cases import PostgresCases
from penstock.adapters.postgres.database import Database
from penstock.adapters.postgres.notices import PostgresNotices
from penstock.adapters.postgres.people import PostgresPeople
from penstock.adapters.postgres.queries import RUN_COLUMNS
from penstock.kernel.errors import RunUnknown
from penstock.ports.questions import DECISIONS_KEPT, PAGE_MAX, Asking, Ballot, Decided, Verdict, Vote, Voter
from penstock.ports.records import Post, RunRow

# As the index of questions is declared: only then is it used.
_ASKS = """status <> 'ended'
  AND (position('"kind":"approval"'::bytea IN waiting) > 0 OR position('"kind":"doubt"'::bytea IN waiting) > 0)"""

_ASKING = f"""
SELECT penstock.first_question(waiting), {RUN_COLUMNS} FROM penstock.runs
WHERE tenant = $1 AND {_ASKS} AND (penstock.first_question(waiting), id) > ($2, $3)
ORDER BY penstock.first_question(waiting), id LIMIT $4"""  # noqa: S608 - made of constants

_ASKED_BY = f"""
SELECT {RUN_COLUMNS} FROM penstock.runs
WHERE tenant = $1 AND {_ASKS} AND penstock.first_question(waiting) > 0
  AND position(convert_to($2, 'UTF8') IN waiting) > 0
LIMIT 1"""  # noqa: S608 - made of constants

_DECIDE = """
SELECT answer, decision, actor, at_us FROM penstock.decide(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::float8::real, $12, $13, $14, $15
)"""

_VOTE = """
SELECT result, decision, actor, at_us, holder FROM penstock.vote(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::float8::real, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21
)"""
_VOTES = """
SELECT tenant, approval, run_id, voter, people, at FROM penstock.votes
WHERE tenant = $1 AND approval = ANY ($2::text[]) ORDER BY at, actor"""

_TIDY = (
    """
DELETE FROM penstock.votes v WHERE v.ctid = ANY (ARRAY(
    SELECT o.ctid FROM penstock.votes o LEFT JOIN penstock.runs r ON r.tenant = o.tenant AND r.id = o.run_id
    WHERE (r.id IS NULL OR r.status = 'ended') AND $1::bigint >= 0 LIMIT $2
)) RETURNING 1""",
    """
DELETE FROM penstock.cases c WHERE c.ctid = ANY (ARRAY(
    SELECT o.ctid FROM penstock.cases o LEFT JOIN penstock.runs r ON r.tenant = o.tenant AND r.id = o.run_id
    WHERE (r.id IS NULL OR (r.status = 'ended' AND (r.outcome <> 'escalated' OR o.closed_at > 0)))
      AND greatest(o.until, o.closed_at, o.due) < penstock.now_us() - $1::bigint LIMIT $2
)) RETURNING 1""",
    """
DELETE FROM penstock.delegations d WHERE d.ctid = ANY (ARRAY(
    SELECT o.ctid FROM penstock.delegations o WHERE o.until < penstock.now_us() - $1::bigint LIMIT $2
)) RETURNING 1""",
)

_COLUMNS = """
    tenant, approval, run_id, agent, tool, question, decision, actor, subject, args, reason, asked_at,
    seen::float8, penstock.to_us(at)"""

_DECIDED = f"SELECT {_COLUMNS} FROM penstock.decisions WHERE tenant = $1 AND approval = $2"  # noqa: S608 - constants

_LIKE = f"""
SELECT {_COLUMNS} FROM penstock.decisions
WHERE tenant = $1 AND agent = $2 AND tool = $3 AND question = $4 ORDER BY at DESC LIMIT $5"""  # noqa: S608 - constants


# As `penstock.decide` remembers and forgets. One statement sees what was there before it: the new row is one more.
_EXPIRED = """
WITH kept AS (
    INSERT INTO penstock.decisions (
        tenant, approval, run_id, agent, tool, question, decision, actor, asked_at, seen, subject, args
    ) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, $10, $11)
    ON CONFLICT DO NOTHING
    RETURNING 1
)
DELETE FROM penstock.decisions d
WHERE d.tenant = $1 AND d.agent = $4 AND d.tool = $5 AND d.question = $6 AND EXISTS (SELECT FROM kept)
  AND d.at <= (
      SELECT x.at FROM penstock.decisions x
      WHERE x.tenant = $1 AND x.agent = $4 AND x.tool = $5 AND x.question = $6
      ORDER BY x.at DESC OFFSET $12 LIMIT 1
  )"""


class PostgresQuestions:
    """Implements `penstock.ports.questions.Questions`; see there."""

    def __init__(self, database: Database, tell: Callable[[], None]) -> None:
        self._database = database
        self._tell = tell
        self.people = PostgresPeople(database)
        self.cases = PostgresCases(database)
        self.notices = PostgresNotices(database)

    async def asking(self, tenant: str, after: tuple[int, UUID] | None, limit: int) -> list[Asking]:
        ends, run = after or (0, UUID(int=0))
        found = await self._database.fetch(_ASKING, tenant, ends, run, min(limit, PAGE_MAX))
        return [Asking(record[0], rows.run_row(record[1:])) for record in found]

    async def asked_by(self, tenant: str, approval: str) -> RunRow | None:
        record = await self._database.row(_ASKED_BY, tenant, f'"id":"{approval}"')
        return None if record is None else rows.run_row(record)

    async def decide(self, post: Post, decided: Decided) -> Verdict:
        record = await self._database.row(
            _DECIDE,
            *_arguments(post, decided),
        )
        assert record is not None
        answer, decision, actor, at = record
        if answer < 0 and decision is None:
            raise RunUnknown(f"there is no run {post.run} for tenant {post.tenant!r}, or it has ended")
        if answer == 1:
            self._tell()
        return Verdict(answer == 1, decision or "", actor or "", at or 0)

    async def vote(
        self, post: Post, decided: Decided, vote: Vote, letter: Post, needed: int, void: Sequence[str] = ()
    ) -> Ballot:
        record = await self._database.row(
            _VOTE,
            *_arguments(post, decided),
            list(vote.people),
            msgspec.json.encode(vote.voter),
            letter.dedup,
            letter.body,
            needed,
            list(void),
        )
        assert record is not None
        answer, decision, actor, at, holder = record
        if answer == "unknown":
            raise RunUnknown(f"there is no run {post.run} for tenant {post.tenant!r}, or it has ended")
        if answer in ("counts", "kept"):
            self._tell()
        votes = (await self.votes(post.tenant, [decided.approval])).get(decided.approval, [])
        known = Verdict(answer == "counts", decision or "", actor or "", at or 0)
        return Ballot(answer, tuple(votes), known if answer in ("counts", "late") else None, holder or "")

    async def tidy(self, keep_seconds: float, limit: int) -> int:
        found = [await self._database.fetch(query, int(keep_seconds * 1e6), limit) for query in _TIDY]
        return sum(map(len, found))

    async def votes(self, tenant: str, approvals: Sequence[str]) -> dict[str, list[Vote]]:
        found: dict[str, list[Vote]] = {}
        for of, approval, run, voter, people, at in await self._database.fetch(_VOTES, tenant, list(approvals)):
            said = msgspec.json.decode(voter, type=Voter)
            found.setdefault(approval, []).append(Vote(of, approval, run, said, tuple(people), at))
        return found

    async def expired(self, decided: Decided) -> None:
        await self._database.fetch(
            _EXPIRED,
            decided.tenant,
            decided.approval,
            decided.run,
            decided.agent,
            decided.tool,
            decided.question,
            decided.decision,
            decided.actor,
            decided.asked_at,
            decided.subject,
            decided.args,
            DECISIONS_KEPT - 1,
        )

    async def decided(self, tenant: str, approval: str) -> Decided | None:
        record = await self._database.row(_DECIDED, tenant, approval)
        return None if record is None else _decided(record)

    async def like(self, tenant: str, agent: str, tool: str, question: str, limit: int) -> list[Decided]:
        found = await self._database.fetch(_LIKE, tenant, agent, tool, question, min(limit, DECISIONS_KEPT))
        return [_decided(record) for record in found]


def _decided(record: Sequence[Any]) -> Decided:
    return Decided(*record)


def _arguments(post: Post, decided: Decided) -> tuple[object, ...]:
    """What ``penstock.decide`` and ``penstock.vote`` take alike: where the letter goes, and what is kept of it."""
    return (
        post.tenant,
        post.run,
        decided.approval,
        post.body,
        decided.agent,
        decided.tool,
        decided.question,
        decided.decision,
        decided.actor,
        decided.asked_at,
        decided.seen_seconds,
        decided.subject,
        decided.args,
        decided.reason,
        DECISIONS_KEPT,
    )
