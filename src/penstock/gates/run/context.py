"""One run in one worker's hands: its claim, tape, log, counters, letters and the way it ends."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar
from uuid import UUID

from penstock.events import (
    ChildIntent,
    Event,
    ModelOutcome,
    RunContinued,
    ToolOutcome,
    VerdictRecorded,
)
from penstock.gates.order.branches import Branch
from penstock.gates.order.schedule import Schedule
from penstock.gates.order.tape import Identity, Tape, identity_of
from penstock.gates.rates.lane import Later, Start
from penstock.gates.rates.renewal import renew
from penstock.gates.rates.throttle import Kind, Permit, leave_lines, settle
from penstock.gates.run.call import Call
from penstock.gates.run.deadline import Scope
from penstock.gates.run.ledger import Ledger, Seen, is_write
from penstock.gates.run.mailbox import Mailbox
from penstock.gates.run.read_ahead import ReadAhead
from penstock.gates.run.safe_points import SafePoints
from penstock.gates.run.services import Services
from penstock.gates.run.words import divergence
from penstock.journal.log import RunLog
from penstock.journal.payloads import ref_address
from penstock.kernel.backoff import until_answered
from penstock.kernel.canonical import stable_json
from penstock.kernel.errors import (
    ClaimLost,
    GateCancelled,
    IntentRefused,
    NotFinalized,
    PenstockError,
    PriceUnknown,
    RunFault,
)
from penstock.ports.records import Claim, Stop
from penstock.rules.verdict import RunFacts

E = TypeVar("E", bound=Event)
T = TypeVar("T")


class RunContext:
    """Everything the gates need to know of the run they serve."""

    def __init__(self, claim: Claim, tape: Tape, log: RunLog, facts: RunFacts, services: Services) -> None:
        self.claim = claim
        self.tape = tape
        self.log = log
        self.facts = facts
        self.services = services
        self.schedule = Schedule(tape)
        self.ledger = Ledger(facts, tape)
        self.seen = Seen(at=tape.submitted.at)
        """What was used, as the agent may see them: they change only when an outcome is released, so they replay."""
        self.fault: PenstockError | None = None
        self.draining = False
        self.leaving = asyncio.Event()  # set when it drains
        self.continued = False
        """The run goes on in another: its end is settled, whatever stops it now."""
        self.in_line: set[asyncio.Future[Start | Later]] = set()
        """What calls that wait for a shared limit wait for."""
        self.permits: dict[str, list[tuple[Kind, str, Permit]]] = {}
        """Leave of shared limits for attempts in flight, by call path."""
        self.mail = Mailbox(self.schedule, log, self.now, lambda: self.fault is not None)
        self.mail.is_cut = self._is_cut
        self.acted: dict[str, list[Event]] = {}  # live writes that have an outcome, released or not
        self.patches: dict[str, bool] = {}
        self.unsettled: set[str] = set()
        """Paths of writes that may or may not have happened."""
        self.on_fault: Callable[[], None] = lambda: None
        self.partial: Any = None
        self.recovered_from: PenstockError | None = None
        """The failure that a fallback's answer stands in for."""
        self.uncompensated: list[str] | None = None
        """Writes of a failed run that its agent could not take back, and why; None = it has not come to that."""
        self.safe = SafePoints()
        self._ahead = ReadAhead(tape)
        self.every_stage_again = False
        """Run also the stages that the tape says ended well, as a replay that checks the code does."""
        self.simulated = any(getattr(event, "simulated", False) for event in tape.events)
        self.made: set[str] = set()
        """Paths of the tape that the code has come to."""
        self.recorded_paths = frozenset(tape.calls)
        # Both from the clock since boot: a wall clock that somebody sets must not settle a doubt before its time.
        self._store_offset_us = claim.now - services.clock.boot_ns() // 1000
        self._interruptible: set[Branch] = set()
        self.scopes: dict[str, Scope] = {}
        """Time-outs that the agent is in, by path."""
        self.on_objection: Callable[[list[BaseException]], None] = lambda objections: None
        self._errands: set[asyncio.Task[None]] = set()
        self._active_us = tape.active_us()
        self._began_ns = services.clock.boot_ns()
        submitted = tape.submitted
        self._envelope: dict[str, Any] = {
            "tenant": submitted.tenant,
            "run": submitted.run,
            "agent": submitted.agent,
            "env": submitted.env,
            "release": claim.release,
            "parent": submitted.parent,
            "actor": submitted.agent,
            "behalf": submitted.behalf,
            "tags": submitted.tags,
        }

    @property
    def root(self) -> UUID:
        """The top of the family this run belongs to."""
        return self.claim.root

    @property
    def run_id(self) -> UUID:
        return self.claim.run

    def now(self) -> int:
        """The store's time as far as this process knows it, microseconds."""
        return self.services.clock.boot_ns() // 1000 + self._store_offset_us

    def event(self, kind: type[E], path: str = "", **fields: Any) -> E:
        """An event of this run, its envelope filled in.

        Raises:
            NotFinalized: workers that may still have to go on with this run could not read it; the run is stopped.
        """
        if kind.since > self.tape.format:
            tag = kind.__struct_config__.tag
            words = f"the run's format is {self.tape.format}; {tag} is written from format {kind.since} on"
            error = NotFinalized(words)
            self.stop(error)
            raise error
        said = self._envelope | fields
        said["path"], said["at"] = path, self.services.clock.now_us()
        return kind(**said)

    def enter(self, kind: str, name: str, digest: str, shown: Any = None, place: str | None = None) -> Call:
        """The calling branch makes its next call; ``shown`` are the arguments for the words of a divergence.

        ``place`` names a call that is known by a name of its own and not by its position.

        Raises:
            GateMisused: not from a branch of this run.
            Divergence: the tape holds another call here; the run is stopped with it.
        """
        branch = self.schedule.bind()
        path = branch.next_path() if place is None else place
        recorded = self.tape.calls.get(path, [])
        if not recorded:
            self._check_history()
        identity = Identity(kind, name, digest)
        if recorded:
            self.made.add(path)
            known = identity_of(recorded[0])
            if known is not None and known != identity and not self.tape.accepts(recorded, known, identity):
                self.stop(divergence(path, recorded[0], known, identity, shown))
                recorded = []  # another call's events: this one gets none of them, and waits until the run is put away
        call = branch.call = Call(branch, path, identity, recorded)
        return call

    def _check_history(self) -> None:
        settings = self.services.settings
        size = self.tape.size + self.log.bytes
        if self.log.last_seq >= settings.history_max_events or size >= settings.history_max_bytes:
            words = f"{self.log.last_seq:,} events with {size:,} bytes recorded"
            needed = "a shorter task, several, or more PENSTOCK_HISTORY_MAX_EVENTS and PENSTOCK_HISTORY_MAX_BYTES"
            self.end("exhausted", "over_history", words, needed=[needed])

    async def perform(self, call: Call, body: Coroutine[Any, Any, Any]) -> Any:
        """Run the live part of a call, then hand its result, or its error, to the agent in its turn."""
        result: Any = None
        call.performing = True
        try:
            result = await body
        except ClaimLost as lost:
            self.stop(lost)
            result = lost
        except asyncio.CancelledError:
            self.cancelled(call)
            if not call.branch.cut:
                await self.halt()
        except Exception as error:
            result = error
        call.performing = False
        if call.branch.cut:
            await self.cut_short(call.branch)
        await self.schedule.turn(call.branch)
        self.seen.release(call.recorded)
        if isinstance(result, Exception):
            raise result
        return result

    async def replay(self, call: Call) -> Event:
        """The last event of a call that the tape holds whole, when its turn comes.

        Does not return when that event had ended the run, and only the run's last event is missing.
        """
        await self.schedule.recorded_turn(call.branch, call.path)
        self.seen.release(call.recorded)
        last = call.recorded[-1]
        if isinstance(last, VerdictRecorded) and last.ends_run:
            self.exhaust(last.verdicts[-1].code, last.verdicts[-1].reason)
            self.schedule.hold(call.branch)
            await self.halt()
        return last

    def record(self, call: Call, event: Event, if_lost: Callable[[], Coroutine[Any, Any, None]] | None = None) -> None:
        """Journal an event of a live call; ``if_lost`` is done when the claim turns out to be lost instead."""
        call.recorded.append(event)
        if not isinstance(event, ToolOutcome):
            self.simulated |= getattr(event, "simulated", False)
        elif any(map(is_write, call.recorded)):
            self.acted[call.path] = call.recorded
        if call.path in self.permits and isinstance(event, ModelOutcome | ToolOutcome):
            settle(self, call.path, event)
        if if_lost is None:
            self.log.add(event)
            return
        written = self.log.add(event, waiter=True)
        assert written is not None
        written.add_done_callback(lambda done: self._not_written(done, if_lost))

    def _not_written(self, done: "asyncio.Future[None]", if_lost: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if not done.cancelled() and isinstance(done.exception(), ClaimLost):
            self.errand(if_lost())

    def errand(self, body: Coroutine[Any, Any, None]) -> None:
        """Do something that the run does not wait for."""
        errand = self.schedule.loop.create_task(body)
        self._errands.add(errand)
        errand.add_done_callback(self._errands.discard)

    async def last_errands(self) -> None:
        """Wait until what a lost claim leaves to do for others is done."""
        while self._errands:
            await asyncio.wait(self._errands)

    async def intend(self, call: Call, event: Event) -> None:
        """Journal an intent and wait until it is durable.

        When a stop covers the run the intent is refused, and a worker that drains starts nothing: this never returns.
        """
        if self.draining and not isinstance(event, ChildIntent | RunContinued):  # those have a new run's row on its way
            await self.halt()
        clock = self.services.clock
        begun_ns = clock.boot_ns()
        try:
            await self.log.intent(event)
            self.services.on_overhead((clock.boot_ns() - begun_ns) / 1e9)
        except IntentRefused as refused:
            self.ledger.give_back(event)
            self.met(refused.stop)
            await self.halt()
        except ClaimLost as lost:
            self.stop(lost)
            await self.halt()
        call.recorded.append(event)
        if call.path in self.permits:
            await renew(self, call)

    def met(self, stop: Stop) -> None:
        """A stop refused an intent. What the engine decided since may follow from that call, which did not happen."""
        if isinstance(self.fault, RunFault):
            self.fault = None
        self.refused(stop)

    def refused(self, stop: Stop) -> None:
        """A stop was met: a kill and a cancel end the run, a pause hands it back."""
        outcome = {Stop.KILL: "killed", Stop.CANCEL: "cancelled", Stop.PAUSE: "paused"}[stop]
        self.facts.stop = stop.value
        self.end(outcome, outcome, f"the run was {outcome}")

    def drain(self) -> None:
        """Let nothing more start: the worker is leaving. What is in flight goes on, and may still be stopped."""
        if self.fault is None and not self.draining:
            self.draining = True
            self.leaving.set()
            leave_lines(self)
            self.schedule.loop.call_soon(self.schedule.stop)

    def stop(self, fault: PenstockError) -> None:
        """End the run for this reason. Sticky: the first reason stays. Interrupts what may be interrupted."""
        if self.fault is not None:
            return
        self.fault = fault
        leave_lines(self)
        self.schedule.stopping = True
        for branch in list(self._interruptible):
            if branch.task is not None:
                branch.task.cancel()
        self.mail.close()
        self.schedule.loop.call_soon(self.on_fault)

    async def halt(self) -> None:
        """Wait for ever: the run is being stopped and this call will not return."""
        self.schedule.busy -= 1
        self.schedule.step()
        await self.schedule.loop.create_future()

    async def cut_short(self, branch: Branch) -> None:
        """A call inside a time-out that has fired is over; this does not return."""
        for scope in list(self.scopes.values()):
            scope.ended(branch)
        await self.halt()

    def end(self, outcome: str, code: str, what: str, *, needed: list[str] | None = None) -> None:
        """Stop the run with an outcome of the engine's own."""
        self.stop(RunFault(outcome, code, what, needed=needed))

    async def interruptible(self, branch: Branch, body: Coroutine[Any, Any, Any]) -> Any:
        """Await something that may be cut short when the run is stopped.

        Raises:
            GateCancelled: something other than the engine cancelled it; the run is stopped with that error.
        """
        if branch.cut and not branch.call.settling:
            body.close()
            raise asyncio.CancelledError
        self._interruptible.add(branch)
        try:
            return await body
        finally:
            self._interruptible.discard(branch)

    def interrupt(self, branch: Branch) -> None:
        """A time-out around the branch has fired: cut its call short where that may be done."""
        call = branch.call
        if call.settling:
            return
        if branch in self._interruptible and branch.task is not None:
            branch.task.cancel()
        self.mail.interrupt(call.path)
        if call.on_cut is not None:
            call.on_cut()

    def _is_cut(self, path: str) -> bool:
        calls = (branch.call for branch in self.schedule.branches if branch.cut and branch.call is not None)
        return any(call.path == path and not call.settling for call in calls)

    def cancelled(self, call: Call) -> None:
        """A gate was cancelled: when it was not the engine's doing, the run is stopped with that error."""
        if call.branch.cut:
            task = call.branch.task
            while task is not None and task.cancelling():
                task.uncancel()
        elif self.fault is None:
            name = call.identity.name
            self.stop(GateCancelled(f"the call of {name} at {call.path} was cancelled from outside the engine"))

    def misused(self) -> None:
        """A branch was cancelled inside a gate by something other than the engine."""
        self.stop(GateCancelled("a gate call was cancelled from outside the engine"))

    def exhaust(self, code: str, reason: str) -> None:
        """End the run by a limit."""
        is_unpriced = code == "price_unknown"
        needed = PriceUnknown.hint if is_unpriced else f"more room: {reason}"
        self.end("failed" if is_unpriced else "exhausted", code, reason, needed=[needed])

    async def load(self, ref: str, subject: str | None = None) -> bytes:
        """The payload that an event of this run refers to, of its own subject if no other is named.

        While the store cannot be reached this waits: the agent's code has nothing to do with that.
        """
        where, of = ref_address(ref), subject or self.claim.subject
        return await self.reading(lambda: self._ahead.read(self.services, self.claim, of, where))

    async def reading(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What the store answers, while the schedule knows that the run waits for nothing else."""
        self.schedule.loading += 1
        try:
            return await until_answered(ask, self.services.clock.sleep)
        finally:
            self.schedule.loading -= 1

    def args_ref(self, args: Any) -> str:
        """Store arguments; their commitment."""
        return self.log.payload(stable_json(args))

    def intend_later(self, call: Call, event: Event) -> None:
        """Journal the intent of a free read without waiting for it."""
        call.recorded.append(event)
        self.log.intent(event).add_done_callback(self._read_refused)

    def _read_refused(self, done: "asyncio.Future[None]") -> None:
        error = None if done.cancelled() else done.exception()
        if isinstance(error, IntentRefused):
            self.met(error.stop)
        elif isinstance(error, PenstockError):
            self.stop(error)

    def active_seconds(self) -> float:
        """Seconds in which some worker was busy with the run; time spent parked does not count."""
        return self._active_us / 1e6 + (self.services.clock.boot_ns() - self._began_ns) / 1e9
