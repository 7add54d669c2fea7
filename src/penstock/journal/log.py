"""The log of one run in its holder's hands: what it adds becomes events, in order, through the process's writer."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import msgspec

from penstock.events import Event
from penstock.journal.chain import link
from penstock.journal.entries import FAMILIES, Entry, Rare, concludes, encoded, follows, track, yields_to_stops
from penstock.journal.payloads import Committer, make_payload, ref_address, ref_text
from penstock.kernel.canonical import check_size
from penstock.kernel.errors import ClaimLost, IntentRefused, JournalError, PenstockError, RefusedLate, ShareLost
from penstock.kernel.randomness import token_bytes
from penstock.ports.budgets import Charge, Charges
from penstock.ports.records import Answer, Applied, Batch, Claim, Move, NewRun, Payload, Row, Stop, Summary

if TYPE_CHECKING:
    from penstock.journal.writer import GroupWriter

KNOWN_ADDRESSES = 20_000
"""Addresses that a log remembers so as not to send a payload twice; then it forgets them all and goes on."""


class RunLog:
    """Adds to one claimed run. An event gets its place in the run (``seq``, ``epoch``, hash) when its batch is formed,
    not before, so that a refused intent can be taken out and a bad event costs nobody else anything.

    Attributes:
        summary: the columns of the run's row, or a function that gives them; read when a batch is formed.
        on_flags: called with (letters in the inbox, stop) when the row said so.
        on_lost: called once when the claim is lost; every future has failed with that error by then.
        on_bad: called with an event that cannot be stored and why, when nobody waits for it.
        on_event: called with each event that is added.
        charging: says what an event charges to budgets above the task; None = nothing ever.
    """

    def __init__(self, claim: Claim, writer: "GroupWriter") -> None:
        self.claim = claim
        self.summary: Summary | Callable[[], Summary] = Summary()
        self.on_flags: Callable[[int, Stop | None], None] = lambda _letters, _stop: None
        self.on_lost: Callable[[PenstockError], None] = lambda _error: None
        self.on_bad: Callable[[Event, PenstockError], None] = lambda _event, _error: None
        self.on_event: Callable[[Event], None] = lambda _event: None
        self.charging: Callable[[Event], Charges | None] | None = None
        self.last_seq, self.head = claim.last_seq, claim.head
        self.lost: PenstockError | None = None
        self.batch: Batch | None = None
        self.skips = self.queued_bytes = self.formed_bytes = 0
        self.payloads: list[Payload] = []
        self.bytes = 0  # of the events formed under this claim
        self.scheduled = False
        # Of an erased subject nothing more is stored; a key that nobody keeps hides what its events commit to.
        self._committer = Committer(claim.subject_key or token_bytes(32))
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        self._queue: deque[Entry] = deque()
        self._sent: list[Entry] = []
        self._urgent = 0  # entries of the queue that are not lazy
        self._known: set[bytes] = set()
        self._children: list[NewRun] = []
        self._consumed: list[str] = []
        self._waiting: bytes | None = None
        self._open: set[tuple[str, str, int]] = set()
        self._one_by_one = 0
        self._closing = False
        self._met: Stop | None = None  # a stop refused an intent: later events may follow from what did not happen

    @property
    def queued(self) -> int:
        """Events added and not yet durable."""
        return len(self._queue) + len(self._sent)

    def add(self, event: Event, waiter: bool = False, *, lazy: bool = False) -> asyncio.Future[None] | None:
        """Add an event; with ``waiter`` a future that is done when it is durable.

        A ``lazy`` event is written with the next one that is not.
        """
        future = self._loop.create_future() if waiter else None
        self._enqueue(Entry(event, future, intent=False, lazy=lazy))
        return future

    def intent(self, event: Event) -> asyncio.Future[None]:
        """Add an intent. The call may be made when the future is done.

        The future raises:
            IntentRefused: a stop covers the run; nothing of the intent was written.
            ClaimLost: another worker holds the run.
        """
        future = self._loop.create_future()
        self._enqueue(Entry(event, future, intent=True, lazy=False))
        return future

    def end(self, move: Move, event: Event | None) -> asyncio.Future[None]:
        """Add the last event of this claim and the move that gives the claim up; nothing may be added after it, unless
        the future raises IntentRefused: a park or an end that may follow from a refused call was not written."""
        future = self._loop.create_future()
        entry = Entry(event, future, intent=yields_to_stops(move), lazy=False)
        entry.rare = Rare(move)
        self._enqueue(entry)
        self._closing = True
        return future

    def payload(self, data: bytes) -> str:
        """Store a payload under the run's subject, before any event that is added from now on; its reference.

        Raises:
            InputTooLarge: over the bound of one payload.
        """
        limit, claim = self._writer.settings.payload_max_bytes, self.claim
        if len(data) > limit:
            check_size(data, limit, "a payload", "payload_max_bytes")
        where = self._committer.address(data)
        if where not in self._known:
            if len(self._known) >= KNOWN_ADDRESSES:
                self._known.clear()
            self._known.add(where)
            self.foreign_payload(make_payload(claim.tenant, claim.subject, where, data))
        return ref_text(where)

    def remember(self, refs: Iterable[str]) -> None:
        """These are stored already: they need not be sent again."""
        self._known.update(map(ref_address, refs))

    def foreign_payload(self, payload: Payload) -> None:
        """Store a payload of another subject, for example the input of a child."""
        if self.lost is None:
            self.payloads.append(payload)
            self._count_bytes(len(payload.data))

    def child(self, run: NewRun) -> None:
        """Create a run in the transaction that writes the next event."""
        self._children.append(run)

    def consume(self, dedup: str) -> None:
        """A letter of the inbox is journalled by the next event."""
        self._consumed.append(dedup)

    def set_waiting(self, waiting: bytes) -> None:
        """The row's list of what the run waits for (JSON of ``events.Waiting``) changes without a move."""
        self._waiting = waiting
        self._writer.schedule(self)

    async def room(self) -> None:
        """Wait until the queues of this log and of the writer are below their bounds."""
        await self._writer.room(self)

    async def flush(self) -> None:
        """Wait until all that was added is durable, lazy events included.

        Raises:
            ClaimLost: another worker holds the run.
        """
        future = self._loop.create_future()
        self._enqueue(Entry(None, future, intent=False, lazy=False))
        await future

    def has_work(self) -> bool:
        """Whether a batch could be formed now."""
        return self.lost is None and (self.batch is not None or self._urgent > 0 or self._waiting is not None)

    def form(self, room_events: int, room_bytes: int) -> Batch | None:
        """For the writer: the batch to send; the same one until it is answered. None when there is nothing."""
        if self.batch is not None:
            return self.batch
        rows: list[Row] = []
        taken: list[Entry] = []
        consumed: list[str] = []
        children: list[NewRun] = []
        charges: list[Charge] = []
        intent, checked, checks, limit = False, None, self._writer.checks, self._writer.settings.event_max_bytes
        claim, head, seq, size = self.claim, self.head, self.last_seq, 0
        if self._one_by_one:
            room_events, self._one_by_one = 1, self._one_by_one - 1
        while self._queue and len(rows) < room_events and size < room_bytes:
            entry = self._queue.popleft()
            if not entry.lazy:
                self._urgent -= 1
            event = entry.event
            if event is not None:
                if entry.intent and checks is not None and type(event) in FAMILIES:
                    checked = checks.version
                    if (objection := checks.objection(event)) is not None:
                        if isinstance(objection, IntentRefused):  # what began already, with all that followed from it
                            self._stopped(objection.stop, [*taken, entry])
                            return self.form(room_events, room_bytes)
                        self._drop(entry, objection)
                        continue
                event.seq = seq + 1
                event.epoch = claim.epoch
                try:
                    body = encoded(event, limit)
                except PenstockError as error:
                    self._drop(entry, error)
                    continue
                seq += 1
                head = link(head, body)
                self.bytes += len(body)
                rows.append(Row(seq, body, head))
                size += len(body)
                if (family := FAMILIES.get(type(event))) is not None:
                    track(self._open, family, event)
            if entry.rare is not None:
                consumed += entry.rare.consumed
                children += entry.rare.children
            if entry.charges is not None:
                charges += entry.charges.items
            intent = intent or entry.intent
            taken.append(entry)
        waiting, self._waiting = self._waiting, None
        if not taken and waiting is None:
            return None
        self._sent = taken
        self.formed_bytes = size
        self.batch = Batch(
            claim.tenant,
            claim.run,
            claim.epoch,
            self.last_seq,
            rows,
            self._summary(),
            intent,
            consumed,
            children,
            taken[-1].rare.move if taken and taken[-1].rare is not None else None,
            waiting,
            checked=checked,
            charges=charges,
        )
        return self.batch

    def settle(self, answer: Applied) -> None:
        """For the writer: the batch's answer."""
        kind = answer.answer
        if kind is Answer.APPLIED:
            self._applied()
        elif kind is Answer.SKIPPED:
            self.skips += 1
            return
        elif kind is Answer.STOPPED:
            self._stopped(answer.stop or Stop.KILL)
        elif kind is Answer.STALE:
            self._requeue(self._take_back())
        elif kind is Answer.REFUSED:
            self._refused(answer.error or JournalError("the journal refused the events of a run"))
        else:
            self.lose(ClaimLost(f"run {self.claim.run} is held by another worker ({kind})", run=self.claim.run))
            return
        if answer.letters or answer.stop is not None:
            self._tell(self.on_flags, answer.letters, answer.stop)

    def lose(self, error: PenstockError) -> None:
        """For the writer: nothing more can be written under this claim."""
        if self.lost is not None:
            return
        self.lost = error
        for entry in (*self._sent, *self._queue):
            entry.fail(error)
        self._writer.queued_events -= self.queued
        self._count_bytes(-self.queued_bytes)
        self._sent, self.batch, self.payloads, self._urgent = [], None, [], 0
        self._queue.clear()
        self._tell(self.on_lost, error)

    def take_payloads(self) -> list[Payload]:
        """For the writer: the payloads to store before the next append."""
        payloads, self.payloads = self.payloads, []
        self._count_bytes(-self.queued_bytes)
        return payloads

    def give_back(self, payloads: list[Payload]) -> None:
        """For the writer: these must be stored again before the next append."""
        if self.lost is None:
            self.payloads = payloads + self.payloads
            self._count_bytes(sum([len(payload.data) for payload in payloads]))

    def _enqueue(self, entry: Entry) -> None:
        if self.lost is not None:
            entry.fail(self.lost)
            return
        if self._closing:
            raise JournalError(f"run {self.claim.run} was given up by this worker; nothing can be added to it")
        if self._met is not None and follows(entry):
            self._children, self._consumed = [], []
            entry.fail(IntentRefused(self._met))
            return
        if self._children or self._consumed:
            entry.rare = entry.rare or Rare()
            entry.rare.children, self._children = self._children, []
            entry.rare.consumed, self._consumed = self._consumed, []
        if self.charging is not None and entry.event is not None:
            entry.charges = self.charging(entry.event)
        self._queue.append(entry)
        self._writer.queued_events += 1
        if entry.event is not None:
            self._tell(self.on_event, entry.event)
        if not entry.lazy:
            self._urgent += 1
            self._writer.schedule(self)

    def _tell(self, callback: Callable[..., None], *args: object) -> None:
        """Call the holder back. Its mistakes are its own: they must not reach the writer, which serves other runs."""
        try:
            callback(*args)
        except Exception as error:  # noqa: BLE001 - reported where all stray errors of the loop are
            context = {"message": f"a callback of run {self.claim.run} failed", "exception": error}
            self._loop.call_exception_handler(context)

    def _count_bytes(self, size: int) -> None:
        self.queued_bytes += size
        self._writer.queued_bytes += size

    def _drop(self, entry: Entry, error: PenstockError) -> None:
        event = entry.event
        self._writer.queued_events -= 1
        if event is not None:
            event.seq = 0
        # Letters stay in the inbox: what would have journalled them does not exist.
        if entry.future is None and event is not None:
            self._tell(self.on_bad, event, error)
        entry.fail(error)
        if entry.rare is not None and entry.rare.move is not None:
            self._closing = False
        elif self._closing and self._queue and not isinstance(error, ShareLost | RefusedLate):
            # The run's last event waits behind one that cannot be stored: it must not end as if nothing were missing.
            self._urgent -= 1
            self._drop(self._queue.pop(), error)

    def _summary(self) -> Summary:
        """The holder's figures. A kill looks only at rows that say they have open intents, so that column must not lag
        behind the events of this very batch."""
        said = self.summary() if callable(self.summary) else self.summary
        if said.open_intents >= len(self._open):
            return said
        return msgspec.structs.replace(said, open_intents=len(self._open))

    def _applied(self) -> None:
        batch = self.batch
        assert batch is not None
        if batch.rows:
            self.last_seq = batch.rows[-1].seq
            self.head = batch.rows[-1].hash
        sent, self._sent, self.batch, self.skips = self._sent, [], None, 0
        self._writer.queued_events -= len(sent)
        for entry in sent:
            if entry.future is not None or entry.charges is not None:
                entry.done()

    def _stopped(self, stop: Stop, taken: Iterable[Entry] = ()) -> None:
        """Take the intents out, and what followed from them; the rest goes again, in new places."""
        entries = [*self._take_back(), *taken, *self._queue]
        self._queue.clear()
        self._urgent = 0
        rest = []
        refused: set[str] = set()
        for entry in entries:
            event = entry.event
            is_intent = entry.intent or (entry.rare is not None and bool(entry.rare.children))
            # The outcome of a free read that was made at once says nothing without its intent.
            orphan = event is not None and type(event) in FAMILIES and event.path in refused
            if not (is_intent or orphan or (self._met is not None and (follows(entry) or concludes(entry)))):
                rest.append(entry)
                continue
            if event is not None and (is_intent or orphan):
                refused.add(event.path)
                if type(event) in FAMILIES:
                    track(self._open, (FAMILIES[type(event)][0], False), event)
            if is_intent:
                self._met = stop
            if entry.rare is not None and (is_intent or entry.rare.move is not None):
                self._consumed = entry.rare.consumed + self._consumed
                self._closing = self._closing and entry.rare.move is None
            self._writer.queued_events -= 1
            entry.fail(IntentRefused(stop))
        self._requeue(rest)

    def _refused(self, error: PenstockError) -> None:
        """Find the event that the store cannot hold by sending them one at a time, and drop that one."""
        entries = self._take_back()
        if not entries:
            self._waiting = None  # the list of what the run waits for was all there was
        elif len(entries) == 1:
            self._drop(entries[0], error)
        else:
            self._requeue(entries)
            self._one_by_one = len(entries)

    def _take_back(self) -> list[Entry]:
        if self.batch is not None and self.batch.waiting is not None and self._waiting is None:
            self._waiting = self.batch.waiting
        sent, self._sent, self.batch, self.skips = self._sent, [], None, 0
        return sent

    def _requeue(self, entries: list[Entry]) -> None:
        self._queue.extendleft(reversed(entries))
        self._urgent += sum(not entry.lazy for entry in entries)
