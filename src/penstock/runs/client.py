"""`Penstock`: submit runs, wait for them, decide, stop, and work, all on one journal."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Self
from uuid import UUID

import msgspec

from penstock.agents import runtime
from penstock.agents.budget import Budget
from penstock.events import Preview, RunEnded, decode
from penstock.gates.run.services import Services
from penstock.gates.waits.continue_gate import added
from penstock.journal.payloads import ref_address
from penstock.journal.pruned import pruned
from penstock.journal.writer import GroupWriter
from penstock.kernel.errors import NoRuntime, RunQuarantined, RunUnknown
from penstock.ports.agents import AgentDef
from penstock.ports.controls import Scope, of_all
from penstock.ports.journal import Journal
from penstock.ports.questions import Voter
from penstock.ports.records import CONTINUED, RunRow, Sealed, Status, Stop, Submitted
from penstock.runs import approvals as questions
from penstock.runs import events
from penstock.runs.approving.deciding import decide, may_decide_own
from penstock.runs.documents import DocumentClient
from penstock.runs.registry import Registry
from penstock.runs.releases import carried, successor
from penstock.runs.result import Result
from penstock.runs.schedules.schedules import ScheduleClient
from penstock.runs.standing import standing_duties
from penstock.runs.submit import Request, check_agent, check_conflict, submit_together
from penstock.runs.triggers.triggers import TriggerClient
from penstock.runs.work.alone import Assignment, LoneWorker
from penstock.runs.work.poison import Launch
from penstock.runs.work.worker import Worker


class Penstock:
    """One open platform: a journal, the agents this process offers, and (if asked for) a worker.

    Use it as an async context manager. While it is open, ``agent.run(...)`` runs here.
    """

    def __init__(
        self,
        services: Services,
        writer: GroupWriter,
        registry: Registry,
        *,
        open_lease: Callable[[], Awaitable[Journal]] | None = None,
        closers: list[Callable[[], Awaitable[None]]] | None = None,
    ) -> None:
        self.services = services
        self.writer = writer
        self.registry = registry
        self.tenant = services.settings.tenant
        self.worker: Worker | None = None
        self._open_lease = open_lease
        self._closers = closers or []
        self._working: asyncio.Task[None] | None = None
        self._ended: dict[UUID, tuple[asyncio.Event, int]] = {}  # and how many wait for it

    @property
    def journal(self) -> Journal:
        return self.services.journal

    @property
    def documents(self) -> DocumentClient:
        """What sessions hold, and what agents share."""
        return DocumentClient(self.services, self.tenant)

    @property
    def schedules(self) -> ScheduleClient:
        """What is to run again and again."""
        return ScheduleClient(self.services, self.tenant)

    @property
    def triggers(self) -> TriggerClient:
        """Events that start runs."""
        return TriggerClient(self.services, self.tenant)

    async def __aenter__(self) -> Self:
        runtime.push(self)
        return self

    async def __aexit__(self, *exception: object) -> None:
        runtime.remove(self)
        await self.close()

    async def close(self) -> None:
        """Drain the worker, write what is queued, give connections back."""
        if self.worker is not None:
            self.worker.drain()
        try:
            if self._working is not None:
                with contextlib.suppress(asyncio.CancelledError):
                    await self._working
        finally:
            await self.writer.close()
            for closer in self._closers:
                await closer()

    def start_worker(self, name: str, *, drain_when_tainted: bool = False, launch: Launch | None = None) -> Worker:
        """Work on runs in this process, in the background; see `Worker`."""
        worker = Worker(
            self.services,
            self.writer,
            name,
            lambda: self.registry.releases,
            self._open_lease,
            drain_when_tainted=drain_when_tainted,
            launch=launch,
        )
        worker.on_ended = self._has_ended
        for duty in standing_duties(self.services, self.registry, worker):
            worker.duties.add(duty)
        self.worker = worker
        self._working = asyncio.create_task(worker.run())
        return worker

    async def enlisted(self) -> None:
        """Wait until the journal has accepted the worker of this process.

        Raises:
            WorkerNameTaken: a live worker has its name.
        """
        assert self.worker is not None
        assert self._working is not None
        accepted = asyncio.create_task(self.worker.enlisted.wait())
        try:
            await asyncio.wait({accepted, self._working}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            accepted.cancel()
        if self._working.done():
            self._working.result()

    def lone_worker(self, name: str, assignment: Assignment, put_away: Callable[[], None]) -> LoneWorker:
        """A worker for one run that another worker holds; see `LoneWorker`. The caller runs it."""
        self.worker = LoneWorker(self.services, self.writer, name, self._open_lease, assignment, put_away)
        return self.worker

    async def work(self, name: str, *, launch: Launch | None = None) -> None:
        """Work on runs until the worker drains.

        Args:
            launch: makes the command line of a process that tries one run alone; without one, runs that several workers
                were lost over are set aside at once.

        Raises:
            WorkerNameTaken: a live worker has this name.
        """
        self.start_worker(name, drain_when_tainted=True, launch=launch)
        assert self._working is not None
        await self._working

    async def submit(self, agent: AgentDef, value: Any, **options: Any) -> UUID:
        """Submit one run; its id. Durable when this returns. Options: the fields of `Request`.

        Raises:
            UsageError: the input, a tag, the budget or the key is not acceptable; nothing was submitted.
        """
        return (await self.submit_many([Request(agent, value, **options)]))[0]

    async def submit_many(self, requests: list[Request]) -> list[UUID]:
        """Submit several runs in one transaction; their ids."""
        return [done.id for done in await self.submit_each(requests)]

    async def submit_each(self, requests: list[Request]) -> list[Submitted]:
        """The same, and whether each was made now or had been made by its key before."""
        submitted = await self.submit_together(requests)
        for request, done in zip(requests, submitted, strict=True):
            check_conflict(request, done)
        return submitted

    async def submit_together(self, requests: list[Request]) -> list[Submitted]:
        """The same for requests that do not know of each other: of a conflict only the value of its own one tells."""
        for request in requests:
            check_agent(request.agent)
            self.registry.add(request.agent)
        services = self.services
        return await submit_together(self.journal, services.clock, services.settings, requests, services.rollouts)

    async def run(
        self,
        agent: AgentDef,
        value: Any,
        *,
        key: str | None = None,
        tags: dict[str, str] | None = None,
        budget: Budget | None = None,
        tenant: str | None = None,
    ) -> Result:
        """Submit, wait for the end, give the result.

        Raises:
            NoRuntime: neither this process nor any live worker offers the agent's release; nothing was submitted,
                except with a key, whose run may have been there before.
        """
        if key is None:
            await self._check_offered(agent)
        run = await self.submit(agent, value, key=key, tags=tags or {}, budget=budget, tenant=tenant)
        if key is not None:
            row = await self.journal.get_run(tenant or self.tenant, run)
            if row is None or row.status is not Status.ENDED:
                await self._check_offered(agent)
        return await self.result(run, tenant=tenant)

    async def _check_offered(self, agent: AgentDef) -> None:
        """Waiting for a run that nobody works on would be waiting for ever."""
        home = self.services.settings.environment
        if self._working is None and not await self.journal.releases.offered(agent.release, home):
            raise NoRuntime(
                f"no live worker of {home} offers {agent.name} in release {agent.release}",
                hint="open the platform with worker=NAME, start `penstock worker MODULE`, or submit it for one to come",
            )

    async def result(self, run: UUID, *, tenant: str | None = None, timeout_seconds: float | None = None) -> Result:
        """Wait until a run has ended; its result. Of one that goes on in others: that of the last, with all their use.

        Raises:
            RunUnknown: no such run for this tenant.
            RunQuarantined: it was set aside for a person.
            TimeoutError: it has not ended in time; it goes on.
        """
        row = await self.ended(run, tenant=tenant, timeout_seconds=timeout_seconds)
        result = await self.read_result(row)
        if row.id == run:
            return result
        return replace(result, totals=added(await carried(self.journal, row), result.totals))

    async def ended(self, run: UUID, *, tenant: str | None = None, timeout_seconds: float | None = None) -> RunRow:
        """Wait as `result` does; the row of the run that ended, or of the last in which it went on."""
        async with asyncio.timeout(timeout_seconds):
            row = await self._wait_ended(tenant or self.tenant, run)
            while row.code == CONTINUED and row.pruned_at is None:
                row = await self._wait_ended(row.tenant, await successor(self.journal, row))
        return row

    async def read_result(self, row: RunRow) -> Result:
        """The result of a run that has ended.

        Raises:
            RunPruned: its record was archived or pruned; the error says where it is.
        """
        if row.pruned_at is not None:
            raise await pruned(self.journal, row)
        last = await self.journal.tape(row.tenant, row.id, after=row.last_seq - 1)
        event = decode(last[0].body)
        assert isinstance(event, RunEnded)
        agent = self.registry.find(row.agent)
        data = b""
        if refs := event.payloads.get("output"):
            data = await self.services.reader.read(row.tenant, row.subject, ref_address(refs[0]))
        output: Any = None
        if data:
            output = agent.read_output(data) if agent and event.outcome == "succeeded" else msgspec.json.decode(data)
        return Result(
            row.id,
            row.agent,
            event.outcome,
            output,
            event.code,
            event.reason,
            event.missing,
            event.needed,
            event.totals,
            event.simulated,
            event.done,
        )

    async def cancel(self, run: UUID, *, actor: str, reason: str = "", tenant: str | None = None) -> Sealed:
        """Ask a run and its children to end as ``cancelled``; nothing new starts in them from here on."""
        return await self.journal.stop_run(tenant or self.tenant, run, Stop.CANCEL, actor, reason)

    async def kill(self, run: UUID, *, actor: str, reason: str = "", tenant: str | None = None) -> Sealed:
        """Seal a run and its children: no new intent commits in them."""
        return await self.journal.stop_run(tenant or self.tenant, run, Stop.KILL, actor, reason)

    async def kill_everything(self, *, actor: str, reason: str = "", tenant: str | None = None) -> Sealed:
        """Seal everything, or everything of a tenant, until `resume_everything`."""
        return await self.stop(of_all(tenant), Stop.KILL, actor=actor, reason=reason)

    async def resume_everything(self, *, actor: str, tenant: str | None = None) -> int:
        """Lift the kill; what was killed stays killed, what waited goes on."""
        return await self.resume(of_all(tenant), actor=actor)

    async def stop(self, scope: Scope, stop: Stop, *, actor: str, reason: str = "") -> Sealed:
        """Kill or pause all runs of a scope wider than a run, until `resume`.

        Runs in flight are killed, or handed back at their next call; the others, and those that are submitted
        meanwhile, wait. Children that are of another scope go on; those of a killed run are cancelled with it.
        """
        return await self.journal.stop_scope(scope, stop, actor, reason)

    async def resume(self, scope: Scope, *, actor: str) -> int:
        """Lift the stops of exactly that scope; how many there were."""
        return await self.journal.resume_scope(scope, actor)

    async def quiesced(self, scope: Scope, *, timeout_seconds: float = 600.0) -> bool:
        """Wait until every open intent of the scope has ended or passed its allowance and time-out."""
        async with asyncio.timeout(timeout_seconds):
            while True:
                now = await self.journal.now()
                if not any(item.ends_by > now for item in await self.journal.open_intents(scope)):
                    return True
                await asyncio.sleep(0.2)

    async def send_event(
        self,
        run: UUID,
        name: str,
        value: Any = None,
        *,
        dedup: str = "",
        sender: str = "api",
        tenant: str | None = None,
    ) -> bool:
        """Send an event to a run, for `Run.wait_event`. Durable when this returns; it may come before the wait.

        Args:
            dedup: the same id again, for this run and name, is not a second event. Without one each call is.
            sender: who sends it, for the record.

        Returns:
            False when it was sent before.

        Raises:
            RunUnknown: no such run for this tenant, or it has ended.
            InboxFull: the run was sent as many events as it takes.
            InputInvalid, InputTooLarge: a name or value that cannot be sent.
        """
        return await events.send(self.services, tenant or self.tenant, run, name, value, dedup=dedup, sender=sender)

    async def publish_event(
        self,
        name: str,
        key: str,
        value: Any = None,
        *,
        dedup: str = "",
        sender: str = "api",
        tenant: str | None = None,
    ) -> bool:
        """Send an event to a name and key: the run that waits for them longest gets it, or the next that will. Each
        trigger that it matches starts a run besides; when this returns, that is as durable as the event.

        Args, returns and raises as `send_event`; nobody need wait yet. It is kept for ``event_keep_seconds``.
        """
        return await events.publish(self.services, tenant or self.tenant, name, key, value, dedup=dedup, sender=sender)

    async def approvals(self, tenant: str | None = None) -> list[questions.Approval]:
        """Questions that wait for a person."""
        return await questions.pending(self.journal, self.services.reader, tenant or self.tenant)

    async def preview(self, approval: questions.Approval) -> Preview | None:
        """What its tool said, when the question was asked, that the call would change; None when it has no preview."""
        return await questions.read_preview(self.journal, approval)

    async def decide(self, approval: questions.Approval, answer: str, *, actor: str, reason: str = "") -> None:
        """Answer a question: approve or deny; happened or did_not_happen.

        Raises:
            ApprovalDecided: somebody answered before.
            ApprovalOwn: the actor asked for the run.
        """
        own, keys = may_decide_own(self.services.settings, approval), self.services.decisions
        digest = approval.digest
        await decide(self.journal, approval, answer, Voter(actor), reason=reason, digest=digest, own=own, keys=keys)

    def _has_ended(self, run: UUID) -> None:
        if run in self._ended:
            self._ended[run][0].set()

    async def _wait_ended(self, tenant: str, run: UUID) -> RunRow:
        ended, waiting = self._ended.get(run, (asyncio.Event(), 0))
        self._ended[run] = ended, waiting + 1
        try:
            while True:
                row = await self.journal.get_run(tenant, run)
                if row is None:
                    raise RunUnknown(f"there is no run {run} for tenant {tenant!r}")
                if row.status is Status.ENDED:
                    return row
                if row.status is Status.QUARANTINED:
                    raise RunQuarantined(f"the run {run} was set aside: {row.code}", run=run, run_code=row.code)
                if self._working is not None and self._working.done():
                    self._working.result()  # our own worker could not start, or failed: say so rather than wait
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(ended.wait(), self.services.settings.poll_seconds)
                ended.clear()
        finally:
            waiting = self._ended[run][1] - 1
            if waiting:
                self._ended[run] = ended, waiting
            else:
                del self._ended[run]
