"""The overview: how a tenant's runs stand, how they ended of late, what needs a person, what today has cost.

It is read once for all who look at it. It is kept for a second, or for twenty times as long as reading it took when
that is longer, so that it never takes more than a twentieth of a database's core; ``as_of`` says when it was read.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import quote
from uuid import UUID

from penstock.events import ApprovalRequested, RunEnded, decode
from penstock.kernel.clock import Clock
from penstock.ports.controls import Control
from penstock.ports.journal import Journal
from penstock.ports.overview import LiveWorker, Standing
from penstock.ports.records import RunRow
from penstock.ports.usage import MINUTE, MinuteSum
from penstock.views.costs import DAY, Spending
from penstock.views.spending_limits import SpendingLimits

K = TypeVar("K")
V = TypeVar("V")

KEPT_SECONDS = 1.0
SHARE = 20
"""An overview is kept for so many times as long as it took to read."""
MINUTES = 60
CAUSES_MAX = 20
AGENTS_MAX = 10
ASKING_LOOKED_AT = 20
"""Questions, those that end first, of which it is found out since when they wait."""
STRANDED_MAX = 100
STRANDED_SECONDS = 10.0
"""How often it is looked for runs whose release nobody offers."""
REMEMBERED = 2_000
TENANTS_MAX = 1_000
WORDS_MAX_CHARS = 200
TAIL = 20
"""Events at the end of a parked run's tape among which the question that it waits for is looked for."""

FAILED = frozenset({"failed", "exhausted"})
"""Outcomes that count as failures: an error, or a limit. The others are decisions of policy or of people."""


@dataclass(slots=True, frozen=True)
class Need:
    """Something that needs a person. ``link`` is a path in the console; ``since`` 0 = not known."""

    kind: str  # approval | doubt | worker | quarantined | stranded | control | breaker | budget | webhook
    words: str
    count: int
    since: int
    link: str


@dataclass(slots=True, frozen=True)
class Minute:
    """Runs that ended in the minute that begins at ``at``, by outcome."""

    at: int
    counts: dict[str, int]


@dataclass(slots=True, frozen=True)
class Cause:
    """Failures with the same first cause. ``words``: the reason of the example."""

    code: str
    words: str
    count: int
    agents: list[str]
    example: UUID


@dataclass(slots=True, frozen=True)
class Overview:
    """One moment of a tenant's platform; times in microseconds."""

    as_of: int
    tenant: str
    running: int
    queued: int
    oldest_wait: int
    parked: int
    quarantined: int
    failed_last_hour: int
    ended_last_hour: int
    spent_today: Spending
    per_minute: list[Minute]
    causes: list[Cause]
    needs: list[Need]
    quiet_since: int | None
    workers: list[LiveWorker]
    budget_today: int = 0  # nano-dollars; 0 = no budget of a day is set for all that the tenant spends


@dataclass(slots=True)
class _Kept:
    overview: Overview
    until_ns: int


class Overviews:
    """Overviews of all tenants, each read once for whoever asks for it at the time."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._reading: dict[str, asyncio.Task[Overview]] = {}
        self._asked_at: OrderedDict[tuple[str, UUID, int], int] = OrderedDict()
        self._reasons: OrderedDict[tuple[str, UUID], str] = OrderedDict()
        self._stranded: OrderedDict[str, tuple[int, int, int]] = OrderedDict()
        self._quiet: OrderedDict[str, int] = OrderedDict()
        self._spending = SpendingLimits(journal, clock)

    async def get(self, tenant: str) -> Overview:
        """How it stands now, or a moment ago.

        Raises:
            JournalError: the store cannot be reached.
        """
        kept = self._kept.get(tenant)
        if kept is not None and self._clock.boot_ns() < kept.until_ns:
            return kept.overview
        reading = self._reading.get(tenant)
        if reading is None:
            reading = self._reading[tenant] = asyncio.create_task(self._read_and_keep(tenant))
            reading.add_done_callback(lambda done: self._read_it(tenant, done))
        return await asyncio.shield(reading)

    def _read_it(self, tenant: str, done: "asyncio.Task[Overview]") -> None:
        del self._reading[tenant]
        if not done.cancelled():
            done.exception()  # whoever asked has it

    async def _read_and_keep(self, tenant: str) -> Overview:
        begun = self._clock.boot_ns()
        overview = await self._read(tenant)
        now = self._clock.boot_ns()
        until = now + max(int(KEPT_SECONDS * 1e9), SHARE * (now - begun))
        _remember(self._kept, tenant, _Kept(overview, until), TENANTS_MAX)
        return overview

    async def _read(self, tenant: str) -> Overview:
        journal = self._journal
        standing = await journal.overview.standing(tenant)
        now = standing.at
        first = now - now % MINUTE - (MINUTES - 1) * MINUTE
        minutes = [item for item in await journal.usage.minutes(tenant, first) if item.minute >= first]
        today = now - now % DAY
        groups = await journal.usage.sums(tenant, "agent", today, today + DAY, {})
        groups += (await journal.usage.live(tenant, "agent", {})).groups
        needs = await self._needs(tenant, standing, await journal.controls.wide(tenant))
        if needs:
            self._quiet.pop(tenant, None)
        elif tenant not in self._quiet:
            _remember(self._quiet, tenant, now, TENANTS_MAX)
        return Overview(
            as_of=now,
            tenant=tenant,
            running=standing.running,
            queued=standing.queued,
            oldest_wait=max(0, now - standing.oldest_due) if standing.oldest_due else 0,
            parked=standing.parked,
            quarantined=standing.quarantined,
            failed_last_hour=sum(item.runs for item in minutes if item.outcome in FAILED),
            ended_last_hour=sum(item.runs for item in minutes),
            spent_today=Spending(
                sum(group.tokens_in for group in groups),
                sum(group.tokens_out for group in groups),
                sum(group.nano for group in groups),
                sum(group.nano_at_maximum for group in groups),
            ),
            per_minute=_per_minute(minutes, first),
            causes=await self._causes(tenant, minutes),
            needs=needs,
            quiet_since=self._quiet.get(tenant),
            workers=standing.workers,
            budget_today=(await self._spending.limits(tenant)).day_nano,
        )

    async def _causes(self, tenant: str, minutes: Sequence[MinuteSum]) -> list[Cause]:
        """Of failed runs that somebody submitted: those below them failed by the same cause, or were recovered from."""
        found: dict[str, list[MinuteSum]] = {}
        for item in minutes:
            if item.outcome in FAILED and item.roots:
                found.setdefault(item.code or item.outcome, []).append(item)
        causes = []
        for code, items in sorted(found.items(), key=lambda entry: -sum(item.roots for item in entry[1]))[:CAUSES_MAX]:
            example = items[-1].example
            agents = sorted({item.agent for item in items})[:AGENTS_MAX]
            words = await self._reason(tenant, example)
            causes.append(Cause(code, words, sum(item.roots for item in items), agents, example))
        return causes

    async def _reason(self, tenant: str, run: UUID) -> str:
        key = tenant, run
        known = self._reasons.get(key)
        if known is None:
            row = await self._journal.get_run(tenant, run)
            rows = [] if row is None else await self._journal.tape(tenant, run, after=row.last_seq - 1, limit=1)
            end = decode(rows[0].body) if rows else None
            known = end.reason[:WORDS_MAX_CHARS] if isinstance(end, RunEnded) else ""
            _remember(self._reasons, key, known, REMEMBERED)
        return known

    async def _needs(self, tenant: str, standing: Standing, controls: Sequence[Control]) -> list[Need]:
        needs = []
        asked, doubted = await self._waiting_since(tenant, standing)
        if standing.doubts:
            words = f"{_runs(standing.doubts, 'in doubt')}: did a call happen?"
            needs.append(Need("doubt", words, standing.doubts, doubted, "/approvals"))
        if standing.approvals:
            words = f"{_runs(standing.approvals, 'waiting')} for an approval"
            needs.append(Need("approval", words, standing.approvals, asked, "/approvals"))
        if standing.dead:
            held = sum(worker.running for worker in standing.dead)
            words = f"{len(standing.dead)} dead with {held} runs in hand: {standing.dead[0].name}"
            since = min(worker.lease_until for worker in standing.dead)
            needs.append(Need("worker", words, len(standing.dead), since, "/runs?shown=running"))
        if standing.quarantined:
            words = _runs(standing.quarantined, "set aside")
            needs.append(
                Need("quarantined", words, standing.quarantined, standing.quarantined_since, "/runs?status=quarantined")
            )
        stranded, since = await self._stranded_runs(tenant)
        if stranded:
            more = " or more" if stranded == STRANDED_MAX else ""
            words = f"{stranded}{more} of releases that no worker offers"
            needs.append(Need("stranded", words, stranded, since, "/runs?status=queued"))
        if controls:
            first = controls[-1]
            words = f"{first.action} of {first.scope} in force" + (f", by {first.actor}" if first.actor else "")
            needs.append(Need("control", words, len(controls), first.at, "/controls"))
        shut = await self._spending.shut(tenant, standing.at)
        if shut is not None:
            link = f"/controls/breakers?breaker={quote(shut.breaker.name, safe='')}"
            needs.append(Need("breaker", shut.words, shut.count, shut.circuit.opened_at, link))
        near = (await self._spending.limits(tenant)).near
        if near is not None:
            link = f"/costs/budgets?budget={quote(near.budget.name, safe='')}"
            needs.append(Need("budget", near.words, near.count, 0, link))
        trouble = await self._journal.webhooks.trouble(tenant)
        if trouble.count:
            several = "s" if trouble.count > 1 else ""
            words = f"{trouble.count} webhook endpoint{several} cannot be told: see `penstock webhooks ls`"
            needs.append(Need("webhook", words, trouble.count, trouble.since, "/"))
        return needs

    async def _waiting_since(self, tenant: str, standing: Standing) -> tuple[int, int]:
        """Since when the oldest question waits: of those for an approval, of those about a doubt."""
        if not standing.approvals and not standing.doubts:
            return 0, 0
        approvals: list[int] = []
        doubts: list[int] = []
        for asking in await self._journal.questions.asking(tenant, None, ASKING_LOOKED_AT):
            row = asking.row
            at = self._asked_at.get((tenant, row.id, row.last_seq))
            if at is None:
                at = await self._asked(row)
                _remember(self._asked_at, (tenant, row.id, row.last_seq), at, REMEMBERED)
            (approvals if b'"kind":"approval"' in row.waiting else doubts).append(at)
        return min(filter(None, approvals), default=0), min(filter(None, doubts), default=0)

    async def _asked(self, row: RunRow) -> int:
        after = max(0, row.last_seq - TAIL)
        for stored in reversed(await self._journal.tape(row.tenant, row.id, after=after, limit=TAIL)):
            event = decode(stored.body)
            if isinstance(event, ApprovalRequested):
                return event.at
        return 0

    async def _stranded_runs(self, tenant: str) -> tuple[int, int]:
        """How many, at most `STRANDED_MAX`, and since when the first."""
        known = self._stranded.get(tenant)
        now = self._clock.boot_ns()
        if known is None or now >= known[2]:
            found = await self._journal.releases.stranded(tenant, STRANDED_MAX)
            since = min((run.since for run in found), default=0)
            took = self._clock.boot_ns() - now
            until = now + max(int(STRANDED_SECONDS * 1e9), SHARE * took)
            known = len(found), since, until
            _remember(self._stranded, tenant, known, TENANTS_MAX)
        return known[:2]


def _per_minute(minutes: Sequence[MinuteSum], first: int) -> list[Minute]:
    counts: dict[int, dict[str, int]] = {first + number * MINUTE: {} for number in range(MINUTES)}
    for item in minutes:
        of = counts.get(item.minute)
        if of is not None:
            of[item.outcome] = of.get(item.outcome, 0) + item.runs
    return [Minute(at, found) for at, found in counts.items()]


def _runs(count: int, what: str) -> str:
    return f"1 run is {what}" if count == 1 else f"{count:,} runs are {what}"


def _remember(known: OrderedDict[K, V], key: K, value: V, most: int) -> None:
    known[key] = value
    known.move_to_end(key)
    while len(known) > most:
        known.popitem(last=False)
