"""One simulated call of a process: reserved, written, made, settled; or gone on with as the tape of its run says."""

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

from benchmarks.budgets_books import CALL_NANO, CALL_TOKENS, TENANT
from penstock.adapters.memory.records import Run
from penstock.events import Amount, Event, ModelIntent, ModelOutcome, RunEnded, decode, encode
from penstock.gates.budgets.charging import Charging
from penstock.gates.budgets.share import Refusal
from penstock.journal.chain import link
from penstock.kernel.errors import ClaimLost
from penstock.ports.records import Answer, Batch, Move, Row, Status, Summary

if TYPE_CHECKING:
    from benchmarks.budgets_simulated import Process, World

AGENT: Final = "clerk"
LATENCY_SECONDS: Final = (0.02, 0.3)
FAILS: Final = 0.1
"""How often the provider fails, and is asked again, where that happens at all."""
ATTEMPTS: Final = 4
SUMMARY: Final = Summary()


class _Log:
    """One process's claim of a run."""

    def __init__(self, process: "Process", run: Run) -> None:
        self.process, self.run, self.epoch = process, run, run.epoch
        self.open = True
        self.before = [decode(row.body) for row in run.tape[1:]]
        self.charging = Charging(process.shares, TENANT, self.before)
        self._seq, self._head = len(run.tape), run.tape[-1].hash

    async def add(self, *events: Event, end: bool = False) -> bool:
        """Whether they were written; not when the reservation does not hold.

        Raises:
            ClaimLost: another process goes on with the run.
        """
        world, rows, head = self.process.world, [], self._head
        charges = [found for event in events if (found := self.charging(event)) is not None]
        for number, event in enumerate(events, self._seq + 1):
            event.seq, event.epoch = number, self.epoch
            body = encode(event)
            head = link(head, body)
            rows.append(Row(number, body, head))
        batch = Batch(
            TENANT,
            self.run.new.id,
            self.epoch,
            self._seq,
            rows,
            SUMMARY,
            charges=[item for found in charges for item in found.items],
            move=Move(Status.ENDED, outcome="succeeded") if end else None,
        )
        answer = await world.appended(self.process, self.run, batch, events)
        if answer.answer is Answer.APPLIED:
            self._seq, self._head = self._seq + len(rows), head
            for found in charges:
                found.applied()
            return True
        error = answer.error or ClaimLost("another process holds the run", run=self.run.new.id)
        for found in charges:
            found.dropped(error)
        if answer.answer is not Answer.REFUSED:
            raise error
        world.counts.share_lost += 1
        return False


async def work(process: "Process", run: Run) -> None:
    """Go on with a run, as its tape says, until it ends or another has it."""
    with contextlib.suppress(ClaimLost):
        log = _Log(process, run)
        attempt = await _settled(process.world, log)
        while attempt <= ATTEMPTS and await _called(process, log, attempt):
            process.world.counts.retries += 1
            attempt += 1
        if log.open:
            await log.add(_event(RunEnded, run, outcome="exhausted"), end=True)


async def _settled(world: "World", log: _Log) -> int:
    """Settle at its maximum what those before had reserved; the number of the next attempt, or past all."""
    before = {event.attempt: event for event in log.before if isinstance(event, ModelIntent)}
    lost = [before[attempt] for _, attempt in log.charging.open]
    world.counts.at_maximum += len(lost)
    if lost and world.chance.random() < 0.3:  # the end of the run settles it too
        return ATTEMPTS + 1
    for intent in lost:
        outcome = _event(
            ModelOutcome,
            log.run,
            path="1",
            attempt=intent.attempt,
            status="lost",
            used=intent.reserved,
            at_maximum=True,
        )
        await log.add(outcome)
    world.counts.retries += bool(before)
    return max(before, default=0) + 1


async def _called(process: "Process", log: _Log, attempt: int) -> bool:
    """Make one attempt; whether another follows. The run has ended after one that succeeded."""
    world, run = process.world, log.run
    chance = world.chance
    nano = chance.randint(CALL_NANO // 10, CALL_NANO)
    reserved = Amount(nano * CALL_TOKENS // CALL_NANO, 0, nano)
    while True:
        hold = await process.shares.reserve(TENANT, AGENT, run.new.tags, reserved)
        assert hold is not None
        if isinstance(hold, Refusal):
            world.refused(hold)
            return False
        log.charging.holds.add(hold)
        log.charging.expect(hold)
        intent = _event(
            ModelIntent, run, path="1", model="m", digest="d", attempt=attempt, reserved=reserved, charged=hold.accounts
        )
        if await log.add(intent):
            break
    await asyncio.sleep(chance.uniform(*LATENCY_SECONDS))
    fails = world.plan.incidents > 0 and chance.random() < FAILS
    part = chance.choice((0.0, 0.3)) if fails else chance.uniform(0.05, 1.0)
    used = Amount(int(reserved.tokens_in * part), 0, int(reserved.nano * part))
    status = "ok" if not fails else "error" if part else "not_started"
    outcome = _event(ModelOutcome, run, path="1", attempt=attempt, status=status, used=used, again=fails)
    if fails:
        return await log.add(outcome)
    log.open = False
    await log.add(outcome, _event(RunEnded, run, outcome="succeeded"), end=True)
    return False


def _event(kind: Any, run: Run, **fields: Any) -> Any:
    return kind(tenant=TENANT, run=run.new.id, agent=AGENT, **fields)
