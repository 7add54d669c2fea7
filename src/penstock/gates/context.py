"""One run in one worker's hands: its claim, tape, log, counters, letters and the way it ends."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from penstock.events import Event, LimitReached, MessageReceived, VerdictRecorded
from penstock.gates.branches import Branch
from penstock.gates.ledger import Ledger, Seen
from penstock.gates.mailbox import Mailbox
from penstock.gates.schedule import Schedule
from penstock.gates.tape import Identity, Tape, identity_of
from penstock.gates.words import divergence
from penstock.journal.log import RunLog
from penstock.journal.payloads import PayloadReader, ref_address
from penstock.kernel.canonical import stable_json
from penstock.kernel.clock import Clock
from penstock.kernel.errors import (
    ClaimLost,
    GateCancelled,
    IntentRefused,
    JournalError,
    JournalUnavailable,
    PenstockError,
    PriceUnknown,
    RunFault,
)
from penstock.kernel.randomness import jitter
from penstock.ports.agents import AgentDirectory, ModelDirectory
from penstock.ports.journal import Journal
from penstock.ports.records import Claim, Letter, Post, Stop
from penstock.ports.tools import Isolation
from penstock.rules.budget import dominant_limit
from penstock.rules.verdict import Ruling, RunFacts
from penstock.settings import Settings

E = TypeVar("E", bound=Event)
LOAD_PAUSE_SECONDS = 0.05
LOAD_PAUSE_MAX_SECONDS = 2.0

_UNCLAIMED = "unclaimed "


@dataclass(slots=True)
class Services:
    """What all runs of a worker share."""

    journal: Journal
    reader: PayloadReader
    clock: Clock
    settings: Settings
    agents: AgentDirectory
    isolation: Isolation
    models: ModelDirectory


@dataclass(slots=True)
class Call:
    """One gate call in progress."""

    branch: Branch
    path: str
    identity: Identity
    recorded: list[Event]

    @property
    def last(self) -> Event | None:
        return self.recorded[-1] if self.recorded else None


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
        self.mail = Mailbox(self.schedule, log, self.now, lambda: self.fault is not None)
        self.patches: dict[str, bool] = {}
        self.unsettled: set[str] = set()
        """Paths of writes that may or may not have happened."""
        self.on_fault: Callable[[], None] = lambda: None
        self.partial: Any = None
        self.recovered_from: PenstockError | None = None
        """The failure that a fallback's answer stands in for."""
        self.simulated = False
        self.made: set[str] = set()
        """Paths of the tape that the code has come to."""
        self.recorded_paths = frozenset(tape.calls)
        # Both from the clock since boot: a wall clock that somebody sets must not settle a doubt before its time.
        self._store_offset_us = claim.now - services.clock.boot_ns() // 1000
        self._interruptible: set[Branch] = set()
        self._errands: set[asyncio.Task[None]] = set()
        self._active_us = tape.active_us()
        self._began_ns = services.clock.boot_ns()
        submitted = tape.submitted
        self._envelope: dict[str, Any] = {
            "tenant": submitted.tenant,
            "run": submitted.run,
            "agent": submitted.agent,
            "env": submitted.env,
            "release": submitted.release,
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
        """An event of this run, its envelope filled in."""
        return kind(**{**self._envelope, **fields}, path=path, at=self.services.clock.now_us())

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
            if known is not None and known != identity:
                self.stop(divergence(path, recorded[0], known, identity, shown))
                recorded = []  # another call's events: this one gets none of them, and waits until the run is put away
        return Call(branch, path, identity, recorded)

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
        try:
            result = await body
        except ClaimLost as lost:
            self.stop(lost)
            result = lost
        except asyncio.CancelledError:
            self.cancelled(call)
            await self.halt()
        except Exception as error:
            result = error
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
            self._exhaust(last.verdicts[-1].code, last.verdicts[-1].reason)
            self.schedule.hold(call.branch)
            await self.halt()
        return last

    def record(self, call: Call, event: Event, if_lost: Callable[[], Coroutine[Any, Any, None]] | None = None) -> None:
        """Journal an event of a live call; ``if_lost`` is done when the claim turns out to be lost instead."""
        call.recorded.append(event)
        if if_lost is None:
            self.log.add(event)
            return
        written = self.log.add(event, waiter=True)
        assert written is not None
        written.add_done_callback(lambda done: self._not_written(done, if_lost))

    def _not_written(self, done: "asyncio.Future[None]", if_lost: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if not done.cancelled() and isinstance(done.exception(), ClaimLost):
            errand = self.schedule.loop.create_task(if_lost())
            self._errands.add(errand)
            errand.add_done_callback(self._errands.discard)

    async def last_errands(self) -> None:
        """Wait until what a lost claim leaves to do for others is done."""
        while self._errands:
            await asyncio.wait(self._errands)

    async def intend(self, call: Call, event: Event) -> None:
        """Journal an intent and wait until it is durable.

        When a stop covers the run the intent is refused: then this does not return.
        """
        try:
            await self.log.intent(event)
        except IntentRefused as refused:
            self.refused(refused.stop)
            await self.halt()
        except ClaimLost as lost:
            self.stop(lost)
            await self.halt()
        call.recorded.append(event)

    def refused(self, stop: Stop) -> None:
        """A stop was met: a kill and a cancel end the run, a pause hands it back."""
        outcome = {Stop.KILL: "killed", Stop.CANCEL: "cancelled", Stop.PAUSE: "paused"}[stop]
        self.facts.stop = stop.value
        self.end(outcome, outcome, f"the run was {outcome}")

    def stop(self, fault: PenstockError) -> None:
        """End the run for this reason. Sticky: the first reason stays. Interrupts what may be interrupted."""
        if self.fault is not None:
            return
        self.fault = fault
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

    def end(self, outcome: str, code: str, what: str, *, needed: list[str] | None = None) -> None:
        """Stop the run with an outcome of the engine's own."""
        self.stop(RunFault(outcome, code, what, needed=needed))

    async def interruptible(self, branch: Branch, body: Coroutine[Any, Any, Any]) -> Any:
        """Await something that may be cut short when the run is stopped.

        Raises:
            GateCancelled: something other than the engine cancelled it; the run is stopped with that error.
        """
        self._interruptible.add(branch)
        try:
            return await body
        finally:
            self._interruptible.discard(branch)

    def cancelled(self, call: Call) -> None:
        """A gate was cancelled: when it was not the engine's doing, the run is stopped with that error."""
        if self.fault is None:
            name = call.identity.name
            self.stop(GateCancelled(f"the call of {name} at {call.path} was cancelled from outside the engine"))

    def misused(self) -> None:
        """A branch was cancelled inside a gate by something other than the engine."""
        self.stop(GateCancelled("a gate call was cancelled from outside the engine"))

    async def take_up_unclaimed(self) -> None:
        """Put the letters that earlier holders journalled where calls look for them."""
        for event in self.tape.events:
            if isinstance(event, MessageReceived) and event.topic.startswith(_UNCLAIMED):
                body = await self.load(event.payloads["body"][0])
                kind = event.topic.removeprefix(_UNCLAIMED)
                self.mail.post_journalled(Letter(event.dedup, kind, body, event.at))

    def unclaimed_event(self, letter: Letter) -> MessageReceived:
        """The record of such a letter."""
        return self.event(
            MessageReceived,
            topic=_UNCLAIMED + letter.kind,
            dedup=letter.dedup,
            payloads={"body": [self.log.payload(letter.body)]},
        )

    def deny(self, ruling: Ruling) -> None:
        """Stop the run when a denial is final for it, naming what it would take to go on."""
        if not ruling.ends_run:
            return
        strictest = ruling.strictest
        self._exhaust(strictest.code if strictest else "denied", ruling.reason)

    def _exhaust(self, code: str, reason: str) -> None:
        if code == "price_unknown":
            self.end("failed", code, reason, needed=[PriceUnknown.hint])
        else:
            self.end("exhausted", code, reason, needed=[f"more room: {reason}"])

    async def load(self, ref: str, subject: str | None = None) -> bytes:
        """The payload that an event of this run refers to, of its own subject if no other is named.

        While the store cannot be reached this waits: the agent's code has nothing to do with that.
        """
        where = ref_address(ref)
        pause = LOAD_PAUSE_SECONDS
        self.schedule.loading += 1
        try:
            while True:
                try:
                    return await self.services.reader.read(self.claim.tenant, subject or self.claim.subject, where)
                except JournalUnavailable:
                    await self.services.clock.sleep(jitter(pause / 2, pause))
                    pause = min(pause * 2, LOAD_PAUSE_MAX_SECONDS)
        finally:
            self.schedule.loading -= 1

    async def settle_elsewhere(self, path: str, attempt: int, body: bytes) -> None:
        """The claim is lost but a call has ended: leave its outcome for the run's next holder."""
        post = Post(self.claim.tenant, self.claim.run, f"settle:{path}:{attempt}", "settle", body)
        with contextlib.suppress(JournalError):
            await self.services.journal.deliver(post)

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
            self.refused(error.stop)
        elif isinstance(error, PenstockError):
            self.stop(error)

    def active_seconds(self) -> float:
        """Seconds in which some worker was busy with the run; time spent parked does not count."""
        return self._active_us / 1e6 + (self.services.clock.boot_ns() - self._began_ns) / 1e9

    def at_most(self, seconds: float) -> float:
        """A time-out cut down to what the run's own seconds and deadline leave."""
        if self.facts.budget.seconds:
            seconds = min(seconds, max(0.001, self.facts.budget.seconds - self.active_seconds()))
        if self.claim.deadline:
            seconds = min(seconds, max(0.001, (self.claim.deadline - self.now()) / 1e6))
        return seconds

    def record_limit(self, path: str, level: int, *, looping: bool) -> None:
        """A threshold was reached: say by which limit, or that the run makes no progress."""
        name, used, of = ("loop", 0.0, 0.0) if looping else dominant_limit(self.facts)
        self.log.add(self.event(LimitReached, path, limit=name, level=level, used=used, of=of))
