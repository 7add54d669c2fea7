"""`MemoryJournal`: every method is one step of the event loop, so it needs no locks."""

import asyncio
from collections.abc import Callable, Sequence
from uuid import UUID

from penstock.adapters.memory.access import MemoryAccess
from penstock.adapters.memory.actions import MemoryActions
from penstock.adapters.memory.appending import append
from penstock.adapters.memory.audit import MemoryAudit
from penstock.adapters.memory.breakers import MemoryBreakers
from penstock.adapters.memory.budgets import MemoryBudgets
from penstock.adapters.memory.cache import MemoryCache
from penstock.adapters.memory.circles import MemoryCircles
from penstock.adapters.memory.controls import MemoryControls
from penstock.adapters.memory.documents import MemoryDocuments
from penstock.adapters.memory.gateway import MemoryGateway
from penstock.adapters.memory.lists import MemoryLists
from penstock.adapters.memory.live import MemoryLive
from penstock.adapters.memory.overview import MemoryOverview
from penstock.adapters.memory.questions import MemoryQuestions
from penstock.adapters.memory.queue import MemoryQueue
from penstock.adapters.memory.rates import MemoryRates
from penstock.adapters.memory.records import Run, Store, Worker
from penstock.adapters.memory.releases import MemoryReleases
from penstock.adapters.memory.retention import MemoryRetention
from penstock.adapters.memory.rollouts import MemoryRollouts
from penstock.adapters.memory.schedules import MemorySchedules
from penstock.adapters.memory.snapshots import MemorySnapshots
from penstock.adapters.memory.stops import MemoryStops, open_in
from penstock.adapters.memory.triggers import MemoryTriggers
from penstock.adapters.memory.usage import MemoryUsage
from penstock.adapters.memory.waits import MemoryWaits
from penstock.adapters.memory.wakeups import MemoryWakeups
from penstock.adapters.memory.webhooks import MemoryWebhooks
from penstock.events import FORMAT
from penstock.kernel.clock import Clock, SystemClock
from penstock.kernel.errors import InputInvalid, RunUnknown, WorkerNameTaken
from penstock.kernel.ids import new_id
from penstock.ports.controls import Control, Scope, of_run
from penstock.ports.lists import listed
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
    Status,
    Stop,
    Submitted,
)
from penstock.ports.snapshots import Snapshots

MAX_LIST = 1000


class MemoryJournal:
    """Implements `penstock.ports.journal.Journal` for one process; see there.

    Args:
        clock: what leases, due times and stamps are read from; the machine's by default.
        ids: makes the ids of controls; time-ordered random ones by default.
    """

    def __init__(self, clock: Clock | None = None, ids: Callable[[Clock], UUID] = new_id) -> None:
        self._clock = clock or SystemClock()
        self._ids = ids
        self._store = Store()
        self._news = asyncio.Event()
        self.queue = MemoryQueue(self._store, self._clock)
        self.lists = MemoryLists(self._store)
        self.questions = MemoryQuestions(self._store, self._clock, self._news.set)
        self.controls = MemoryControls(self._store, self._clock.now_us)
        self._stops = MemoryStops(self._store, self.controls)
        self.rates = MemoryRates(self._clock.now_us)
        erasable = self.documents = MemoryDocuments(self._store, self._clock)
        self._erase_from_documents = erasable.erase_subject
        self.live = MemoryLive(self._store)
        self.snapshots: Snapshots = MemorySnapshots(self._store)
        self.releases = MemoryReleases(self._store, self._clock, self._news.set)
        self.schedules = MemorySchedules(self._store, self._clock, self._news.set)
        triggers = MemoryTriggers(self._store, self._clock)
        waits = MemoryWaits(self._store, self._clock, self._news, triggers)
        self.triggers = triggers
        self.waits = waits
        self.circles = MemoryCircles(waits)
        self.wakeups = MemoryWakeups(self._store, self._clock, self._news, waits.marked)
        retention = self.retention = MemoryRetention(self._store, self._clock, waits.marked)
        self.overview = MemoryOverview(self._store, self._clock)
        self.usage = MemoryUsage(self._store, self._clock, retention.sums)
        self.access = MemoryAccess(self._clock)
        self.actions = MemoryActions(self._clock)
        self.audit = MemoryAudit(self._store, self.actions, self._clock)
        self.cache = MemoryCache(self._store, self._clock)
        self.webhooks = MemoryWebhooks(self._store, self._clock)
        self.breakers = MemoryBreakers(self._store, self._clock, self.webhooks.tell)
        self.budgets = MemoryBudgets(self._clock.now_us, self._deliver_if_there, self.webhooks.tell)
        self._store.charge = self.budgets.charge
        self.gateway = MemoryGateway(self._store)
        self.rollouts = MemoryRollouts(self._store, self._clock, erasable)

    async def now(self) -> int:
        return self._clock.now_us()

    async def submit(self, runs: Sequence[NewRun], payloads: Sequence[Payload] = ()) -> list[Submitted]:
        await self.put_payloads(payloads)
        submitted = []
        for new in runs:
            self._store.create(new, self._clock.now_us())
            holder = new.id if new.key is None else self._store.keys.get((new.tenant, new.key))
            if holder is None:
                raise InputInvalid(f"run id {new.id} is in use with another idempotency key")
            digest = self._store.runs[new.tenant, holder].new.request_digest
            conflict = holder != new.id and digest != new.request_digest
            submitted.append(Submitted(holder, created=holder == new.id, conflict=conflict))
        self._news.set()
        return submitted

    async def enlist(self, worker: UUID, name: str, lease_seconds: float, environment: str | None = None) -> None:
        now = self._clock.now_us()
        for known, other in self._store.workers.items():
            if other.name == name and known != worker and other.lease_until > now:
                raise WorkerNameTaken(f"a live worker is named {name!r}")
        self._store.workers[worker] = Worker(name, now + int(lease_seconds * 1e6), environment)

    async def renew(self, worker: UUID, lease_seconds: float) -> bool:
        known = self._store.workers.get(worker)
        now = self._clock.now_us()
        if known is None or known.lease_until <= now:
            return False
        known.lease_until = now + int(lease_seconds * 1e6)
        return True

    async def retire(self, worker: UUID) -> None:
        if worker in self._store.workers:
            self._store.workers[worker].lease_until = min(
                self._store.workers[worker].lease_until, self._clock.now_us() - 1
            )
        self._news.set()

    async def claim(self, worker: UUID, releases: Sequence[str], limit: int) -> list[Claim]:
        now = self._clock.now_us()
        store = self._store
        if not self._live(worker, now):
            return []
        store.line.hand_over(store.runs)
        allowed = [
            run
            for run in store.runs.values()
            if run.release in releases
            and run.new.format <= FORMAT
            and run.stop is not Stop.PAUSE
            and store.claimable(run, worker)
        ]
        lost = [
            run
            for run in allowed
            if run.status is Status.RUNNING and (run.worker is None or not self._live(run.worker, now))
        ]
        due = [
            run
            for run in allowed
            if run.status in (Status.QUEUED, Status.PARKED) and run.wake_at is not None and run.wake_at <= now
        ]
        taken = (lost + store.line.in_order(due))[:limit]
        claims = [self._take(run, worker, now) for run in taken]
        store.line.note(taken, now)
        return claims

    async def take_over(self, worker: UUID, tenant: str, run: UUID, holder: UUID, epoch: int) -> Claim | None:
        now = self._clock.now_us()
        known = self._store.runs.get((tenant, run))
        if known is None or (known.status, known.worker, known.epoch) != (Status.RUNNING, holder, epoch):
            return None
        if not self._live(worker, now) or not self._store.is_at_home(known, worker):
            return None
        known.claims -= 1
        return self._take(known, worker, now)

    async def put_back(self, worker: UUID, held: Sequence[RunKey], tried: Sequence[RunKey] = ()) -> int:
        unknown = [
            run
            for key, run in self._store.runs.items()
            if run.worker == worker and run.status is Status.RUNNING and key not in held
        ]
        for run in unknown:
            run.status, run.worker, run.wake_at = Status.QUEUED, None, self._clock.now_us()
            if run.key not in tried:
                run.claims = max(0, run.claims - 1)
        return len(unknown)

    async def append(
        self, batches: Sequence[Batch], payloads: Sequence[Payload] = (), *, blocking: bool = False
    ) -> list[Applied]:
        del blocking  # nothing is ever locked
        await self.put_payloads(payloads)
        for batch in batches:
            if batch.begin is not None:
                self.gateway.begin_held(batch.begin, self._clock.now_us())
        answers = [append(self._store, batch, self._clock.now_us()) for batch in batches]
        if any(batch.children or batch.move is not None for batch in batches):
            self._news.set()
        return answers

    async def tapes(self, runs: Sequence[RunKey]) -> dict[RunKey, list[Row]]:
        return {key: list(self._store.runs[key].tape) if key in self._store.runs else [] for key in runs}

    async def tape(self, tenant: str, run: UUID, after: int = 0, limit: int = 10_000) -> list[Row]:
        known = self._store.runs.get((tenant, run))
        return [] if known is None else known.tape[after : after + limit]

    async def put_payloads(self, payloads: Sequence[Payload]) -> None:
        for payload in payloads:
            subject = payload.tenant, payload.subject
            if self._store.subjects.get(subject, b"") is not None:
                self._store.payloads.setdefault(subject, {}).setdefault(payload.address, payload)

    async def get_payloads(self, tenant: str, subject: str, addresses: Sequence[bytes]) -> dict[bytes, Payload]:
        known = self._store.payloads.get((tenant, subject), {})
        return {address: known[address] for address in addresses if address in known}

    async def fetch_payloads(self, wanted: Sequence[PayloadKey]) -> dict[PayloadKey, Payload]:
        known = self._store.payloads
        found = {key: known.get(key[:2], {}).get(key[2]) for key in wanted}
        return {key: payload for key, payload in found.items() if payload is not None}

    async def ensure_subject(self, tenant: str, subject: str, key: bytes) -> bytes:
        stored = await self.subject_key(tenant, subject)
        if stored is None:
            stored = self._store.subjects[tenant, subject] = key
        return stored

    async def subject_key(self, tenant: str, subject: str) -> bytes | None:
        if (tenant, subject) in self._store.subjects:
            return self._store.subjects[tenant, subject]
        run = self._own_subject(tenant, subject)
        return None if run is None else run.subject_key

    async def erase_subject(self, tenant: str, subject: str) -> int:
        self._store.subjects[tenant, subject] = None
        self._erase_from_documents(tenant, subject)
        run = self._own_subject(tenant, subject)
        if run is not None:
            run.subject_key = None
        return len(self._store.payloads.pop((tenant, subject), {}))

    async def letters(self, runs: Sequence[RunKey]) -> dict[RunKey, list[Letter]]:
        return {key: self._store.runs[key].letters() if key in self._store.runs else [] for key in runs}

    async def deliver(self, post: Post) -> bool:
        run = self._store.runs.get((post.tenant, post.run))
        if run is None or (run.status is Status.ENDED and post.kind != "settle"):
            raise RunUnknown(f"there is no run {post.run} for tenant {post.tenant!r}, or it has ended")
        delivered = run.receive(Letter(post.dedup, post.kind, post.body, self._clock.now_us()))
        self._news.set()
        return delivered

    def _deliver_if_there(self, post: Post) -> None:
        run = self._store.runs.get((post.tenant, post.run))
        if run is not None and run.status is not Status.ENDED:
            run.receive(Letter(post.dedup, post.kind, post.body, self._clock.now_us()))
            self._news.set()

    async def flags(self, worker: UUID, held: Sequence[RunKey]) -> list[Flags]:
        flags = []
        for key in held:
            run = self._store.runs.get(key)
            if run is None:
                continue
            stop, letters = self._store.stop_of(run), len(run.letters())
            if letters or stop is not None or run.worker != worker:
                flags.append(Flags(*key, run.epoch, letters, stop))
        return flags

    async def stop_run(
        self, tenant: str, run: UUID, stop: Stop, actor: str, reason: str, control: UUID | None = None
    ) -> Sealed:
        now = self._clock.now_us()
        noted = Control(control or self._ids(self._clock), of_run(tenant, run), stop.value, actor, reason, now)
        sealed = self._stops.stop_run(stop, noted)
        self._news.set()
        return sealed

    async def resume_run(self, tenant: str, run: UUID, actor: str) -> bool:
        resumed = self._stops.resume_run(tenant, run, actor, self._clock.now_us())
        self._news.set()
        return resumed

    async def stop_scope(
        self, scope: Scope, stop: Stop, actor: str, reason: str, control: UUID | None = None
    ) -> Sealed:
        now = self._clock.now_us()
        noted = Control(control or self._ids(self._clock), scope, stop.value, actor, reason, now)
        self._stops.stop_scope(noted)
        return Sealed(noted.id, sealed=True, at=now, open_intents=await self.open_intents(scope))

    async def resume_scope(self, scope: Scope, actor: str) -> int:
        lifted = self._stops.resume_scope(scope, actor, self._clock.now_us())
        self._news.set()
        return lifted

    async def stopped(self, tenant: str | None) -> list[UUID]:
        return [control.id for control in self._store.controls if control.scope.tenant in (None, tenant)]

    async def open_intents(self, scope: Scope) -> list[OpenIntent]:
        return open_in(self._store, scope)

    async def get_run(self, tenant: str, run: UUID) -> RunRow | None:
        known = self._store.runs.get((tenant, run))
        return None if known is None else known.row()

    async def find_runs(self, tenant: str, prefix: str) -> list[UUID]:
        digits = prefix.replace("-", "").lower()
        if not 4 <= len(digits) <= 32 or any(digit not in "0123456789abcdef" for digit in digits):
            raise InputInvalid(f"{prefix!r} is not the beginning of a run id: at least 4 hexadecimal digits")
        return sorted(run for owner, run in self._store.runs if owner == tenant and run.hex.startswith(digits))[:10]

    async def list_runs(self, tenant: str, where: RunFilter, limit: int) -> list[RunRow]:
        return await listed(self.lists, tenant, where, min(limit, MAX_LIST))

    async def tenants(self) -> list[str]:
        return sorted({tenant for tenant, _ in self._store.runs})

    async def release_quarantine(self, tenant: str, run: UUID, release: str | None, actor: str) -> bool:
        del actor
        known = self._store.runs.get((tenant, run))
        if known is None or known.status is not Status.QUARANTINED:
            return False
        known.release = known.release if release is None else release
        known.claims = 0
        known.wake(self._clock.now_us(), only=Status.QUARANTINED)
        self._news.set()
        return True

    async def wait_for_work(self, timeout_seconds: float) -> None:
        now = self._clock.now_us()
        wakes = [run.wake_at for run in self._store.runs.values() if run.wake_at is not None and run.wake_at > now]
        heard = asyncio.ensure_future(self._news.wait())
        over = asyncio.ensure_future(self._clock.sleep(min([timeout_seconds, *((at - now) / 1e6 for at in wakes)])))
        try:
            await asyncio.wait((heard, over), return_when=asyncio.FIRST_COMPLETED)
        finally:
            heard.cancel()
            over.cancel()
        self._news.clear()

    async def close(self) -> None:
        """Nothing to give back; what is stored stays readable."""

    def _live(self, worker: UUID, now: int) -> bool:
        known = self._store.workers.get(worker)
        return known is not None and known.lease_until > now

    def _take(self, run: Run, worker: UUID, now: int) -> Claim:
        run.status, run.worker = Status.RUNNING, worker
        run.epoch += 1
        run.claims += 1
        new = run.new
        named = self._store.subjects.get((new.tenant, new.subject))
        return Claim(
            tenant=new.tenant,
            run=new.id,
            epoch=run.epoch,
            last_seq=run.last_seq,
            head=run.head,
            agent=new.agent,
            release=run.release,
            subject=new.subject,
            subject_key=run.subject_key or named or b"",
            parent=new.parent,
            parent_path=new.parent_path,
            root=run.root,
            claims=run.claims,
            stop=run.stop,
            now=now,
            deadline=new.deadline,
        )

    def _run(self, tenant: str, run: UUID) -> Run:
        known = self._store.runs.get((tenant, run))
        if known is None:
            raise RunUnknown(f"there is no run {run} for tenant {tenant!r}")
        return known

    def _own_subject(self, tenant: str, subject: str) -> Run | None:
        try:
            run = self._store.runs.get((tenant, UUID(subject)))
        except ValueError:
            return None
        return run if run is not None and run.new.subject == subject else None
