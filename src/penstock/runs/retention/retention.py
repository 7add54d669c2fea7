"""Keeping to retention policies: one process at a time goes through what is due, in small steps with pauses.

Order, per run: archive (if the policy says so), mark, empty, sweep, forget. A process that dies anywhere leaves what
the next one goes on from.
"""

import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from penstock.gates.run.services import Services
from penstock.journal.archive import addresses_in
from penstock.kernel.errors import ArchiveInvalid, EventUnreadable, JournalError, RetentionBusy
from penstock.kernel.ids import new_id
from penstock.kernel.randomness import jitter
from penstock.ports.journal import Journal
from penstock.ports.records import RunRow
from penstock.ports.retention import Action, Marking, Policy, Tombstone, Weight
from penstock.runs.retention.archiving import archive, recover

LEASE_SECONDS = 300.0
"""How long the turn stays taken without a sign of life; one step takes a fraction of it."""
ROWS_AT_ONCE = 1000
"""Rows deleted by one transaction: some ten milliseconds."""
PAUSE_SECONDS = 0.02
"""Between two transactions, so that deleting takes a share of the database and no more."""
LOOK_SECONDS = 60.0
"""How often a worker asks whether it is its turn, at most."""
AGAIN_SECONDS = 300.0
"""Until the next round after one that failed."""
PLAN_MAX = 100_000
"""Runs of one agent that a plan counts; beyond, it says that there are more."""
PAGE = 1000

_logger = logging.getLogger("penstock.runs")


@dataclass(slots=True)
class Planned:
    """What one policy would take of one agent's runs now."""

    agent: str
    action: Action
    runs: int
    events: int
    bytes: int
    more: bool  # there are further ones that were not counted
    oldest_end: int = 0


@dataclass(slots=True)
class Done:
    """What a round did."""

    archived: int = 0
    pruned: int = 0
    forgotten: int = 0
    files: list[str] = field(default_factory=list)
    months: list[str] = field(default_factory=list)
    broken: list[UUID] = field(default_factory=list)  # do not verify, so they are kept
    waiting: int = 0  # marked runs whose payloads others may still need: the next round looks again
    skipped: list[str] = field(default_factory=list)  # agents whose runs should be archived, with no folder to


async def plan(journal: Journal, tenant: str) -> list[Planned]:
    """What would be archived or pruned now, agent by agent; changes nothing."""
    now = await journal.now()
    found = []
    for policy, agent in [(policy, agent) for policy, agents in await _scopes(journal, tenant) for agent in agents]:
        planned = Planned(agent, policy.action, 0, 0, 0, more=False)
        async for rows in _due(journal, tenant, agent, now - policy.keep, PAGE):
            weight: Weight = await journal.retention.weigh(tenant, [row.id for row in rows])
            planned.runs += len(rows)
            planned.events += weight.events
            planned.bytes += weight.bytes
            ends = [row.ended_at or 0 for row in rows] + ([planned.oldest_end] if planned.oldest_end else [])
            planned.oldest_end = min(ends)
            if planned.runs >= PLAN_MAX:
                planned.more = True
                break
        if planned.runs:
            found.append(planned)
    return found


class Round:
    """One round through what is due; of all tenants, or of one.

    Args:
        services: of an open platform.
        folder: where archives go; None = policies to archive are passed over.
        linger_us: how long events of pruned runs wait for their month to be dropped.
    """

    def __init__(self, services: Services, folder: Path | None, linger_us: int) -> None:
        self._services = services
        self._journal = services.journal
        self._retention = services.journal.retention
        self._folder = folder
        self._linger_us = linger_us
        self._holder = new_id(services.clock)
        self._renew_at_ns = services.clock.boot_ns() + int(LEASE_SECONDS / 3 * 1e9)
        self.done = Done()

    async def run(self, tenant: str | None = None, *, due: bool = False) -> Done | None:
        """Go through it; None when somebody else is at it, or (``due``) it is not time.

        Raises:
            RetentionBusy: the turn went to another process meanwhile, since this one was too slow.
            JournalError: the store cannot be reached; the next round goes on.
        """
        if not await self._retention.take_turn(self._holder, LEASE_SECONDS, due=due):
            return None
        try:
            if self._folder is not None and self._folder.is_dir():
                await recover(self._journal, self._folder)
            await self._retention.add_months()
            for name in [tenant] if tenant is not None else await self._journal.tenants():
                await self._go_through(name)
            self.done.months = await self._retention.drop_months()
        except BaseException:
            with contextlib.suppress(JournalError):
                await self._retention.end_turn(self._holder, AGAIN_SECONDS)
            raise
        await self._retention.end_turn(self._holder, self._services.settings.retention_every_seconds)
        return self.done

    async def _go_through(self, tenant: str) -> None:
        now = await self._journal.now()
        for policy, agents in await _scopes(self._journal, tenant):
            if policy.action is Action.ARCHIVE and self._folder is None:
                self.done.skipped += agents
                continue
            await self._take(policy, agents, now - policy.keep)
        await self._until(lambda: self._retention.empty(tenant, ROWS_AT_ONCE))
        await self._empty_named(tenant)
        now = await self._journal.now()  # what was marked in this round is not left for the next
        await self._until(lambda: self._retention.sweep(tenant, now - self._linger_us, ROWS_AT_ONCE))
        await self._forget(tenant, now)

    async def _take(self, policy: Policy, agents: Sequence[str], ended_before: int) -> None:
        """Archive or prune all that is due of agents under one policy: runs of several agents share a file."""
        most = self._services.settings.retention_batch_runs
        waiting: list[RunRow] = []
        for agent in agents:
            async for rows in _due(self._journal, policy.tenant, agent, ended_before, most):
                waiting += rows
                while len(waiting) >= most:
                    waiting = waiting[await self._take_some(policy, waiting[:most], ended_before) :]
        while waiting:
            waiting = waiting[await self._take_some(policy, waiting, ended_before) :]

    async def _take_some(self, policy: Policy, rows: Sequence[RunRow], ended_before: int) -> int:
        """How many of the rows were looked at: a full file takes no more."""
        if policy.action is Action.ARCHIVE:
            read = await self._archive(policy, rows, ended_before)
        else:
            read = len(rows)
            runs = [(row.id, row.last_seq, row.head, False) for row in rows]
            self.done.pruned += len(await self._retention.mark(Marking(policy.tenant, runs, ended_before)))
        await self._breathe()
        return read

    async def _archive(self, policy: Policy, rows: Sequence[RunRow], ended_before: int) -> int:
        assert self._folder is not None
        settings, clock = self._services.settings, self._services.clock
        written = await archive(
            self._journal,
            clock,
            self._folder,
            rows,
            ended_before,
            content=policy.content,
            max_bytes=settings.archive_max_bytes,
        )
        self.done.archived += len(written.marked)
        self.done.broken += written.broken
        if written.name:
            self.done.files.append(written.name)
        return written.read

    async def _empty_named(self, tenant: str) -> None:
        """Erase what only marked runs of a named subject refer to, subject by subject."""
        after: UUID | None = None
        while stones := await self._retention.unemptied(tenant, after, PAGE):
            after = stones[-1].run
            subjects: dict[str, list[Tombstone]] = {}
            for stone in stones:
                subjects.setdefault(stone.subject, []).append(stone)
            for subject, members in subjects.items():
                if not await self._empty_subject(tenant, subject, members):
                    self.done.waiting += len(members)
                await self._breathe()

    async def _empty_subject(self, tenant: str, subject: str, stones: Sequence[Tombstone]) -> bool:
        """False when nothing can be said of the subject now: a run of it is executed, or has a damaged event."""
        try:
            return await self._drop_unneeded(tenant, subject, stones)
        except EventUnreadable as error:
            _logger.warning("payloads of subject %s of %s are kept: %s", subject, tenant, error.what)
            return False

    async def _drop_unneeded(self, tenant: str, subject: str, stones: Sequence[Tombstone]) -> bool:
        unneeded: set[bytes] = set()
        for stone in stones:
            async for where in _addresses(self._journal, tenant, stone.run):
                unneeded.add(where)
        runs = events = 0
        after: UUID | None = None
        while sharers := await self._retention.sharers(tenant, subject, after, PAGE):
            after = sharers[-1].run
            for sharer in sharers:
                if sharer.running:
                    return False
                runs, events = runs + 1, events + sharer.last_seq
                async for where in _addresses(self._journal, tenant, sharer.run):
                    unneeded.discard(where)
            await self._breathe()
        going = sorted(unneeded)
        for start in range(0, len(going), ROWS_AT_ONCE):
            part = going[start : start + ROWS_AT_ONCE]
            if not await self._retention.drop_payloads(tenant, subject, part, (runs, events)):
                return False
            await self._breathe()
        await self._retention.set_emptied(tenant, [stone.run for stone in stones])
        return True

    async def _forget(self, tenant: str, now: int) -> None:
        policies = await _policies(self._journal, tenant)
        for agent in await self._retention.forgettable(tenant) if policies else []:
            policy = policies.get(agent) or policies.get("")
            if policy is None or not policy.forget:
                continue
            while gone := await self._retention.forget(tenant, agent, now - policy.forget, ROWS_AT_ONCE):
                self.done.forgotten += gone
                await self._breathe()

    async def _until(self, step: Callable[[], Awaitable[bool]]) -> None:
        while not await step():
            await self._breathe()

    async def _breathe(self) -> None:
        """Between two steps: leave the database to others for a moment, and keep the turn."""
        clock = self._services.clock
        await clock.sleep(PAUSE_SECONDS)
        if clock.boot_ns() < self._renew_at_ns:
            return
        self._renew_at_ns = clock.boot_ns() + int(LEASE_SECONDS / 3 * 1e9)
        if not await self._retention.take_turn(self._holder, LEASE_SECONDS, due=False):
            raise RetentionBusy("another process has taken this turn to archive and prune")


class Keeper:
    """A worker's duty: a round whenever it is time and nobody else makes it."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def run(self) -> None:
        """Until cancelled."""
        settings, clock = self._services.settings, self._services.clock
        while True:
            await clock.sleep(min(LOOK_SECONDS, settings.retention_every_seconds) * jitter(0.5, 1))
            try:
                done = await Round(
                    self._services, settings.archive_dir, int(settings.retention_linger_seconds * 1e6)
                ).run(due=True)
            except (JournalError, ArchiveInvalid) as error:
                _logger.warning("runs could not be archived or pruned: %s", error.what)
            except Exception:  # whatever it is, the worker's runs go on
                _logger.exception("archiving and pruning failed")
            else:
                _say(done)


def _say(done: Done | None) -> None:
    if done is None:
        return
    if done.skipped:
        _logger.warning("PENSTOCK_ARCHIVE_DIR is not set, so runs of %s are not archived", ", ".join(done.skipped))
    if done.archived or done.pruned or done.forgotten or done.months:
        _logger.info("archived %d runs, pruned %d, forgot %d", done.archived, done.pruned, done.forgotten)


async def _scopes(journal: Journal, tenant: str) -> list[tuple[Policy, list[str]]]:
    """Each policy of the tenant with the agents it is for: the one named, or all that have none of their own."""
    policies = await _policies(journal, tenant)
    scopes: dict[str, tuple[Policy, list[str]]] = {}
    for agent in await journal.retention.agents(tenant) if policies else []:
        policy = policies.get(agent) or policies.get("")
        if policy is not None:
            scopes.setdefault(policy.agent, (policy, []))[1].append(agent)
    return list(scopes.values())


async def _policies(journal: Journal, tenant: str) -> dict[str, Policy]:
    found: dict[str, Policy] = {}
    after = ("", "")
    while page := await journal.retention.policies(tenant, after, PAGE):
        found.update({policy.agent: policy for policy in page})
        after = (tenant, page[-1].agent)
        if len(page) < PAGE:
            break
    return found


async def _due(journal: Journal, tenant: str, agent: str, ended_before: int, limit: int) -> AsyncIterator[list[RunRow]]:
    after: UUID | None = None
    while rows := await journal.retention.due(tenant, agent, ended_before, after, limit):
        yield rows
        after = rows[-1].id


async def _addresses(journal: Journal, tenant: str, run: UUID) -> AsyncIterator[bytes]:
    """Addresses that a run's events refer to; an event that cannot be read refers to nothing that could be spared."""
    after = 0
    while rows := await journal.tape(tenant, run, after=after, limit=PAGE):
        for row in rows:
            for where in addresses_in(row.body):
                yield where
        after = rows[-1].seq
