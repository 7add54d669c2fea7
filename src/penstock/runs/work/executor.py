"""Executing one claim: run the agent against its tape, then live, until it ends, parks, or the claim is lost."""

import asyncio
import contextlib
import contextvars
import logging
from typing import Any

from penstock.agents.run import Run
from penstock.events import Event, RunClaimed, RunEnded, RunHandedBack, RunParked
from penstock.gates.order.branches import UNWOUND
from penstock.gates.order.tape import Tape
from penstock.gates.run.context import RunContext
from penstock.gates.run.letting_go import let_go
from penstock.gates.run.services import Services
from penstock.gates.run.unclaimed import take_up_unclaimed, unclaimed_event
from penstock.gates.snapshots.snapshot import forget
from penstock.journal.log import RunLog
from penstock.journal.writer import GroupWriter
from penstock.kernel.canonical import stable_json
from penstock.kernel.errors import (
    ClaimLost,
    Divergence,
    EventTooLarge,
    EventUnreadable,
    InputInvalid,
    IntentRefused,
    JournalError,
    PayloadMissing,
    PenstockError,
    RunFault,
)
from penstock.ports.agents import AgentDef
from penstock.ports.records import Claim, Letter, Move, Row, Status, Stop
from penstock.runs.divergence import side_by_side
from penstock.runs.work.beginning import begin
from penstock.runs.work.ending import GOES_ON, Ending, judge, open_children, told_to_parent
from penstock.runs.work.follow_up import after_end, leave_duties
from penstock.runs.work.loading import Loaded

PAUSED, DRAINED = "paused", "drained"
"""Why a run is handed back: outcomes of faults that end this claim, not the run."""

_logger = logging.getLogger("penstock.runs")


class Execution:
    """One claim being executed."""

    def __init__(
        self,
        claim: Claim,
        rows: list[Row],
        letters: list[Letter],
        services: Services,
        writer: GroupWriter,
        worker_name: str,
    ) -> None:
        self.claim = claim
        self.rows = rows
        self.services = services
        self.writer = writer
        self.worker_name = worker_name
        self._letters = letters
        self.loaded: Loaded | None = None
        self.ctx: RunContext | None = None
        self.parked = False
        self.tainted: list[BaseException] = []
        self.lost = False
        self.draining = False
        self._unwound = False
        self.condemned: str | None = None
        """Why the run is set aside instead of being executed; "" = not for its claims; None = they decide."""
        self._fetching: set[asyncio.Task[None]] = set()

    async def run(self, worker: Any, context: contextvars.Context) -> str:
        """Execute; ``context`` must be the one the current task runs in.

        Returns ``"ended"``, ``"parked"``, ``"handed_back"``, ``"quarantined"`` or ``"lost"``.
        """
        log = RunLog(self.claim, self.writer)
        try:
            return await self._run(log, worker, context)
        except ClaimLost:
            return "lost"
        except Exception as error:
            _logger.exception("the engine failed on run %s", self.claim.run)
            words = f"the engine failed: {type(error).__name__}: {error}"[:500]
            return await self._quarantine(log, PenstockError(words), code="engine_failed")
        finally:
            ctx, self.ctx = self.ctx, None
            if ctx is not None:
                let_go(ctx)

    async def _run(self, log: RunLog, worker: Any, context: contextvars.Context) -> str:
        log.on_flags = self.notice
        log.on_lost = self.lose
        log.on_bad = self._unstorable
        try:
            tape = Tape(self.rows, self.loaded.before if self.loaded else None)
        except EventUnreadable as error:
            return await self._quarantine(log, error)
        self.rows = []  # the tape has them, read
        if tape.ended is not None:
            return "ended"
        ctx = self.ctx = self._context(tape, log)
        log.add(
            ctx.event(
                RunClaimed,
                worker=worker,
                worker_name=self.worker_name,
                claims=self.claim.claims,
                actor=self.worker_name,
            ),
            lazy=True,
        )
        if self._is_over(tape):
            return await self._end(ctx, GOES_ON)
        condemned = self.condemned
        if condemned is None and self.claim.claims > self.services.settings.poison_claims:
            condemned = f"{self.claim.claims - 1} workers took this run and recorded nothing"
        if condemned:
            return await self._quarantine(log, PenstockError(condemned), code="poison")
        if self.claim.stop in (Stop.KILL, Stop.CANCEL):
            ctx.refused(self.claim.stop)
        elif self.draining:
            return await self._hand_back(ctx, DRAINED)
        elif self.claim.deadline and len(tape.events) == 1 and ctx.now() >= self.claim.deadline:
            words = "the deadline passed while the run was queued; nothing of it was started"
            ctx.end("exhausted", "over_deadline", words, needed=["a later deadline", "more workers"])
        return await self._drive(ctx, context)

    def _is_over(self, tape: Tape) -> bool:
        """Whether only the last event is missing: the run goes on in another, whatever its code would do now."""
        return tape.continued

    def _context(self, tape: Tape, log: RunLog) -> RunContext:
        ctx = begin(self.claim, tape, log, self.services, self.loaded.state if self.loaded else None)
        for letter in self._letters:
            ctx.mail.post(letter)
        ctx.on_fault = ctx.schedule.stop
        ctx.on_objection = self.tainted.extend
        ctx.schedule.on_idle = self._idle
        ctx.schedule.on_quiet = self._quiet
        ctx.schedule.on_diverged = ctx.stop
        ctx.schedule.on_cancelled = ctx.misused
        return ctx

    async def _drive(self, ctx: RunContext, context: contextvars.Context) -> str:
        """Run the agent's code until it returns or is unwound, then write down how it went."""
        agent = self.services.agents.find(self.claim.agent, self.claim.release)
        timer = self._deadline(ctx)
        result: Any = None
        failure: BaseException | None = None
        try:
            result = await self._invoke(ctx, agent, context)
        except PayloadMissing as error:
            return await self._quarantine(ctx.log, error)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever the agent's code raises is its outcome
            failure = error.with_traceback(None)  # whose frames hold the error
        except asyncio.CancelledError as error:
            if _is_cancelled():
                raise
            failure = error.with_traceback(None)  # the agent's own doing: it awaited something that was cancelled
        finally:
            if timer is not None:
                timer.cancel()
        return await self._conclude(ctx, agent, result, failure)

    async def _invoke(self, ctx: RunContext, agent: AgentDef | None, context: contextvars.Context) -> Any:
        """What the agent's code returns, or ``UNWOUND``."""
        if agent is None:
            words = f"no agent {self.claim.agent} of this release is offered here"
            raise RunFault("failed", "agent_unknown", words)
        if ctx.fault is not None:
            return UNWOUND
        data = await ctx.load(ctx.tape.submitted.payloads["input"][0])
        await take_up_unclaimed(ctx)
        root = ctx.schedule.begin("", context)
        result = await root.drive(_work(agent, ctx, data))
        if result is UNWOUND:
            _forget_cancellation()
        else:
            ctx.schedule.branches.remove(root)
        return result

    async def _conclude(
        self, ctx: RunContext, agent: AgentDef | None, result: Any, failure: BaseException | None
    ) -> str:
        """Put the run where it belongs now. What follows from a call that a stop refused did not happen: then the stop
        was met at that call."""
        try:
            return await self._put_away(ctx, agent, result, failure)
        except IntentRefused as refused:
            ctx.fault = None
            ctx.refused(refused.stop)
            return await self._put_away(ctx, agent, UNWOUND, None)

    async def _put_away(
        self, ctx: RunContext, agent: AgentDef | None, result: Any, failure: BaseException | None
    ) -> str:
        """Elsewhere, aside, parked, back into the queue, or to its end."""
        self._unwound = True  # from here on there is no code left that could be closed
        fault = ctx.fault
        if self.lost or isinstance(fault, ClaimLost):
            await ctx.last_errands()
            return "lost"
        if isinstance(fault, Divergence):
            if ctx.tape.before is not None and await forget(ctx):  # whoever has it next replays all of its tape
                return await self._hand_back(ctx, "its snapshot does not fit its code")
            return await self._quarantine(ctx.log, fault)
        if ctx.continued:
            return await self._end(ctx, GOES_ON)
        if fault is None and result is not UNWOUND and len(ctx.made) < len(ctx.recorded_paths):
            unmade = min(ctx.recorded_paths - ctx.made, key=lambda path: ctx.tape.calls[path][0].seq)
            return await self._quarantine(ctx.log, ctx.schedule.leftover(unmade))
        if fault is None and result is UNWOUND and self.parked:
            return await self._park(ctx)
        if isinstance(fault, RunFault) and fault.outcome in (PAUSED, DRAINED):
            return await self._hand_back(ctx, fault.outcome)
        if fault is None and result is UNWOUND and ctx.draining:
            return await self._hand_back(ctx, DRAINED)
        return await self._end(ctx, judge(ctx, agent, result, failure))

    def _deadline(self, ctx: RunContext) -> asyncio.TimerHandle | None:
        """Stop the run when its seconds or its deadline are over, also while it only computes."""
        left: list[float] = []
        seconds = ctx.facts.budget.seconds
        if seconds:
            left.append(seconds - ctx.active_seconds())
        if self.claim.deadline:
            left.append((self.claim.deadline - ctx.now()) / 1e6)
        if not left:
            return None
        words = f"seconds: {seconds:g} allowed" if seconds and left[0] == min(left) else "the deadline has passed"
        return ctx.schedule.loop.call_later(
            max(0.0, min(left)), lambda: ctx.end("exhausted", "over_seconds", words, needed=["more time"])
        )

    async def _end(self, ctx: RunContext, ending: Ending) -> str:
        """Write the last event; a child's end reaches its parent's inbox in the same transaction."""
        children = open_children(ctx)
        if children:
            await leave_duties(self.services, self.claim, children, lambda: self.lost)
        # Nothing is awaited from here on: a call that ends meanwhile would be on the tape and not in these sums.
        output = ctx.log.payload(ending.output) if ending.output else ""
        ctx.ledger.close()
        totals = ctx.ledger.totals()
        event = ctx.event(
            RunEnded,
            outcome=ending.outcome,
            code=ending.code,
            reason=ending.reason,
            missing=ending.missing,
            needed=ending.needed,
            done=ending.done,
            totals=totals,
            simulated=ctx.simulated,
            payloads={"output": [output]} if output else {},
        )
        post = None if ctx.continued or self._is_over(ctx.tape) else told_to_parent(ctx, ending, totals, output)
        move = Move(Status.ENDED, outcome=ending.outcome, code=ending.code, post=post)
        try:
            written = await self._finish(ctx.log, move, event)
        except (EventTooLarge, InputInvalid) as error:
            if ending.code == error.code:
                raise
            missing = [*ending.missing, "a record of all that happened"]
            failed = Ending("failed", error.code, error.what, missing=missing, needed=[error.advice])
            return await self._end(ctx, failed)
        if not written:
            return "lost"
        await after_end(ctx, children, totals.nano)
        return "ended"

    async def _park(self, ctx: RunContext) -> str:
        """Let go of the run until a letter or the earliest time comes."""
        for letter in ctx.mail.unclaimed():
            ctx.log.consume(letter.dedup)
            ctx.log.add(unclaimed_event(ctx, letter))
        waiting = list(ctx.mail.waiting.values())
        times = [item.until for item in waiting if item.until]
        event = ctx.event(RunParked, waiting=waiting)
        move = Move(Status.PARKED, min(times) if times else None, stable_json(waiting))
        return "parked" if await self._finish(ctx.log, move, event) else "lost"

    async def _hand_back(self, ctx: RunContext, reason: str) -> str:
        move = Move(Status.QUEUED, waiting=stable_json(list(ctx.mail.waiting.values())))
        return "handed_back" if await self._finish(ctx.log, move, ctx.event(RunHandedBack, reason=reason)) else "lost"

    async def _quarantine(self, log: RunLog, error: PenstockError, code: str = "") -> str:
        """Set the run aside for a person: its record cannot be read or repeated here. Nothing is guessed at."""
        ctx = self.ctx
        if ctx is None:
            move = Move(Status.QUARANTINED, code=code or error.code)
            return "quarantined" if await self._finish(log, move, None) else "lost"
        ctx.log.add(ctx.event(RunHandedBack, reason=str(error.what)[:2000], payloads=await side_by_side(ctx, error)))
        move = Move(Status.QUARANTINED, waiting=b"[]", code=code or error.code)
        return "quarantined" if await self._finish(log, move, None) else "lost"

    async def _finish(self, log: RunLog, move: Move, event: Any) -> bool:
        try:
            await log.end(move, event)
        except ClaimLost:
            return False
        return True

    def notice(self, letters: int, stop: Stop | None) -> None:
        """The row says that there is something to notice."""
        ctx = self.ctx
        if ctx is None:
            return
        if stop is not None and ctx.fault is None:
            ctx.refused(stop)
        if letters > 0:
            fetching = ctx.schedule.loop.create_task(self.fetch_letters())
            self._fetching.add(fetching)
            fetching.add_done_callback(self._fetching.discard)

    async def fetch_letters(self) -> None:
        """Take new letters to the calls that wait for them."""
        ctx = self.ctx
        if ctx is None:
            return
        key = self.claim.tenant, self.claim.run
        with contextlib.suppress(JournalError):  # the next look at the row says again that there are letters
            for letter in (await self.services.journal.letters([key])).get(key, []):
                ctx.mail.post(letter)

    def _unstorable(self, event: Event, error: PenstockError) -> None:
        """Something that happened could not be written down: the run does not go on as if it had not happened."""
        if self.ctx is not None:
            self.ctx.stop(error)

    def drain(self) -> None:
        """Hand the run back as soon as nothing of it is in flight: at once when it is between calls, or waits."""
        self.draining = True
        if self.ctx is not None:
            self.ctx.drain()

    def interrupt(self) -> None:
        """The grace time is over: give up on model calls and reads in flight; whoever has the run next repeats them."""
        if self.ctx is not None:
            self.ctx.stop(RunFault(DRAINED, DRAINED, "the worker had to leave"))

    def cut_off(self) -> None:
        """Hand the run back over calls that cannot be interrupted: its writes in flight are in doubt from now on.

        Also a run that was about to end: whoever has it next comes to the same end, and knows of the doubts.
        """
        ctx = self.ctx
        if ctx is not None and ctx.fault is not None:
            if not isinstance(ctx.fault, ClaimLost | Divergence) and not ctx.schedule.quiet():
                ctx.fault = RunFault(DRAINED, DRAINED, "the worker had to leave")
            self._unwind(ctx)

    def lose(self, error: PenstockError | None = None) -> None:
        """Another holds the run now: stop at once, append nothing."""
        self.lost = True
        if self.ctx is not None:
            self.ctx.stop(error or ClaimLost(f"run {self.claim.run} has another holder than epoch {self.claim.epoch}"))

    def _idle(self) -> None:
        """Nothing will move without something from outside: unwind, then park."""
        ctx = self.ctx
        if ctx is None or self.parked or not ctx.schedule.idle() or not ctx.mail.waiting:
            return
        self.parked = True
        ctx.mail.put_away()
        self._unwind(ctx)

    def _quiet(self) -> None:
        """A stop was asked for and nothing is in flight any more."""
        ctx = self.ctx
        if ctx is not None and (ctx.fault is not None or ctx.draining) and ctx.schedule.quiet():
            self._unwind(ctx)

    def _unwind(self, ctx: RunContext) -> None:
        if self._unwound:
            return
        self._unwound = True
        ctx.schedule.stopping = True
        self.tainted.extend(ctx.schedule.close())


async def _work(agent: AgentDef, ctx: RunContext, data: bytes) -> Any:
    return await agent.perform(Run(ctx), agent.read_input(data))


def _is_cancelled() -> bool:
    """Whether somebody asked this task to stop."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _forget_cancellation() -> None:
    """Unwinding cancelled this task to wake it; nobody asked it to stop."""
    task = asyncio.current_task()
    while task is not None and task.cancelling():
        task.uncancel()
