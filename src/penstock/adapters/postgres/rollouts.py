"""Managed releases in the database: what must hold together is in the functions of migrations 0028 and 0032."""

from collections.abc import Sequence
from datetime import timedelta

from penstock.adapters.postgres.database import Database
from penstock.kernel.errors import InputInvalid
from penstock.kernel.ids import first_id_at
from penstock.ports.documents import PRUNE_AT_ONCE
from penstock.ports.rollouts import (
    IDLE_SECONDS,
    OFFERED_MAX,
    PAGE_MAX,
    RELEASES_MAX,
    ROUTES_MAX,
    TALLIED_MAX,
    TOOLS_MAX,
    Accepted,
    Back,
    BackAnswer,
    Boundary,
    Move,
    Refusal,
    Release,
    Route,
    SignedStatement,
    Step,
    Tally,
    View,
)

FAMILY_US = 30 * 86_400 * 1_000_000
"""A child's id is of its parent's time: how long before a release was drafted its runs' parents may begin."""

_RELEASE = """tenant, id, agent, manifest, signature, key, author, state, share, approved_by,
       penstock.to_us(drafted_at), penstock.to_us(at)"""
_ADD = "SELECT penstock.add_release($1, $2, $3, $4, $5, $6, $7, $8, $9)"
_GET = f"SELECT {_RELEASE} FROM penstock.managed_releases WHERE tenant = $1 AND id = $2"  # noqa: S608 - columns
_FIND = """
SELECT id FROM penstock.managed_releases WHERE tenant = $1 AND id >= $2 AND id < $2 || 'g' ORDER BY id LIMIT $3"""
_PAGE = f"""
SELECT {_RELEASE} FROM penstock.managed_releases
WHERE tenant = $1 AND ($2::text IS NULL OR agent = $2)
  AND ($3::bigint IS NULL OR (drafted_at, id) < (penstock.from_us($3), $4::text))
ORDER BY drafted_at DESC, id DESC LIMIT $5"""  # noqa: S608 - columns
_STEPS = """
SELECT release, number, penstock.to_us(at), state, share, actor, reason FROM penstock.release_steps
WHERE tenant = $1 AND release = $2 ORDER BY number LIMIT $3"""
_ROUTE_OF = "tenant, agent, number, live, canary, share, previous"
_ROUTE = f"SELECT {_ROUTE_OF} FROM penstock.release_routes WHERE tenant = $1 AND agent = $2"  # noqa: S608 - columns
_CHANGE = """
SELECT penstock.change_route($1, $2, $3, $4, $5, $6, $7, $8::text[], $9::text[], $10::text[], $11::integer[],
                             $12::text[], $13::text[], $14::text[])"""
_CHANGE_SIGNED = """
SELECT penstock.change_route_signed($1, $2, $3, $4, $5, $6, $7, $8::text[], $9::text[], $10::text[], $11::integer[],
                                    $12::text[], $13::text[], $14::text[], $15, $16, $17, $18)"""
_STATEMENTS = """
SELECT tenant, agent, number, body, key, signature FROM penstock.release_statements
WHERE tenant = $1 AND agent = $2 AND number > $3 ORDER BY number LIMIT $4"""
_VERSION = "SELECT version FROM penstock.rollout_version"
_WITH_HEADS = """
SELECT tenant, agent, coalesce(r.number, 0), coalesce(r.live, ''), coalesce(r.canary, ''), coalesce(r.share, 0),
       coalesce(r.previous, ''), coalesce(s.head, 0)
FROM penstock.release_routes r
FULL JOIN (
    SELECT tenant, agent, max(number) AS head FROM penstock.release_statements GROUP BY tenant, agent
) s USING (tenant, agent)"""  # of one moment: one statement
_ROUTES = f"{_WITH_HEADS} ORDER BY tenant, agent LIMIT $1"
_HEAD = f"{_WITH_HEADS} WHERE tenant = $1 AND agent = $2"
_OFFERED = f"""
SELECT {_RELEASE} FROM penstock.managed_releases m
WHERE (state IN ('canary', 'live', 'retired', 'rolled_back') AND NOT idle) OR EXISTS (
    SELECT FROM penstock.release_routes r WHERE r.tenant = m.tenant AND r.agent = m.agent AND r.previous = m.id
)
ORDER BY state IN ('canary', 'live') DESC, at DESC, id LIMIT $1"""  # noqa: S608 - columns
_ACCEPTED = """
SELECT tenant, tool, digest, penstock.to_us(at), actor, reason, key, signature FROM penstock.accepted_tools
ORDER BY tenant, tool, digest LIMIT $1"""
_SWEEP = "SELECT penstock.sweep_releases($1)"
_ACCEPT = "SELECT penstock.accept_tool_signed($1, $2, $3, $4, $5, $6, penstock.from_us($7), $8, $9)"
_REFUSE = "SELECT penstock.refuse_releases($1, $2::text[], $3::text[])"
_REFUSALS = """
SELECT r.worker, r.release, r.why, penstock.to_us(r.at) FROM penstock.release_refusals r
WHERE r.release = $1
  AND EXISTS (SELECT FROM penstock.workers w WHERE w.name = r.worker AND w.lease_until > clock_timestamp())
ORDER BY r.worker LIMIT $2"""
_WRITTEN = (
    "SELECT kind, name, first, latest, others, pruned_to FROM penstock.written_by_release($1, $2, $3, $4, $5, $6)"
)
_TALLIES = """
WITH picked AS (
    (SELECT release, outcome, nano, tokens, steps, tool_calls, ended_at - created_at AS took
     FROM penstock.runs WHERE tenant = $1 AND agent = $2 AND status = 'ended' AND pruned_at IS NULL AND id >= $3
     ORDER BY id DESC LIMIT $4)
    UNION ALL
    (SELECT release, '', nano, tokens, steps, tool_calls, NULL
     FROM penstock.runs WHERE tenant = $1 AND agent = $2 AND status <> 'ended' AND id >= $3
     ORDER BY id DESC LIMIT $4)
)
SELECT release, outcome, count(*), sum(nano)::bigint, sum(tokens)::bigint, sum(steps)::bigint, sum(tool_calls)::bigint,
       coalesce((extract(epoch FROM percentile_disc(0.5) WITHIN GROUP (ORDER BY took)) * 1000000)::bigint, 0)
FROM picked GROUP BY release, outcome ORDER BY release, outcome"""
_DRAFTED = "SELECT penstock.to_us(drafted_at) FROM penstock.managed_releases WHERE tenant = $1 AND id = $2"
_GO_BACK = (
    "SELECT answer, made FROM penstock.take_back_document($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"
)


class PostgresRollouts:
    """Implements `penstock.ports.rollouts.Rollouts`; see there."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, release: Release, reason: str) -> bool:
        answer = await self._database.value(
            _ADD,
            release.tenant,
            release.id,
            release.agent,
            release.manifest,
            release.signature,
            release.key,
            release.author,
            reason,
            RELEASES_MAX,
        )
        if answer == "full":
            raise InputInvalid(f"{release.agent} has {RELEASES_MAX:,} releases already, the most that are kept")
        return bool(answer == "added")

    async def get(self, tenant: str, release: str) -> Release | None:
        row = await self._database.row(_GET, tenant, release)
        return None if row is None else Release(*row)

    async def find(self, tenant: str, beginning: str, limit: int) -> list[str]:
        return [row[0] for row in await self._database.fetch(_FIND, tenant, beginning, min(limit, PAGE_MAX))]

    async def page(self, tenant: str, agent: str | None, before: tuple[int, str] | None, limit: int) -> list[Release]:
        at, id_ = before or (None, None)
        rows = await self._database.fetch(_PAGE, tenant, agent, at, id_, min(limit, PAGE_MAX))
        return [Release(*row) for row in rows]

    async def steps(self, tenant: str, release: str) -> list[Step]:
        return [Step(*row) for row in await self._database.fetch(_STEPS, tenant, release, PAGE_MAX)]

    async def route(self, tenant: str, agent: str) -> Route:
        row = await self._database.row(_ROUTE, tenant, agent)
        return Route(tenant, agent) if row is None else Route(*row)

    async def change(
        self, route: Route, moves: Sequence[Move], signed: SignedStatement | None = None, before: int | None = None
    ) -> bool:
        said = (
            route.tenant,
            route.agent,
            route.number,
            route.live,
            route.canary,
            route.share,
            route.previous,
            [move.release for move in moves],
            [move.before for move in moves],
            [move.state for move in moves],
            [move.share for move in moves],
            [move.actor for move in moves],
            [move.reason for move in moves],
            [move.approved_by for move in moves],
        )
        if signed is None:
            return bool(await self._database.value(_CHANGE, *said))
        number = route.number - 1 if before is None else before
        kept = number, signed.body, signed.key, signed.signature
        return bool(await self._database.value(_CHANGE_SIGNED, *said, *kept))

    async def statements(self, tenant: str, agent: str, after: int, limit: int) -> list[SignedStatement]:
        rows = await self._database.fetch(_STATEMENTS, tenant, agent, after, min(limit, PAGE_MAX))
        return [SignedStatement(*row) for row in rows]

    async def head(self, tenant: str, agent: str) -> tuple[Route, int]:
        row = await self._database.row(_HEAD, tenant, agent)
        return (Route(tenant, agent), 0) if row is None else (Route(*row[:7]), row[7])

    async def version(self) -> int:
        version: int = await self._database.value(_VERSION)
        return version

    async def view(self) -> View:
        # The version first: what changes meanwhile is read again by whoever sees the next version.
        version = await self.version()
        routes = await self._database.fetch(_ROUTES, ROUTES_MAX)
        releases = await self._database.fetch(_OFFERED, OFFERED_MAX)
        accepted = await self._database.fetch(_ACCEPTED, TOOLS_MAX)
        return View(
            version,
            tuple(Route(*row[:7]) for row in routes),
            tuple(Release(*row) for row in releases),
            tuple(Accepted(*row) for row in accepted),
            {(row[0], row[1]): row[7] for row in routes if row[7]},
        )

    async def sweep(self) -> int:
        swept: int = await self._database.value(_SWEEP, timedelta(seconds=IDLE_SECONDS))
        return swept

    async def accept(self, accepted: Accepted) -> None:
        said = accepted.tenant, accepted.tool, accepted.digest, accepted.actor, accepted.reason
        signed = accepted.at or None, accepted.key, accepted.signature
        if not await self._database.value(_ACCEPT, *said, TOOLS_MAX, *signed):
            raise InputInvalid(f"{TOOLS_MAX:,} changed tools are accepted already, which is the most that are kept")

    async def refuse(self, worker: str, refusals: Sequence[Refusal]) -> None:
        await self._database.fetch(
            _REFUSE, worker, [refusal.release for refusal in refusals], [refusal.why for refusal in refusals]
        )

    async def refusals(self, release: str, limit: int) -> list[Refusal]:
        return [Refusal(*row) for row in await self._database.fetch(_REFUSALS, release, min(limit, PAGE_MAX))]

    async def tallies(self, tenant: str, agent: str, since: int, limit: int) -> list[Tally]:
        rows = await self._database.fetch(_TALLIES, tenant, agent, first_id_at(since), min(limit, TALLIED_MAX))
        return [Tally(*row) for row in rows]

    async def written(self, tenant: str, release: str, after: tuple[str, str] | None, limit: int) -> list[Boundary]:
        drafted = await self._database.value(_DRAFTED, tenant, release)
        if drafted is None:
            return []
        begin = first_id_at(drafted - FAMILY_US)
        kind, name = after or (None, None)
        rows = await self._database.fetch(_WRITTEN, tenant, release, begin, kind, name, min(limit, PAGE_MAX))
        return [Boundary(*row) for row in rows]

    async def go_back(self, back: Back, keep: int) -> tuple[BackAnswer, int]:
        row = await self._database.row(
            _GO_BACK,
            back.tenant,
            back.release,
            back.kind,
            back.name,
            back.expected,
            back.version,
            back.actor,
            back.empty.codec,
            back.empty.size,
            back.empty.digest,
            back.empty.data,
            keep,
            PRUNE_AT_ONCE,
        )
        assert row is not None
        return row[0], row[1]
