"""Bugs to be planted in the engine and in the database: each one a mistake that somebody could really make."""

import asyncio
import contextlib
import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest
from tests.sim.world import store as sim_store
from tests.sim.world.client import SimulatedJournal
from tests.sim.world.store import Database, Session

from penstock.adapters.memory import appending
from penstock.adapters.memory import rates as memory_rates
from penstock.adapters.memory import records as memory_records
from penstock.adapters.memory.documents import MemoryDocuments
from penstock.adapters.memory.questions import MemoryQuestions
from penstock.adapters.memory.triggers import MemoryTriggers
from penstock.adapters.memory.waits import MemoryWaits
from penstock.agents import stages
from penstock.events import Amount, ModelIntent, ModelOutcome, Preview, RunEnded, ToolOutcome
from penstock.gates.breakers.guard import BreakerGuard
from penstock.gates.budgets import charging
from penstock.gates.model import gate as model_gate
from penstock.gates.run.context import RunContext
from penstock.gates.run.ledger import Ledger
from penstock.gates.run.mailbox import Mailbox
from penstock.gates.tool import approval as tool_approval
from penstock.gates.tool import attempt as tool_attempt
from penstock.gates.tool import doubt
from penstock.gates.tool import execution as tool_run
from penstock.gates.tool import gate as tool_gate
from penstock.gates.tool import preview as tool_preview
from penstock.gates.tool.preview import preview_data
from penstock.journal.log import RunLog
from penstock.journal.writer import GroupWriter
from penstock.kernel.errors import JournalFull, JournalUnavailable, RunUnknown, ShareLost
from penstock.kernel.ids import new_id
from penstock.ports.questions import Decided, Verdict
from penstock.ports.records import Answer, Applied, Batch, Claim, Letter, Move, Payload, Post, RunKey, Status
from penstock.runs.schedules import firing
from penstock.runs.triggers import triggering

Patch = pytest.MonkeyPatch


def no_epoch_check(patch: Patch) -> None:
    """An append looks at the sequence number alone."""
    judge = appending._judge

    def lax(run: Any, batch: Batch, stop: Any) -> Any:
        answer = judge(run, batch, stop)
        return None if answer is Answer.FENCED and run.last_seq == batch.last_seq else answer

    patch.setattr(appending, "_judge", lax)


def no_sequence_check(patch: Patch) -> None:
    """An append looks at the epoch alone."""
    judge = appending._judge

    def lax(run: Any, batch: Batch, stop: Any) -> Any:
        held = run.epoch == batch.epoch and run.status is Status.RUNNING
        return None if held and run.last_seq != batch.last_seq else judge(run, batch, stop)

    patch.setattr(appending, "_judge", lax)


def no_row_lock(patch: Patch) -> None:
    """An append judges a row and writes it later, and nobody keeps others away in between."""

    async def interleaved(
        self: Database, session: Session, batches: Sequence[Batch], payloads: Sequence[Payload], *, blocking: bool
    ) -> list[Applied]:
        controls = await self.begin_append(session)
        at = self.clock.now_us()
        with self.seeing(controls):
            rows = [(self.stored.runs[batch.tenant, batch.run], batch) for batch in batches]
            judged = [appending._judge(run, batch, self.stored.stop_of(run)) for run, batch in rows]
        again = [run.last_seq != batch.last_seq for run, batch in rows]
        await self._flush()
        self.at_once(self.memory.put_payloads(payloads))
        for (run, batch), answer, repeated in zip(rows, judged, again, strict=True):
            if answer is None and not repeated:
                epoch, seq = run.epoch, run.last_seq
                appending._write(self.stored, run, batch, at)
                if batch.rows:
                    self.committed(batch, epoch, seq)
        return [
            Applied(answer or Answer.APPLIED, len(run.letters()), self.stored.stop_of(run), at)
            for (run, _), answer in zip(rows, judged, strict=True)
        ]

    patch.setattr(Database, "append", interleaved)


def lock_inside_the_statement(patch: Patch) -> None:
    """The controls are read with the snapshot that was taken before the lock was had."""

    async def begin(self: Database, session: Session) -> Any:
        controls = list(self.stored.controls)
        await self._pause(self.weather.snapshot)
        await self.share(session)
        return controls

    patch.setattr(Database, "begin_append", begin)


def seal_without_waiting(patch: Patch) -> None:
    """A kill of everything is acknowledged while appends that missed it are under way."""

    async def seal(self: Database, session: Session) -> int:
        return self.clock.now_us()

    patch.setattr(Database, "seal", seal)


def only_wide_stops_are_looked_at(patch: Patch) -> None:
    """The check of controls knows those of a tenant and of everything, and none of a narrower scope."""
    covers = memory_records.Control.covers

    def blind(self: Any, run: Any) -> bool:
        return self.scope.kind in ("tenant", "everything") and covers(self, run)

    patch.setattr(memory_records.Control, "covers", blind)


def inbox_not_drained(patch: Patch) -> None:
    """A run parks although a letter has come."""
    move = appending._move

    def park(run: Any, asked: Move, now: int) -> None:
        move(run, asked, now)
        if asked.status is Status.PARKED and run.status is Status.QUEUED:
            run.status, run.wake_at = Status.PARKED, asked.wake_at

    patch.setattr(appending, "_move", park)


def wake_only_the_parked(patch: Patch) -> None:
    """A delivery updates the row WHERE status = 'parked', as its snapshot shows it."""

    async def deliver(self: Database, session: Session, post: Post) -> bool:
        run = self.stored.runs.get((post.tenant, post.run))
        if run is None or (run.status is Status.ENDED and post.kind != "settle"):
            raise RunUnknown("gone")
        parked = run.status is Status.PARKED
        await self._pause(0.3)
        if post.dedup in run.inbox:
            return False
        now = self.clock.now_us()
        run.inbox[post.dedup] = Letter(post.dedup, post.kind, post.body, now)
        if parked:
            run.wake(now, only=Status.PARKED)
        return True

    right_asking, right_decide = MemoryQuestions.asking, MemoryQuestions.decide
    snapshot: dict[RunKey, Status] = {}

    async def asking(self: MemoryQuestions, *where: Any) -> Any:
        snapshot.update((key, run.status) for key, run in self._store.runs.items())
        return await right_asking(self, *where)

    async def decide(self: MemoryQuestions, post: Post, decided: Decided) -> Verdict:
        run = self._store.runs.get((post.tenant, post.run))
        before = None if run is None else (run.status, run.wake_at)
        verdict = await right_decide(self, post, decided)
        if run is not None and before is not None and snapshot.get(run.key) is not Status.PARKED:
            run.status, run.wake_at = before
        return verdict

    patch.setattr(Database, "deliver", deliver)
    patch.setattr(MemoryQuestions, "asking", asking)
    patch.setattr(MemoryQuestions, "decide", decide)


def childs_end_by_itself(patch: Patch) -> None:
    """A child's end is written, and then posted to its parent in a transaction of its own."""
    append = SimulatedJournal.append

    async def twice(
        self: SimulatedJournal, batches: Sequence[Batch], payloads: Sequence[Payload] = (), *, blocking: bool = False
    ) -> list[Applied]:
        posts = [batch.move.post for batch in batches if batch.move is not None and batch.move.post is not None]
        for batch in batches:
            if batch.move is not None and batch.move.post is not None:
                move = batch.move
                batch.move = Move(move.status, move.wake_at, move.waiting, move.outcome, move.code)
        answers = await append(self, batches, payloads, blocking=blocking)
        for post in posts:
            try:
                await self.deliver(post)
            except (RunUnknown, JournalUnavailable, JournalFull):
                continue
        return answers

    patch.setattr(SimulatedJournal, "append", twice)


def claimed_twice(patch: Patch) -> None:
    """Two claims at the same time get the same run."""
    claim = Database.claim
    just: list[tuple[float, Claim]] = []

    def shared(self: Database, worker: Any, releases: Sequence[str], limit: int) -> list[Claim]:
        now = asyncio.get_running_loop().time()
        also = [known for at, known in just if 0 <= now - at < 0.005]
        claims = claim(self, worker, releases, limit)
        just[:] = [(now, known) for known in claims]
        self.claimed += [(now, known, worker) for known in also]
        return [*claims, *also]

    patch.setattr(Database, "claim", shared)


def leases_by_the_workers_clock(patch: Patch) -> None:
    """Whether a lease is over is judged by the wall clock of whoever asks."""
    claim = SimulatedJournal.claim

    async def skewed(self: SimulatedJournal, worker: Any, releases: Sequence[str], limit: int) -> list[Claim]:
        memory = self.database.memory
        plain = self.database.claim

        def by_mine(*args: Any) -> list[Claim]:
            right, memory._clock = memory._clock, self._clock
            memory._store.workers[worker].lease_until += 10**10
            try:
                return plain(*args)
            finally:
                memory._clock = right
                memory._store.workers[worker].lease_until -= 10**10

        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(self.database, "claim", by_mine)
            return await claim(self, worker, releases, limit)

    patch.setattr(SimulatedJournal, "claim", skewed)


def never_put_back(patch: Patch) -> None:
    """Nobody asks for claims whose answer was lost."""

    async def nothing(self: SimulatedJournal, *args: Any) -> int:
        return 0

    patch.setattr(SimulatedJournal, "put_back", nothing)


def call_before_the_intent(patch: Patch) -> None:
    """The call is made while its intent is on its way."""

    async def intend(self: RunContext, call: Any, event: Any) -> None:
        self.intend_later(call, event)

    patch.setattr(RunContext, "intend", intend)


def allowance_not_checked(patch: Patch) -> None:
    """Nobody looks at the clock before the call."""

    async def start(clock: Any, tool: Any, kwargs: Any, start_by: int) -> Any:
        return await tool.call(**kwargs)

    patch.setattr(tool_run, "_start", start)


async def _blindly(ctx: RunContext, call: Any) -> tuple[ToolOutcome, bytes]:
    intent = next(event for event in reversed(call.recorded) if hasattr(event, "allowance"))
    return doubt._conclude(ctx, call, intent, "error", again=True, words="repeated")


def blind_retry_in_the_gate(patch: Patch) -> None:
    """A write whose answer did not come is tried again at once."""

    async def retry(ctx: Any, call: Any, tool: Any, args: Any, cause: str) -> Any:
        return await _blindly(ctx, call)

    patch.setattr(tool_attempt, "settle", retry)


def blind_repeat_after_a_crash(patch: Patch) -> None:
    """A write that was in doubt when its worker died is made again by the next one."""

    async def repeat(ctx: Any, call: Any, tool: Any, args: Any, cause: str) -> Any:
        return await _blindly(ctx, call)

    patch.setattr(tool_gate, "settle", repeat)


def settled_at_once(patch: Patch) -> None:
    """A doubt is settled before the call's allowance and time-out are over."""
    wait = Mailbox.wait

    async def impatient(self: Mailbox, waiting: Any, key: str) -> Any:
        if waiting.kind == "doubt" and waiting.until:
            return self._letters.pop(key, None)
        return await wait(self, waiting, key)

    patch.setattr(Mailbox, "wait", impatient)


def lost_calls_cost_nothing(patch: Patch) -> None:
    """A model call whose outcome was lost is not charged."""

    def free(ctx: RunContext, call: Any, intents: Sequence[ModelIntent]) -> None:
        for intent in intents:
            ctx.ledger.settle(intent.reserved, Amount())
            lost = ctx.event(ModelOutcome, call.path, attempt=intent.attempt, status="lost", again=True)
            ctx.record(call, lost)
        if intents:
            ctx.schedule.settled(call.path)

    patch.setattr(model_gate, "record_lost", free)


def nothing_is_reserved(patch: Patch) -> None:
    """Parallel calls each see the whole budget."""
    settle = Ledger.settle

    def reserve(self: Ledger, amount: Amount) -> None:
        self.open_intents += 1

    def charge(self: Ledger, reserved: Amount, used: Amount, *, at_maximum: bool = False) -> None:
        settle(self, Amount(), used, at_maximum=at_maximum)

    patch.setattr(Ledger, "reserve", reserve)
    patch.setattr(Ledger, "settle", charge)


def fenced_is_applied(patch: Patch) -> None:
    """A worker that was overtaken goes on as if its events had been written."""
    settle = RunLog.settle

    def deaf(self: RunLog, answer: Applied) -> None:
        settle(self, Applied(Answer.APPLIED) if answer.answer is Answer.FENCED else answer)

    patch.setattr(RunLog, "settle", deaf)


def lost_answer_is_applied(patch: Patch) -> None:
    """An append whose answer was lost is taken for written."""
    insist = GroupWriter._insist

    async def once(self: GroupWriter, group: Any, *, blocking: bool) -> list[Applied]:
        try:
            batches = [part.batch for part in group]
            payloads = [payload for part in group for payload in part.payloads]
            return await self._journal.append(batches, payloads, blocking=blocking)
        except JournalUnavailable:
            return [Applied(Answer.APPLIED) for _ in group]
        except JournalFull:
            return await insist(self, group, blocking=blocking)

    patch.setattr(GroupWriter, "_insist", once)


def last_decision_wins(patch: Patch) -> None:
    """A second decision takes the place of the first while nobody has read it."""
    receive = memory_records.Run.receive

    def replaced(self: memory_records.Run, letter: Letter) -> bool:
        if letter.kind == "approval" and letter.dedup in self.inbox and letter.dedup not in self.consumed:
            self.inbox[letter.dedup] = letter
            return True
        return receive(self, letter)

    patch.setattr(memory_records.Run, "receive", replaced)


def consumed_before_its_event(patch: Patch) -> None:
    """A letter is consumed with whatever event comes next, not with the one that journals it."""
    wait = Mailbox.wait

    async def hasty(self: Mailbox, waiting: Any, key: str) -> Any:
        letter = await wait(self, waiting, key)
        if letter is not None:
            self._log.consume(letter.dedup)
            await asyncio.sleep(0.5)
        return letter

    patch.setattr(Mailbox, "wait", hasty)


def event_for_everybody(patch: Patch) -> None:
    """An event that a run was given is not marked as taken."""
    match = MemoryWaits._match

    def generous(self: MemoryWaits, topic: Any) -> None:
        match(self, topic)
        for item in self.topics.get(topic, []):
            item.taken_by = None

    patch.setattr(MemoryWaits, "_match", generous)


def last_writer_wins(patch: Patch) -> None:
    """A document is written over whatever version there is."""
    put = MemoryDocuments.put

    async def careless(self: MemoryDocuments, write: Any, keep: int) -> Any:
        known = await self.get(write.tenant, write.kind, write.name)
        latest = known.latest.version if known is not None else 0
        return await put(self, dataclasses.replace(write, expected=latest), keep)

    patch.setattr(MemoryDocuments, "put", careless)


def window_not_looked_at(patch: Patch) -> None:
    """A shared limit holds back bursts, and does not count the minute."""
    patch.setattr(memory_rates._Meter, "opens_at", lambda self, tokens, window: 0)
    patch.setattr(memory_rates._Meter, "gap", property(lambda self: 1))


def fired_without_a_key(patch: Patch) -> None:
    """Whoever fires a schedule submits a run, whoever else may have done so for that time."""
    submit_one = firing.Firing._submit_one

    async def anew(self: Any, schedule: Any, time: str) -> Any:
        return await submit_one(self, schedule, f"{time}:{new_id(self._services.clock)}")

    patch.setattr(firing.Firing, "_submit_one", anew)


def event_fires_by_whoever_takes_it(patch: Patch) -> None:
    """A run of a trigger is known by who made it, and not by the event that it is made of."""
    firing_key = triggering.firing_key
    patch.setattr(triggering, "firing_key", lambda firing: f"{firing_key(firing)}:{firing.token}")


def taken_events_are_nobody_elses(patch: Patch) -> None:
    """An event that a worker took in order to make a run of it is not offered again when that worker dies."""
    take = MemoryTriggers.take

    async def for_ever(self: MemoryTriggers, agents: Sequence[str], lease_seconds: float, limit: int) -> Any:
        return await take(self, agents, 1e6, limit)

    patch.setattr(MemoryTriggers, "take", for_ever)


def content_read_too_early(patch: Patch) -> None:
    """What an agent takes back is read from the store, where it may not have arrived yet."""

    async def hasty(ctx: Any) -> None:
        return None

    patch.setattr(stages, "_flush", hasty)


def looked_at_again(patch: Patch) -> None:
    """Whoever takes a run up has a question previewed once more, though it is on the tape."""
    ask = tool_approval.ask

    async def again(ctx: RunContext, call: Any, tool: Any, args: Any, **asked: Any) -> Any:
        if call.recorded and tool.preview is not None:
            await preview_data(ctx, call, tool, args)
        return await ask(ctx, call, tool, args, **asked)

    patch.setattr(tool_gate, "ask", again)


def told_by_nobody(patch: Patch) -> None:
    """A preview that fails is recorded as one that names no change."""
    patch.setattr(tool_preview, "_preview", lambda ran: Preview(ran.value if isinstance(ran.value, list) else []))


def charged_without_being_accepted(patch: Patch) -> None:
    """A batch is charged to its budgets whatever becomes of it."""
    append = appending.append

    def lax(store: Any, batch: Batch, now: int) -> Applied:
        answer = append(store, batch, now)
        if batch.charges and answer.answer is not Answer.APPLIED:
            with contextlib.suppress(ShareLost):
                store.charge(batch.tenant, batch.charges)
        return answer

    patch.setattr(sim_store, "append_one", lax)


def ends_settle_nothing(patch: Patch) -> None:
    """What is reserved by calls that the run's end finds open stays reserved."""
    patch.setattr(charging, "SETTLING", charging.SETTLING - {RunEnded})


def circuits_not_asked_again(patch: Patch) -> None:
    """An intent that was checked too early is sent again with the new version, and nobody checks it."""
    patch.setattr(BreakerGuard, "objection", lambda self, event: None)


def tripped_under_appends(patch: Patch) -> None:
    """A trip does not wait for the appends under way, which have read the version before."""

    async def trip(self: Database, session: Session, *said: Any) -> bool:
        return self.write(lambda: self.memory.breakers.trip(*said))

    patch.setattr(Database, "trip_breaker", trip)
