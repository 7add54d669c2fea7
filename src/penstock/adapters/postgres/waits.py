"""Waiting in the database: events, the wait-for graph, and what ended runs leave behind."""

from collections.abc import Callable, Sequence
from typing import Final
from uuid import UUID

from penstock.adapters.postgres.database import Database
from penstock.ports.waits import CIRCLE_MOST, Beginning, Begun, Edge, Ended, EventPost, FollowUp, Sent, Wait

TELL_AT_ONCE = 100
"""Waiting runs that one transaction tells of an end; it locks their rows."""

SEND = "SELECT penstock.send_event($1, $2, $3, $4, $5, $6, $7)"

PUBLISH = "SELECT penstock.publish_event($1, $2, $3, $4, $5, $6 * interval '1 second', $7)"

BEGIN = "SELECT answer, circle FROM penstock.begin_held_wait($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"

WITHDRAW = "SELECT penstock.withdraw_held_wait($1, $2, $3, $4, $5, $6)"

GIVE_BACK = "SELECT penstock.give_back_event($1, $2, $3, $4, $5, $6)"

LEAVE_DUTIES = "SELECT penstock.leave_duties($1, $2, $3::uuid[])"

ENDED = """
SELECT r.tenant, r.id, r.agent FROM penstock.runs r WHERE r.follow_up AND r.status = 'ended'
ORDER BY r.tenant, r.id LIMIT $1"""

EXPECTING = """
SELECT EXISTS (SELECT FROM penstock.waits WHERE target IS NOT NULL AND kind IN ('run', 'event'))"""

TELL = "SELECT penstock.tell_waiters($1, $2, $3)"

LEFT = """
SELECT kind, path, name, key, target, matched FROM penstock.waits
WHERE tenant = $1 AND run_id = $2 ORDER BY arrival"""

RETURN_EVENT = "SELECT penstock.return_event($1, $2, $3, $4, $5)"

UNENDED = "SELECT id FROM penstock.runs WHERE tenant = $1 AND id = ANY ($2::uuid[]) AND status <> 'ended' ORDER BY id"

FOLLOWED_UP = """
WITH gone AS (DELETE FROM penstock.waits WHERE tenant = $1 AND run_id = $2)
UPDATE penstock.runs SET follow_up = false
WHERE tenant = $1 AND id = $2 AND status = 'ended' AND follow_up"""

EXPIRE = """
DELETE FROM penstock.published p USING (
    SELECT q.tenant, q.name, q.key, q.dedup FROM penstock.published q
    WHERE q.expires_at <= clock_timestamp() ORDER BY q.expires_at LIMIT $1 FOR UPDATE SKIP LOCKED
) AS old
WHERE (p.tenant, p.name, p.key, p.dedup) = (old.tenant, old.name, old.key, old.dedup)
RETURNING true"""

WAIT_EDGES = """
SELECT w.run_id, w.target, w.kind, w.name, w.until FROM penstock.waits w
JOIN penstock.runs r ON r.tenant = w.tenant AND r.id = w.run_id AND r.status <> 'ended'
WHERE w.tenant = $1 AND w.target IS NOT NULL AND w.kind IN ('run', 'event')
ORDER BY w.run_id DESC, w.path LIMIT $2"""

CHILD_EDGES = """
SELECT c.parent, c.id, 'child', c.agent, 0::bigint FROM penstock.runs c
WHERE c.tenant = $1 AND c.status <> 'ended' AND c.parent IS NOT NULL
ORDER BY c.id DESC LIMIT $2"""

SESSION_EDGES = """
SELECT q.id, h.id, 'session', q.session, 0::bigint FROM penstock.runs q
CROSS JOIN LATERAL penstock.session_holders(q.tenant, q.session, q.id) AS h(id)
WHERE q.tenant = $1 AND q.session <> '' AND q.status <> 'ended' AND q.turn = 2
ORDER BY q.id DESC LIMIT $2"""

_SENT: Final = {1: Sent.DELIVERED, 0: Sent.KNOWN, -1: Sent.ABSENT, -2: Sent.FULL, -3: Sent.BEHIND}


class PostgresWaits:
    """Implements `penstock.ports.waits.Waits`. ``tell`` makes it known that something may have become due."""

    def __init__(self, database: Database, tell: Callable[[], None]) -> None:
        self._database = database
        self._tell = tell

    async def send(self, event: EventPost, most: int) -> Sent:
        answer = await self._database.value(
            SEND, event.tenant, event.run, event.dedup, event.name, event.sender, event.body, most
        )
        self._tell()
        return _SENT[answer]

    async def publish(self, event: EventPost, most: int, keep_seconds: float) -> Sent:
        answer = await self._database.value(
            PUBLISH, event.tenant, event.name, event.key, event.dedup, event.body, keep_seconds, most
        )
        self._tell()
        return _SENT[answer]

    async def begin(self, wait: Wait) -> Beginning:
        row = await self._database.row(
            BEGIN,
            wait.epoch,
            wait.tenant,
            wait.run,
            wait.path,
            wait.kind,
            wait.name,
            wait.key,
            wait.target,
            wait.alone,
            wait.until,
            CIRCLE_MOST,
        )
        assert row is not None
        return Beginning(Begun(row[0]), list(row[1] or []))

    async def withdraw(self, wait: Wait) -> bool:
        return bool(await self._database.value(WITHDRAW, *_held(wait)))

    async def give_back(self, wait: Wait) -> None:
        await self._database.fetch(GIVE_BACK, *_held(wait))
        self._tell()

    async def leave_duties(self, tenant: str, run: UUID, children: Sequence[UUID]) -> None:
        await self._database.fetch(LEAVE_DUTIES, tenant, run, list(children))

    async def follow_up(self, limit: int) -> FollowUp:
        ended = []
        for tenant, run, agent in await self._database.fetch(ENDED, limit):
            while await self._database.value(TELL, tenant, run, TELL_AT_ONCE) == TELL_AT_ONCE:
                self._tell()
            children = []
            for kind, path, name, key, target, matched in await self._database.fetch(LEFT, tenant, run):
                if kind == "duty":
                    children.append(target)
                elif matched:
                    await self._database.fetch(RETURN_EVENT, tenant, run, path, name, key)
            if children:
                children = [row[0] for row in await self._database.fetch(UNENDED, tenant, children)]
            ended.append(Ended(tenant, run, agent, children))
        if ended:
            self._tell()
        return FollowUp(ended, bool(await self._database.value(EXPECTING)))

    async def followed_up(self, tenant: str, run: UUID) -> None:
        await self._database.fetch(FOLLOWED_UP, tenant, run)

    async def expire(self, limit: int) -> int:
        return len(await self._database.fetch(EXPIRE, limit))

    async def edges(self, tenant: str, limit: int) -> list[Edge]:
        found = []
        for query in (WAIT_EDGES, CHILD_EDGES, SESSION_EDGES):
            found += [Edge(*row) for row in await self._database.fetch(query, tenant, limit)]
        return found


def _held(wait: Wait) -> tuple[int, str, UUID, str, str, str]:
    return wait.epoch, wait.tenant, wait.run, wait.path, wait.name, wait.key
