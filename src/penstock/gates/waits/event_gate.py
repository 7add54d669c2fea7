"""Waiting for events and for other runs.

A wait has two events: what it is for and until when (``wait.begun``), and how it ended (``wait.ended``). Waits that
make one run depend on another are edges of the wait-for graph; the one that would close a circle is refused, with
`WaitCycle`.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec

from penstock.events import Filtered, RunContinued, RunEnded, WaitBegun, WaitEnded, Waiting, decode
from penstock.gates.filters.incoming import released_event
from penstock.gates.run.call import Call
from penstock.gates.run.context import RunContext
from penstock.gates.run.insist import insist
from penstock.gates.run.ledger import first_ref
from penstock.gates.run.mailbox import Fits, WaitCut
from penstock.gates.waits.circle import begin_wait, broken, refuse
from penstock.gates.waits.message_gate import check_event
from penstock.kernel.canonical import canonical_digest
from penstock.kernel.errors import InputInvalid, TimedOut, WaitCycle, WaitFailed, WaitWithheld
from penstock.ports.circles import cycle_dedup
from penstock.ports.records import Letter
from penstock.ports.waits import Beginning, Begun, EventLetter, Wait

WAIT_MAX_SECONDS = 366 * 86_400.0
TAIL = 10
"""Last events of a run among which its continuation is looked for: it is written right before the end."""


@dataclass(slots=True, frozen=True)
class Awaited:
    """How a run ended that another waited for. ``output`` is plain JSON: whole, partial, or None."""

    run: UUID
    outcome: str
    output: Any
    code: str = ""
    reason: str = ""
    simulated: bool = False

    @property
    def succeeded(self) -> bool:
        return self.outcome == "succeeded"


@dataclass(slots=True, frozen=True)
class _Asked:
    """What a call of the agent waits for."""

    what: str  # event | run
    name: str = ""
    key: str = ""
    target: UUID | None = None
    seconds: float | None = None

    @property
    def digest(self) -> str:
        target = str(self.target) if self.target else ""
        return canonical_digest({"what": self.what, "key": self.key, "target": target, "seconds": self.seconds})

    @property
    def is_edge(self) -> bool:
        """Whether the store has to know of it."""
        return bool(self.key) or self.target is not None


async def wait_event(
    ctx: RunContext, name: str, key: str = "", from_run: UUID | None = None, timeout_seconds: float | None = None
) -> Any:
    """The value of the next event of that name, from this run's inbox or when it comes.

    Raises:
        TimedOut: it did not come in time.
        WaitCycle: ``from_run`` waits for this run, directly or through others.
        WaitFailed: ``from_run`` is not known, or has ended without sending it.
        WaitWithheld: the filters did not let its value through.
        InputInvalid: a name, key or time that cannot be.
    """
    check_event(name, key)
    if key and from_run is not None:
        raise InputInvalid("an event is waited for by key or from one run, not both")
    asked = _Asked("event", name, key, from_run, _seconds(timeout_seconds))
    ended, data = await _wait(ctx, asked)
    _raise(asked, ended)
    return msgspec.json.decode(data) if data else None


async def wait_run(ctx: RunContext, run: UUID, timeout_seconds: float | None = None) -> Awaited:
    """How another run ended, once it has.

    Raises:
        TimedOut: it has not ended in time.
        WaitCycle: it waits for this run, directly or through others.
        WaitFailed: no such run for this tenant.
    """
    if not isinstance(run, UUID):
        raise InputInvalid(f"a run is waited for by its id, a UUID, not {str(run)[:80]!r}")
    asked = _Asked("run", "", "", run, _seconds(timeout_seconds))
    ended, data = await _wait(ctx, asked)
    _raise(asked, ended)
    output = msgspec.json.decode(data) if data else None
    return Awaited(ended.target or run, ended.outcome, output, ended.code, ended.reason, ended.simulated)


async def _wait(ctx: RunContext, asked: _Asked) -> tuple[WaitEnded, bytes]:
    call = ctx.enter("wait", asked.name or asked.what, asked.digest)
    last = call.last
    if isinstance(last, WaitEnded):
        ref = first_ref(last, "value")
        data = await ctx.load(ref) if ref else b""
        await ctx.replay(call)
        return last, data
    await ctx.schedule.live(call.path)
    ended: tuple[WaitEnded, bytes] = await ctx.perform(call, _live(ctx, call, asked))
    return ended


async def _live(ctx: RunContext, call: Call, asked: _Asked) -> tuple[WaitEnded, bytes]:
    if not call.recorded:
        duration = int(asked.seconds * 1e6) if asked.seconds is not None else 0
        begun = ctx.event(
            WaitBegun,
            call.path,
            what=asked.what,
            digest=asked.digest,
            name=asked.name,
            key=asked.key,
            target=asked.target,
            duration=duration,
            until=ctx.now() + duration if asked.seconds is not None else 0,
        )
        ctx.record(call, begun)
    first = call.recorded[0]
    assert isinstance(first, WaitBegun)
    if asked.what == "run":
        assert asked.target is not None
        return await _for_run(ctx, call, first, asked.target)
    return await _for_event(ctx, call, first)


async def _for_event(ctx: RunContext, call: Call, begun: WaitBegun) -> tuple[WaitEnded, bytes]:
    wait = _as_wait(ctx, call, begun, begun.target)
    fits = _fitting(wait)
    if (begun.key or begun.target) and not ctx.mail.holds(fits):
        beginning = await begin_wait(ctx, wait)
        if beginning.answer in (Begun.CYCLE, Begun.ABSENT, Begun.ENDED):
            return _refused(ctx, call, beginning, begun.target), b""
        if beginning.answer is Begun.HERE:
            await _look(ctx)
    about = begun.key or (str(begun.target) if begun.target else "")
    waiting = Waiting("event", call.path, begun.name, about, begun.until)
    letter = await _letter(ctx, wait, waiting, fits)
    if letter is None:
        return _end(ctx, call, "timed_out"), b""
    if letter.dedup == cycle_dedup(call.path, begun.target):
        return broken(ctx, call, letter, begun.target), b""
    if letter.kind != "event":
        ctx.log.consume(letter.dedup)
        return _end(ctx, call, "absent", dedup=letter.dedup, target=begun.target, reason=_unsent(begun)), b""
    body = msgspec.json.decode(letter.body, type=EventLetter)
    data, found, withheld = b"", list[Filtered](), body.withheld
    if not withheld:
        data, found, withheld = await released_event(ctx, bytes(body.value))
    ctx.log.consume(letter.dedup)  # with the end of the wait, not with what others record while classifiers are asked
    came = {"dedup": letter.dedup, "sender": f"run {body.run}" if body.run else body.sender, "target": body.run}
    if withheld:
        words = f"the event {begun.name} was withheld: {withheld}"
        return _end(ctx, call, "withheld", **came, reason=words, filtered=found), b""
    payloads = {"value": [ctx.log.payload(data)]}
    return _end(ctx, call, "received", **came, payloads=payloads, filtered=found), data


def _fitting(wait: Wait) -> Fits:
    """Which letters end the wait: the event, or the news that it never comes from the only run which may send it: that
    has ended, or waits for this run."""

    def fits(letter: Letter) -> bool:
        if wait.key:
            return letter.dedup == f"topic:{wait.path}"
        if letter.dedup in (_told(wait.path, wait.target), cycle_dedup(wait.path, wait.target)):
            return True
        return letter.kind == "event" and letter.dedup.startswith(
            f"event:{wait.name}:{wait.target}:" if wait.target else f"event:{wait.name}:"
        )

    return fits


async def _letter(ctx: RunContext, wait: Wait, waiting: Waiting, fits: Fits) -> Letter | None:
    """The event's letter; None when its time came first. What a time-out cut short is free for others."""
    waits = ctx.services.journal.waits
    try:
        letter = await ctx.mail.wait_for(waiting, fits)
        if letter is None and (wait.key or wait.target) and not await insist(ctx, lambda: waits.withdraw(wait)):
            await _look(ctx)
            letter = await ctx.mail.wait_for(msgspec.structs.replace(waiting, until=0), fits)
    except WaitCut:
        if wait.key:
            # Whoever goes on with the run must find on its tape that the wait was cut short: it may hold the letter.
            await ctx.log.flush()
            ctx.mail.forget(fits)
        if wait.key or wait.target:
            await insist(ctx, lambda: waits.give_back(wait))
        raise
    return letter


async def _look(ctx: RunContext) -> None:
    """Take over what the inbox holds: the store said that there is something."""
    key = ctx.claim.tenant, ctx.run_id
    for letter in (await insist(ctx, lambda: ctx.services.journal.letters([key]))).get(key, []):
        ctx.mail.post(letter)


async def _for_run(ctx: RunContext, call: Call, begun: WaitBegun, target: UUID) -> tuple[WaitEnded, bytes]:
    """Wait for the target, and for the run in which it was continued."""
    waits = ctx.services.journal.waits
    while True:
        wait = _as_wait(ctx, call, begun, target)
        fits = _telling(call.path, target)
        known = ctx.mail.holds(fits)
        beginning = await begin_wait(ctx, wait) if not known else Beginning(Begun.HERE)
        if beginning.answer in (Begun.CYCLE, Begun.ABSENT):
            return _refused(ctx, call, beginning, target), b""
        if beginning.answer is not Begun.ENDED:
            waiting = Waiting("run", call.path, "", str(target), begun.until)
            try:
                letter = await ctx.mail.wait_for(waiting, fits)
            except WaitCut:
                await insist(ctx, lambda wait=wait: waits.withdraw(wait))  # type: ignore[misc]
                raise
            if letter is None:
                await insist(ctx, lambda wait=wait: waits.withdraw(wait))  # type: ignore[misc]
                return _end(ctx, call, "timed_out", target=target), b""
            if letter.dedup == cycle_dedup(call.path, target):
                return broken(ctx, call, letter, target), b""
            ctx.log.consume(letter.dedup)
        following = await _successor(ctx, target)
        if following is None:
            return await _result(ctx, call, target)
        target = following


def _telling(path: str, target: UUID) -> Fits:
    """Which letters end a wait for a run: it has ended, or waits for this run."""
    return lambda letter: letter.dedup in (_told(path, target), cycle_dedup(path, target))


async def _successor(ctx: RunContext, run: UUID) -> UUID | None:
    """The run in which this one was continued."""
    row = await insist(ctx, lambda: ctx.services.journal.get_run(ctx.claim.tenant, run))
    after = max(0, row.last_seq - TAIL) if row is not None else 0
    rows = await insist(ctx, lambda: ctx.services.journal.tape(ctx.claim.tenant, run, after=after))
    for event in map(decode, (stored.body for stored in rows)):
        if isinstance(event, RunContinued):
            return event.next_run
    return None


async def _result(ctx: RunContext, call: Call, run: UUID) -> tuple[WaitEnded, bytes]:
    row = await insist(ctx, lambda: ctx.services.journal.get_run(ctx.claim.tenant, run))
    assert row is not None
    if row.pruned_at is not None:
        return _end(ctx, call, "absent", target=run, outcome=row.outcome or "", reason="its record was pruned"), b""
    rows = await insist(ctx, lambda: ctx.services.journal.tape(ctx.claim.tenant, run, after=row.last_seq - 1))
    end = decode(rows[-1].body)
    assert isinstance(end, RunEnded)
    ref = first_ref(end, "output")
    data = await ctx.load(ref, row.subject) if ref else b""
    ended = _end(
        ctx,
        call,
        "ended",
        target=run,
        outcome=end.outcome,
        code=end.code,
        reason=end.reason,
        simulated=end.simulated,
        payloads={"value": [ctx.log.payload(data)]} if data else {},
    )
    return ended, data


def _as_wait(ctx: RunContext, call: Call, begun: WaitBegun, target: UUID | None) -> Wait:
    """The edge it is. A wait inside a time-out ends by itself, like one with a time-out of its own."""
    branches = ctx.schedule.branches
    scopes = [scope.until for path, scope in ctx.scopes.items() if call.path.startswith(f"{path}.")]
    return Wait(
        ctx.claim.tenant,
        ctx.run_id,
        call.path,
        begun.what,
        begun.name,
        begun.key,
        target,
        alone=all(call.branch.prefix.startswith(other.prefix) for other in branches),
        until=min([*([begun.until] if begun.until else []), *scopes], default=0),
        epoch=ctx.claim.epoch,
    )


def _refused(ctx: RunContext, call: Call, beginning: Beginning, target: UUID | None) -> WaitEnded:
    if beginning.answer is Begun.CYCLE:
        return refuse(ctx, call, beginning.circle, target)
    first = call.recorded[0]
    assert isinstance(first, WaitBegun)
    known = beginning.answer is Begun.ENDED
    reason = _unsent(first) if known else f"there is no run {target}"
    return _end(ctx, call, "absent", target=target, reason=reason)


def _unsent(begun: WaitBegun) -> str:
    return f"run {begun.target} has ended without sending {begun.name}, and nobody else may"


def _end(ctx: RunContext, call: Call, status: str, **fields: Any) -> WaitEnded:
    ended = ctx.event(WaitEnded, call.path, status=status, **fields)
    ctx.record(call, ended)
    return ended


def _raise(asked: _Asked, ended: WaitEnded) -> None:
    if ended.status == "cycle":
        raise WaitCycle(ended.reason, circle=[str(run) for run in ended.circle])
    if ended.status == "withheld":
        raise WaitWithheld(ended.reason)
    if ended.status == "absent":
        raise WaitFailed(ended.reason, run=str(ended.target))
    if ended.status == "timed_out":
        what = f"the event {asked.name}" if asked.what == "event" else f"the end of run {asked.target}"
        raise TimedOut(f"{what} did not come within {asked.seconds:g} s", seconds=asked.seconds)


def _told(path: str, target: UUID | None) -> str:
    """The dedup id of the letter that tells of a run's end."""
    return f"run:{path}:{target}"


def _seconds(seconds: float | None) -> float | None:
    if seconds is None:
        return None
    if not 0 <= seconds <= WAIT_MAX_SECONDS:
        raise InputInvalid(f"a run can wait from 0 seconds to 366 days, not {seconds!r}")
    return float(seconds)
