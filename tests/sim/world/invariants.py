"""What must be true after every seed."""

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from tests.sim.world import promises, stops
from tests.sim.world.actors import SETTINGS
from tests.sim.world.outside import ONCE, Asked
from tests.sim.world.programs import AGENTS, NEXT_AGENTS, Program, expected, simulated_anew
from tests.sim.world.told import Told

from penstock.adapters.memory.records import Run
from penstock.events import (
    ApprovalDecided,
    ApprovalRequested,
    RunAdopted,
    RunClaimed,
    RunEnded,
    RunHandedBack,
    TimerSet,
    ToolIntent,
    ToolOutcome,
    decode,
)
from penstock.journal.chain import verify
from penstock.kernel.errors import ChainBroken, PenstockError
from penstock.ports.records import RunKey, Status
from penstock.runs.replaying.replay import replay

if TYPE_CHECKING:
    from tests.sim.world.seeds import World

QUARANTINE_REASONS = ("poison",)
POISON_CLAIMS = SETTINGS.poison_claims
DECISION_SECONDS = 25.0
"""How long an accepted decision may take to be taken note of, whatever goes wrong meanwhile."""


async def check(world: "World") -> None:
    """Ask all questions."""
    tapes = {run.key: Told(run, [decode(row.body) for row in run.tape]) for run in world.database.stored.runs.values()}
    committed = _commit_times(world)
    world.violations += world.outside.wrong
    for told in tapes.values():
        _record_is_whole(world, told)
        _came_to_an_end(world, told, tapes)
    _rescues(world)
    _epochs(world)
    _submitted(world, tapes)
    _effects(world, tapes, committed)
    stops.check(world, tapes, committed)
    _budgets(world, tapes)
    _approvals(world, tapes)
    _sessions(world, tapes)
    promises.check(world, tapes)
    if world.budgets is not None:
        world.budgets.check(tapes)
    if world.breakers is not None:
        world.breakers.check(tapes, committed)
    if world.tool_stops is not None:
        world.tool_stops.check(tapes, committed)
    await _replays(world, tapes)
    world.counts["runs"] += len(tapes)
    world.counts["top runs"] += len(world.wanted)
    world.counts["effects"] += sum(world.outside.effects.values())
    world.counts["events"] += sum(len(told.events) for told in tapes.values())
    for told in tapes.values():
        world.counts[f"outcome: {told.run.outcome or told.run.status}"] += 1
        world.counts["claims"] += told.run.epoch
        for event in told.events:
            world.counts[f"event: {type(event).__name__}"] += 1


def rightly_set_aside(world: "World", run: Run) -> None:
    """Poison is what workers took and did not survive: a claim whose answer was lost says nothing of the run, when the
    worker lived on."""
    latest = {worker: at for at, _, worker in world.database.claimed}
    claims = [
        (at, claim, worker) for at, claim, worker in world.database.claimed if (claim.tenant, claim.run) == run.key
    ]
    # One that was put back is not counted: the next has its number.
    counted = [first for first, then in itertools.pairwise(claims) if then[1].claims > first[1].claims] + claims[-1:]
    for at, claim, worker in counted[-POISON_CLAIMS:]:
        if (*run.key, claim.epoch) not in world.database.received and latest[worker] > at:
            what = f"{run.new.id.hex[-6:]} counts claim {claim.epoch}, which its worker, that lives on, never knew of"
            world.fail("rightly_set_aside", what)


def _commit_times(world: "World") -> dict[tuple[RunKey, int], tuple[float, int]]:
    """When each event was committed: the loop's time and the place among all commits."""
    return {
        (commit.key, seq): (commit.at, commit.order)
        for commit in world.database.commits
        for seq in range(commit.first_seq, commit.last_seq + 1)
    }


def _record_is_whole(world: "World", told: Told) -> None:
    run = told.run
    try:
        verify(*told.key, run.tape, run.head, run.last_seq)
    except ChainBroken as error:
        world.fail("chain_verifies", error.what)
    for seq, event in enumerate(told.events, 1):
        if event.seq != seq:
            world.fail("seq_gapless", f"{told.short}: event {seq} says it is {event.seq}")
    if sum(isinstance(event, RunEnded) for event in told.events) > 1:
        world.fail("one_outcome", f"{told.short} ended twice")
    for index, event in enumerate(told.events[1:], 1):
        before = told.events[index - 1]
        if event.epoch < before.epoch:
            world.fail("epochs_grow", f"{told.short}: event {event.seq} of epoch {event.epoch} after {before.epoch}")
        if event.epoch != before.epoch and not isinstance(event, (RunAdopted, RunClaimed)):
            world.fail("epochs_grow", f"{told.short}: epoch {event.epoch} begins with a {type(event).__name__}")


def _epochs(world: "World") -> None:
    """No event by a worker whose claim was passed on; each epoch was given to one worker."""
    for commit in world.database.commits:
        if commit.epoch != commit.row_epoch:
            world.fail(
                "no_event_by_the_passed",
                f"{commit.key[1].hex[-6:]}: events {commit.first_seq}.. of epoch {commit.epoch} "
                f"were committed when the row was at {commit.row_epoch}",
            )
        if commit.first_seq != commit.row_seq + 1:
            world.fail("seq_gapless", f"{commit.key[1].hex[-6:]}: event {commit.first_seq} came after {commit.row_seq}")
    given: dict[tuple[RunKey, int], UUID] = {}
    for _, claim, worker in world.database.claimed:
        holder = given.setdefault(((claim.tenant, claim.run), claim.epoch), worker)
        if holder != worker:
            world.fail("one_holder", f"epoch {claim.epoch} of {claim.run.hex[-6:]} was given to two workers")


def _rescues(world: "World") -> None:
    """The safety net under waiting caught nothing: what it would catch is a lost wake-up."""
    for rescue in world.database.at_once(world.database.memory.wakeups.rescued(10)):
        words = f"{rescue.run.hex[-6:]} slept although its wait was over ({rescue.why}); it was woken"
        world.fail("no_lost_wake_up", words)


def _came_to_an_end(world: "World", told: Told, tapes: dict[RunKey, Told]) -> None:
    run, end = told.run, told.end
    if run.status is Status.QUARANTINED:
        why = next((e.reason for e in reversed(told.events) if isinstance(e, RunHandedBack)), "")
        if run.code not in QUARANTINE_REASONS:
            world.fail("right_outcome", f"{told.short} was set aside: {run.code}: {why}")
        return
    if run.status is not Status.ENDED or end is None:
        world.fail(
            "no_lost_wake_up",
            f"{told.short} is {run.status}, wake_at {run.wake_at}, stop {run.stop}, waits {run.waiting.decode()}, "
            f"{len(run.letters())} letters, ends with {type(told.events[-1]).__name__}",
        )
        return
    if (run.outcome, run.code) != (end.outcome, end.code):
        world.fail("one_outcome", f"{told.short}: the row says {run.outcome}, the tape {end.outcome}")
    if any(letter.kind not in ("settle", "event") for letter in run.letters()):
        world.fail("letters_consumed", f"{told.short} has ended with letters {list(run.inbox)}")
    allowed = _allowed(world, told, tapes)
    if end.outcome not in allowed:
        world.fail("right_outcome", f"{told.short} ended as {end.outcome} ({end.code}: {end.reason}), not {allowed}")


def _allowed(world: "World", told: Told, tapes: dict[RunKey, Told]) -> set[str]:
    """The outcomes that are right for a run: its program's, or those of what was done to it."""
    new = told.run.new
    first = told.events[0]
    allowed = {"succeeded" if new.agent == "looped" else expected(_input(world, told))}
    if new.agent == "looped" and told.run.code in ("model_failed", "budget_invalid"):
        allowed.add("failed")  # all attempts met a busy model, or there is no room for an answer
    budget = first.budget  # type: ignore[attr-defined]
    if budget.nano or budget.tokens:
        allowed.add("exhausted")
    family, parent = [told], new.parent
    while parent is not None:
        above = tapes[new.tenant, parent]
        family.append(above)
        if any(isinstance(event, TimerSet) and event.name == "timeout" for event in above.events):
            allowed |= {"cancelled", "exhausted"}  # it may have been inside a time-out, which is its deadline
            if told.end is not None and told.end.reason == "the deadline has passed":
                allowed.add("refused")  # a call came in the moment between the deadline and the end that it brings
        parent = above.run.new.parent
    for member in family:
        for what in ("cancel", "kill"):
            if (what, member.id) in world.stops.asked:
                allowed.add({"cancel": "cancelled", "kill": "killed"}[what])
    if len(family) > 1 and any(member.end is not None for member in family[1:]):
        allowed.add("cancelled")  # its parent has ended and cancels it
    if any(stops.in_scope(scope, member.run) for scope in world.stops.killed for member in family):
        allowed.add("killed")
    if (new.key or "").startswith("schedule:"):
        allowed.add("cancelled")  # by the next one
    return allowed


def _input(world: "World", told: Told) -> Program:
    program: Program = told.value(world.database.stored, told.events[0], "input")
    return program


def _submitted(world: "World", tapes: dict[RunKey, Told]) -> None:
    for wanted in world.wanted:
        if wanted.id is None:
            world.fail("submitted_runs_exist", f"{wanted.key} could not be submitted in calm weather")
        elif (wanted.tenant, wanted.id) not in tapes:
            world.fail("submitted_runs_exist", f"{wanted.key} was acknowledged and is not there")
    tops = [told for told in tapes.values() if told.run.new.parent is None]
    if len(tops) != len({told.run.new.key for told in tops}):
        world.fail("one_key_one_run", "a key made two runs")


def _effects(world: "World", tapes: dict[RunKey, Told], committed: dict[tuple[RunKey, int], tuple[float, int]]) -> None:
    outside = world.outside
    by_place: dict[tuple[UUID, str], list[Asked]] = {}
    for asked in outside.asked:
        by_place.setdefault((asked.run, asked.path), []).append(asked)
    by_id = {told.id: told for told in tapes.values()}
    for (run, path), calls in by_place.items():
        told = by_id[run]
        where = f"{calls[0].tool} at {path} of {told.short}"
        count = outside.effects.get((run, path), 0)
        if calls[0].tool in ONCE and count > 1:
            world.fail("effect_at_most_once", f"{where} took effect {count} times")
        for asked in calls:
            _began_after_its_intent(world, told, asked, committed)
        _told_truly(world, told, path, count, calls)
    for (run, path), count in outside.effects.items():
        if (run, path) not in by_place:
            world.fail("effect_has_an_intent", f"{count} effects at {path} of {run.hex} that nobody asked for")


def _began_after_its_intent(
    world: "World", told: Told, asked: Asked, committed: dict[tuple[RunKey, int], tuple[float, int]]
) -> None:
    where = f"{asked.tool} at {asked.path} attempt {asked.attempt} of {told.short}"
    for event, row in zip(told.events, told.run.tape, strict=True):
        if not (isinstance(event, ToolIntent) and (event.path, event.attempt) == (asked.path, asked.attempt)):
            continue
        at, _ = committed[told.key, event.seq]
        if at > asked.sent:
            world.fail("effect_has_an_intent", f"{where} was called {asked.sent - at:.3f} s before its intent")
        started = world.store_clock.EPOCH_US + int(asked.sent * 1e6)
        if started > row.at + event.allowance:
            late = (started - row.at - event.allowance) / 1e6
            world.fail("start_allowance", f"{where} was called {late:.3f} s after its allowance was over")
        return
    world.fail("effect_has_an_intent", f"{where} was called without an intent on the tape")


def _told_truly(world: "World", told: Told, path: str, count: int, calls: Sequence[Asked]) -> None:
    """What the tape says of a write is what happened, or the end says that it is not known."""
    events = [event for event in told.events if event.path == path]
    intents = [event for event in events if isinstance(event, ToolIntent)]
    outcomes = [event for event in events if isinstance(event, ToolOutcome)]
    last = outcomes[-1] if outcomes else None
    where = f"{calls[0].tool} at {path} of {told.short}"
    if last is not None and last.status in ("ok", "happened") and count == 0:
        world.fail("told_truly", f"{where} is recorded as {last.status}, and nothing happened")
    open_ = len(intents) > len(outcomes)
    known = any(outcome.status in ("ok", "happened") for outcome in outcomes)
    repeated = any(outcome.again and outcome.settled_by == "repeat" for outcome in outcomes)
    if count and not open_ and not known and not repeated:
        world.fail("told_truly", f"{where} took effect and is recorded as {[o.status for o in outcomes]}")
    if open_ and told.end is not None and not any(f"at {path} " in words for words in told.end.missing):
        world.fail("reported_in_doubt", f"{where} has no outcome, and the end does not say so: {told.end.missing}")


def _budgets(world: "World", tapes: dict[RunKey, Told]) -> None:
    outside = world.outside
    families: dict[UUID, list[Told]] = {}
    for told in tapes.values():
        families.setdefault(told.run.root, []).append(told)
    for root, members in families.items():
        first = next(told for told in members if told.id == root)
        budget = first.events[0].budget  # type: ignore[attr-defined]
        spent = sum(outside.spent.get(told.id, 0) for told in members)
        tokens = sum(outside.tokens.get(told.id, 0) for told in members)
        if budget.nano and spent > budget.nano:
            world.fail("budget_never_over", f"{first.short} spent {spent} nano-dollars of {budget.nano}")
        if budget.tokens and tokens > budget.tokens:
            world.fail("budget_never_over", f"{first.short} used {tokens} tokens of {budget.tokens}")
    for told in tapes.values():
        if told.end is not None and told.end.totals.nano < outside.spent.get(told.id, 0):
            world.fail(
                "all_spending_charged",
                f"{told.short} spent {outside.spent[told.id]} and was charged {told.end.totals.nano}",
            )


def _approvals(world: "World", tapes: dict[RunKey, Told]) -> None:
    """A decision on the tape is the one that a person was told was taken; a held call was made only after a yes."""
    for told in tapes.values():
        asked = {event.approval: event for event in told.events if isinstance(event, ApprovalRequested)}
        seen: set[str] = set()
        for event in told.events:
            if isinstance(event, ApprovalDecided):
                if event.approval in seen or event.approval not in asked:
                    world.fail("decided_once", f"{event.approval} of {told.short} was decided twice or never asked")
                seen.add(event.approval)
                said, at = world.person.decided.get(event.approval, ("", 0.0))
                if event.decision == "expired":
                    expires = (asked[event.approval].expires - world.store_clock.EPOCH_US) / 1e6
                    if said and at + DECISION_SECONDS < expires:
                        world.fail("decision_not_lost", f"{told.short}: {said} was accepted, and it expired")
                elif said and event.decision not in (said, "withdrawn"):  # by a time-out that came first
                    world.fail("decided_once", f"{told.short}: {said} was accepted, {event.decision} recorded")
        for event in told.events:
            if isinstance(event, ToolIntent) and event.risk == "high":
                yes = any(
                    isinstance(e, ApprovalDecided)
                    and e.path == event.path
                    and e.decision == "approve"
                    and e.seq < event.seq
                    for e in told.events
                )
                if not yes:
                    world.fail("held_until_approved", f"{event.tool} at {event.path} of {told.short} had no yes")


def _sessions(world: "World", tapes: dict[RunKey, Told]) -> None:
    """Runs of a session go one at a time, in the order in which they came; those that were stopped end out of turn."""
    sessions: dict[tuple[str, str], list[Told]] = {}
    for told in tapes.values():
        if told.run.new.session:
            sessions.setdefault((told.run.new.tenant, told.run.new.session), []).append(told)
    for members in sessions.values():
        members.sort(key=lambda told: _place(told, tapes))
        world.counts["runs that waited for their session"] += len(members) - 1
        for before, after in itertools.pairwise(members):
            calls = [
                row.at
                for event, row in zip(after.events, after.run.tape, strict=True)
                if isinstance(event, stops.INTENTS)
            ]
            if before.end is not None and calls and calls[0] < before.run.tape[-1].at:
                world.fail("sessions_in_order", f"{after.short} began before {before.short} of its session had ended")


def _place(told: Told, tapes: dict[RunKey, Told]) -> tuple[int, UUID, int]:
    """A run's place in its session: one that goes on in another leaves it its own."""
    later = 0
    while told.events[0].continues is not None:  # type: ignore[attr-defined]
        told = tapes[told.run.new.tenant, told.events[0].continues]  # type: ignore[attr-defined]
        later += 1
    return told.run.created_at, told.id, later


async def _replays(world: "World", tapes: dict[RunKey, Told]) -> None:
    services = world.submitter.platform.services
    services.journal = world.database.memory
    services.clock = world.store_clock
    previewed = len(world.outside.previewed)
    for told in tapes.values():
        if told.end is None:
            continue
        try:
            agents = NEXT_AGENTS if told.run.release == simulated_anew.release else AGENTS
            done = await replay(services, told.run.row(), agents)
        except PenstockError as error:
            world.fail("replays", f"{told.short}: {error.code}: {error.what}")
            continue
        if not done.same:
            world.fail("replays", f"{told.short} ended as {told.end.outcome}: {done.divergence}")
    if len(world.outside.previewed) != previewed:
        world.fail("replays", f"{len(world.outside.previewed) - previewed} previews were asked for in replay")
