"""What the engine asks of a store of runs and events. Two stores answer: PostgreSQL, and memory for tests.

Both pass `tests/contract/journal_suite.py`. All leases, expiries and due times are compared by the store's own clock.
"""

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from penstock.ports.access import Access
from penstock.ports.actions import Actions
from penstock.ports.audit import Audit
from penstock.ports.breakers import Breakers
from penstock.ports.budgets import Budgets
from penstock.ports.cache import CacheEntries
from penstock.ports.circles import Circles
from penstock.ports.controls import Controls, Scope
from penstock.ports.documents import Documents
from penstock.ports.gateway import Gateway
from penstock.ports.lists import Lists
from penstock.ports.live import Live
from penstock.ports.overview import Overview
from penstock.ports.questions import Questions
from penstock.ports.queue import Queue
from penstock.ports.rates import Rates
from penstock.ports.records import (
    Applied,
    Batch,
    Claim,
    Flags,
    Letter,
    NewRun,
    OpenIntent,
    Payload,
    PayloadKey,
    Post,
    Row,
    RunFilter,
    RunKey,
    RunRow,
    Sealed,
    Stop,
    Submitted,
)
from penstock.ports.releases import Releases
from penstock.ports.retention import Retention
from penstock.ports.rollouts import Rollouts
from penstock.ports.schedules import Schedules
from penstock.ports.snapshots import Snapshots
from penstock.ports.triggers import Triggers
from penstock.ports.usage import Usage
from penstock.ports.waits import Waits
from penstock.ports.wakeups import Wakeups
from penstock.ports.webhooks import Webhooks


class Journal(Protocol):
    """Runs, their events, inboxes, payloads, claims and controls."""

    @property
    def queue(self) -> Queue:
        """Who may come in, who comes first, and how long it takes."""
        ...

    @property
    def lists(self) -> Lists:
        """Pages of runs, what they share, and results."""
        ...

    @property
    def questions(self) -> Questions:
        """What waits for people, and what they decided."""
        ...

    @property
    def controls(self) -> Controls:
        """Stops, and how far they have come."""
        ...

    @property
    def waits(self) -> Waits:
        """Events, the wait-for graph, and what ended runs leave behind."""
        ...

    @property
    def releases(self) -> Releases:
        """What it knows of deploys."""
        ...

    @property
    def schedules(self) -> Schedules:
        """What is to run again and again."""
        ...

    @property
    def triggers(self) -> Triggers:
        """Events that start runs."""
        ...

    @property
    def circles(self) -> Circles:
        """Runs that wait for each other."""
        ...

    @property
    def wakeups(self) -> Wakeups:
        """Runs that sleep although what they wait for has come."""
        ...

    @property
    def documents(self) -> Documents:
        """What outlives runs: sessions' state, and what agents share."""
        ...

    @property
    def retention(self) -> Retention:
        """How long ended runs are kept, and what is left of them."""
        ...

    @property
    def live(self) -> Live:
        """What models say while they speak."""
        ...

    @property
    def budgets(self) -> Budgets:
        """What may be spent above the task."""
        ...

    @property
    def rates(self) -> Rates:
        """Limits that all workers share."""
        ...

    @property
    def breakers(self) -> Breakers:
        """What opens when calls cost too much, fail or are slow."""
        ...

    @property
    def rollouts(self) -> Rollouts:
        """Releases that are reviewed, rolled out and rolled back."""
        ...

    @property
    def snapshots(self) -> Snapshots:
        """Of long runs, and their tapes piece by piece."""
        ...

    @property
    def access(self) -> Access:
        """Keys, and who is signed in."""
        ...

    @property
    def actions(self) -> Actions:
        """What people and programs did through the server."""
        ...

    @property
    def audit(self) -> Audit:
        """The audit logs, their checkpoints and keys."""
        ...

    @property
    def overview(self) -> Overview:
        """How all runs of a tenant stand."""
        ...

    @property
    def webhooks(self) -> Webhooks:
        """Who is told what happens, and what they are still to be told."""
        ...

    @property
    def usage(self) -> Usage:
        """What runs have spent and how they ended, summed up."""
        ...

    @property
    def gateway(self) -> Gateway:
        """What the gateway's keys are bound to, and which run a name means."""
        ...

    @property
    def cache(self) -> CacheEntries:
        """Answers that are given again."""
        ...

    async def now(self) -> int:
        """The store's clock, microseconds since the epoch."""
        ...

    async def submit(self, runs: Sequence[NewRun], payloads: Sequence[Payload] = ()) -> list[Submitted]:
        """Create runs, each in state ``queued`` and due now, or find those their keys had made. In order.

        ``payloads`` of the runs' subjects are made durable by the same commit.
        """
        ...

    async def enlist(self, worker: UUID, name: str, lease_seconds: float, environment: str | None = None) -> None:
        """Make a worker known. It gets runs of that environment alone; None = of any.

        Raises:
            WorkerNameTaken: a worker of that name has an unexpired lease.
        """
        ...

    async def renew(self, worker: UUID, lease_seconds: float) -> bool:
        """Extend the lease; False when it has expired already (the worker must stop)."""
        ...

    async def retire(self, worker: UUID) -> None:
        """End the lease now: what the worker still holds can be claimed at once."""
        ...

    async def claim(self, worker: UUID, releases: Sequence[str], limit: int) -> list[Claim]:
        """Take up to ``limit`` due runs: queued or parked whose time has come, or held by a worker whose lease is over.

        Raises the row's epoch by one. Only runs whose release is among ``releases``, with nobody's pause upon them;
        runs with a kill or cancel upon them are claimed too, so that somebody ends them.
        """
        ...

    async def take_over(self, worker: UUID, tenant: str, run: UUID, holder: UUID, epoch: int) -> Claim | None:
        """Take one run from the worker that holds it under that epoch; None when it does not, or ``worker`` is unknown.

        The holder can append nothing more. Not a claim of its own: ``claims`` stays.
        """
        ...

    async def put_back(self, worker: UUID, held: Sequence[RunKey], tried: Sequence[RunKey] = ()) -> int:
        """Make runs due again that are this worker's but not among those it knows that it holds; how many there were.

        For claims whose answer was lost: nobody would ever work on them while the worker's lease is renewed. Such a
        claim does not count among those after which a run is set aside as poison, since nobody worked on the run. It
        does when the run is among ``tried``: those that the worker had begun, and could not put away.
        """
        ...

    async def append(
        self, batches: Sequence[Batch], payloads: Sequence[Payload] = (), *, blocking: bool = False
    ) -> list[Applied]:
        """Write batches of distinct runs in one transaction; one answer each. See ARCHITECTURE, "The append".

        ``payloads``, to which the batches' events refer, are stored by the same commit, whatever the answers are.

        With ``blocking`` the rows are waited for instead of being answered ``SKIPPED``; for one run that was skipped
        too often. A batch that cannot be stored is answered ``REFUSED`` and does not fail the others.
        A batch sent again after a lost answer is answered ``APPLIED`` when its events are the ones stored.
        """
        ...

    async def tapes(self, runs: Sequence[RunKey]) -> dict[RunKey, list[Row]]:
        """All events of some runs in order. For one long run use `tape`."""
        ...

    async def tape(self, tenant: str, run: UUID, after: int = 0, limit: int = 10_000) -> list[Row]:
        """Events with ``seq > after``, in order, at most ``limit``."""
        ...

    async def put_payloads(self, payloads: Sequence[Payload]) -> None:
        """Store payloads that are not there yet."""
        ...

    async def get_payloads(self, tenant: str, subject: str, addresses: Sequence[bytes]) -> dict[bytes, Payload]:
        """Those of ``addresses`` that exist for this tenant and subject."""
        ...

    async def ensure_subject(self, tenant: str, subject: str, key: bytes) -> bytes:
        """The key of a named subject: the stored one, or ``key`` (32 random bytes), which is stored then."""
        ...

    async def fetch_payloads(self, wanted: Sequence[PayloadKey]) -> dict[PayloadKey, Payload]:
        """Those that exist, of many subjects in one request: what a worker reads when it claims a batch of runs."""
        ...

    async def subject_key(self, tenant: str, subject: str) -> bytes | None:
        """The subject's key; None when unknown or erased."""
        ...

    async def erase_subject(self, tenant: str, subject: str) -> int:
        """Erase the subject's key and payloads, for good; number of payloads erased. The chain still verifies."""
        ...

    async def letters(self, runs: Sequence[RunKey]) -> dict[RunKey, list[Letter]]:
        """Letters not yet journalled, oldest first."""
        ...

    async def deliver(self, post: Post) -> bool:
        """Put a letter into a run's inbox and wake the run; False when ``dedup`` was delivered before.

        Raises:
            RunUnknown: no such run, or it has ended.
        """
        ...

    async def flags(self, worker: UUID, held: Sequence[RunKey]) -> list[Flags]:
        """Of the held runs those with letters, a stop, or another holder."""
        ...

    async def stop_run(
        self, tenant: str, run: UUID, stop: Stop, actor: str, reason: str, control: UUID | None = None
    ) -> Sealed:
        """Kill, cancel or pause one run. Returns when it is sealed. Cancel and kill reach its children.

        ``control``: its id, when the caller has one, so that the same stop sent again is not another.

        Raises:
            RunUnknown: no such run for this tenant.
        """
        ...

    async def resume_run(self, tenant: str, run: UUID, actor: str) -> bool:
        """Take a pause off; False when there was none (a kill or cancel stays)."""
        ...

    async def stop_scope(
        self, scope: Scope, stop: Stop, actor: str, reason: str, control: UUID | None = None
    ) -> Sealed:
        """Kill or pause all runs of a scope wider than a run: a control that every later append and claim sees.

        Runs in flight end as killed, or are handed back at their next call; whatever else is of the scope, or comes to
        it, waits until the control is lifted.
        """
        ...

    async def resume_scope(self, scope: Scope, actor: str) -> int:
        """Lift the controls of exactly that scope; number lifted. Runs that were killed stay killed."""
        ...

    async def stopped(self, tenant: str | None) -> list[UUID]:
        """Controls of more than a run now in force for a tenant (those of everything among them), oldest first."""
        ...

    async def open_intents(self, scope: Scope) -> list[OpenIntent]:
        """Intents without an outcome in unended runs of the scope: what a stop waits for."""
        ...

    async def get_run(self, tenant: str, run: UUID) -> RunRow | None:
        """One run's row."""
        ...

    async def find_runs(self, tenant: str, prefix: str) -> list[UUID]:
        """Ids that start with ``prefix`` (at least 4 hex digits), at most 10."""
        ...

    async def list_runs(self, tenant: str, where: RunFilter, limit: int) -> list[RunRow]:
        """Newest first, at most ``limit`` (bounded at 1000)."""
        ...

    async def tenants(self) -> list[str]:
        """All tenants that have runs, in order: for checks of everything."""
        ...

    async def release_quarantine(self, tenant: str, run: UUID, release: str | None, actor: str) -> bool:
        """Let a quarantined run be claimed again, under another release when given."""
        ...

    async def wait_for_work(self, timeout_seconds: float) -> None:
        """Return when something may have become due, or after the time-out."""
        ...

    async def close(self) -> None:
        """Give connections back."""
        ...
