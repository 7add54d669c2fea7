"""A run that the gateway drives: each call of a client is a branch of it."""

import asyncio
import contextvars
import logging
from collections.abc import Callable
from typing import Any

from penstock.events import Amount, Event, ModelOutcome, RunClaimed
from penstock.gates.model.gate import Turn, call_model
from penstock.gates.model.plan import ModelCall
from penstock.gates.order.branches import UNWOUND, Branch
from penstock.gates.order.tape import Tape
from penstock.gates.run.context import RunContext
from penstock.gates.run.letting_go import let_go
from penstock.gates.run.services import Services
from penstock.integrations.gateway.prompts import Prompts
from penstock.journal.held import HeldLog
from penstock.journal.writer import GroupWriter
from penstock.kernel.errors import ClaimLost, GateCancelled, IntentRefused, JournalError, PenstockError, RunFault
from penstock.ports.records import Begin, Claim
from penstock.runs.work.ending import Ending, judge
from penstock.runs.work.executor import DRAINED, PAUSED, Execution
from penstock.runs.work.worker import Worker

_logger = logging.getLogger("penstock.gateway")


class Stopped(Exception):
    """The run of a call was stopped before the call had an outcome that counts. ``fault`` says why."""

    def __init__(self, fault: PenstockError | None) -> None:
        super().__init__(str(fault))
        self.fault = fault


class GatewayRun(Execution):
    """Held from the moment it is made until it is ended, by whoever serves its calls.

    There is no code to run again: whoever takes it over settles what is in doubt and ends it
    (`penstock.integrations.gateway.lost`). So it is never parked and never handed back.
    """

    def __init__(self, begin: Begin, claim: Claim, services: Services, writer: GroupWriter, worker: Worker) -> None:
        super().__init__(claim, [begin.run.event], [], services, writer, worker.name)
        self.name = begin.name
        self.tags = begin.run.tags
        self.log = HeldLog(claim, writer, begin)
        self.log.on_flags = self.notice
        self.log.on_lost = self.lose
        self.log.on_bad = self._unstorable
        self.on_closed: Callable[[GatewayRun], None] = lambda run: None
        self.put_off: Callable[[Callable[[], None]], None] | None = None
        """Has the run ended soon; None: it is ended at once."""
        self.prompts = Prompts()
        self.put_away = asyncio.Event()
        self._settled: dict[str, Amount] = {}
        self.idle_since_ns = services.clock.boot_ns()
        self.context = self.ctx = self._context(Tape(self.rows), self.log)
        self.log.on_event = self._witness
        self.rows = []
        self._worker = worker
        self._pending: dict[Branch, asyncio.Future[Turn]] = {}
        self._made = 0
        self._ending: Ending | None = None
        self._closing: asyncio.Task[None] | None = None
        self._waits = False
        worker.running[claim.tenant, claim.run] = self
        claimed = self.context.event(RunClaimed, worker=worker.id, worker_name=worker.name, claims=1, actor=worker.name)
        self.log.add(claimed, lazy=True)

    @property
    def open(self) -> bool:
        """Whether calls can be made."""
        return self._ending is None and self._closing is None and self.context.fault is None and not self.lost

    @property
    def busy(self) -> bool:
        """Whether calls are under way."""
        return bool(self._pending)

    def begin_call(self, asked: ModelCall) -> "asyncio.Future[Turn]":
        """Make one call; others may be under way.

        The future raises:
            CallDenied, ModelFailed: as the model gate.
            Stopped: the run was stopped meanwhile.
        """
        schedule = self.context.schedule
        done: asyncio.Future[Turn] = schedule.loop.create_future()
        context = contextvars.copy_context()
        branch = schedule.begin("", context)
        branch.counter = self._made
        self._made += 1
        self._pending[branch] = done
        branch.coro = coro = call_model(self.context, asked)
        branch.task = schedule.loop.create_task(self._drive_call(branch, coro), context=context)
        return done

    def path_of_next(self) -> str:
        """The path that the next call will have."""
        return str(self._made)

    def settled(self, path: str) -> Amount | None:
        """What the call at that path has used, asked once; None when it has no outcome."""
        return self._settled.pop(path, None)

    def end(self, ending: Ending) -> None:
        """End the run as soon as no call is under way."""
        if self._ending is None:
            self._ending = ending
        self._look()

    def drain(self) -> None:
        """Take no more calls, and end when the last has ended."""
        self.draining = True
        self.end(Ending("succeeded", "gateway_stopped", "the gateway was stopped"))

    async def _drive_call(self, branch: Branch, coro: Any) -> None:
        result: Any = None
        failure: Exception | None = None
        try:
            result = await branch.drive(coro)
        except asyncio.CancelledError:
            failure = GateCancelled("a call of the gateway was cancelled from outside the engine")
        except Exception as error:  # noqa: BLE001 - whoever made the call is told
            failure = error
        if result is UNWOUND:
            failure = Stopped(self.context.fault)
        elif branch in self.context.schedule.branches:
            self.context.schedule.finish(branch)
        self._settle(branch, result, failure)
        self._look()

    def _settle(self, branch: Branch, result: Any, failure: Exception | None) -> None:
        done = self._pending.pop(branch, None)
        self.idle_since_ns = self.services.clock.boot_ns()
        if done is None or done.done():
            return
        if failure is None:
            done.set_result(result)
        else:
            done.set_exception(failure)
            done.exception()  # whoever asked may have left

    def _witness(self, event: Event) -> None:
        self.context.ledger.witness(event)
        if isinstance(event, ModelOutcome):
            self._settled[event.path] = event.used

    def _idle(self) -> None:
        """Calls that wait for a limit wait here: there is no code that could be run again from a parked run."""

    def _unwind(self, ctx: RunContext) -> None:
        super()._unwind(ctx)
        ctx.schedule.loop.call_soon(self._unwound_all)

    def _unwound_all(self) -> None:
        for branch in list(self._pending):
            if branch.task is None or branch.task.done():
                self._settle(branch, None, Stopped(self.context.fault))
        self._look()

    def _look(self) -> None:
        """End the run, when it is to be ended and nothing of it is under way."""
        if self._pending or self._closing is not None or self.put_away.is_set():
            return
        stopped = self.context.fault is not None or self.lost
        if stopped or (self._ending is not None and (self.draining or self.put_off is None)):
            self._begin_close()
        elif self._ending is not None and self.put_off is not None and not self._waits:
            self._waits = True
            self.put_off(self._begin_close)

    def _begin_close(self) -> None:
        if self._closing is None and not self.put_away.is_set():
            self._closing = self.context.schedule.loop.create_task(self._close())

    async def _close(self) -> None:
        ctx = self.context
        try:
            if self.lost or isinstance(ctx.fault, ClaimLost):
                await ctx.last_errands()
            else:
                await self._write_end(ctx)
        except JournalError as error:
            _logger.warning("run %s could not be ended: %s", self.claim.run, error)
        except Exception:
            _logger.exception("run %s could not be ended", self.claim.run)
        finally:
            key = self.claim.tenant, self.claim.run
            if self._worker.running.get(key) is self:
                del self._worker.running[key]
            self.ctx = None
            let_go(ctx)
            # What refers to each other in circles is taken apart, so that its memory comes back now.
            log = self.log
            log.on_flags = log.on_lost = log.on_bad = log.on_event = _nothing
            ctx.mail.is_cut = _no
            self._closing = None
            self.put_away.set()
            self.on_closed(self)

    async def _write_end(self, ctx: RunContext) -> None:
        self._unwound = True
        try:
            await self._end(ctx, self._how(ctx))
        except IntentRefused as refused:
            ctx.fault = None
            ctx.refused(refused.stop)
            await self._end(ctx, self._how(ctx))

    def _how(self, ctx: RunContext) -> Ending:
        fault = ctx.fault
        if fault is None:
            return self._ending or Ending("succeeded")
        if isinstance(fault, RunFault) and fault.outcome == PAUSED:
            return Ending("cancelled", PAUSED, "a pause covered the run; calls of the gateway do not wait for its end")
        if isinstance(fault, RunFault) and fault.outcome == DRAINED:
            return Ending("failed", "gateway_stopped", "the gateway was stopped while a call was under way")
        return judge(ctx, None, None, None)


def _nothing(*_: object) -> None:
    """Nobody is to be told."""


def _no(*_: object) -> bool:
    return False
