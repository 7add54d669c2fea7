"""What must be true of what runs share: events, waits, documents, limits, schedules, releases."""

import bisect
from collections import Counter
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec
from tests.sim.world.told import Told

from penstock.events import (
    ApprovalRequested,
    DocumentIntent,
    DocumentWritten,
    StageEntered,
    TimerFired,
    WaitBegun,
    WaitEnded,
)
from penstock.journal import documents
from penstock.ports.records import RunKey
from penstock.ports.schedules import Schedule
from penstock.ports.triggers import Trigger

if TYPE_CHECKING:
    from tests.sim.world.seeds import World

DOCUMENTS = ("list 0", "list 1")
REQUESTS = 5
"""Calls of the model in a minute, where that is limited."""
SCHEDULED_RUNS = 3
TRIGGERS = {"all-orders": "", "orders-of-a": "a"}
"""By name, the prefix of the keys that they are for."""


def check(world: "World", tapes: dict[RunKey, Told]) -> None:
    """Ask all questions."""
    _events(world, tapes)
    _circles(world, tapes)
    _documents(world, tapes)
    _rates(world)
    _schedules(world, tapes)
    _triggers(world, tapes)
    _previews(world, tapes)
    for told in tapes.values():
        for event in told.events:
            if isinstance(event, WaitEnded):
                world.counts[f"wait: {event.status}"] += 1
            elif isinstance(event, TimerFired) and event.settled:
                world.counts["time-outs that fired"] += 1
        world.counts["continued"] += told.run.code == "continued"
        world.counts["compensated"] += any(
            isinstance(event, StageEntered) and event.name == "compensate" for event in told.events
        )


def _events(world: "World", tapes: dict[RunKey, Told]) -> None:
    """An event that was published is taken once, by a run of its tenant; one that was sent is taken once."""
    taken: Counter[tuple[str, str, object]] = Counter()
    for told in tapes.values():
        begun = {event.path: event for event in told.events if isinstance(event, WaitBegun)}
        for event in told.events:
            if isinstance(event, WaitEnded) and event.status == "received":
                value = told.value(world.database.stored, event, "value")
                whose = "" if begun[event.path].key else told.short
                taken[told.run.new.tenant, whose, value] += 1
                if begun[event.path].key and (told.run.new.tenant, begun[event.path].key, value) not in world.mail:
                    world.fail("event_as_published", f"{told.short} took {value}, which nobody published for it")
    for (tenant, whose, value), times in taken.items():
        if times > 1:
            world.fail("event_taken_once", f"{value} of {tenant} {whose} was taken {times} times")


def _circles(world: "World", tapes: dict[RunKey, Told]) -> None:
    """Who is refused because of a circle is part of it, and so are only runs of the same tenant."""
    for told in tapes.values():
        for event in told.events:
            if not isinstance(event, WaitEnded) or event.status != "cycle":
                continue
            if told.id not in event.circle:
                world.fail("circles_are_circles", f"{told.short} was refused a wait in the circle {event.circle}")
            if any((told.run.new.tenant, run) not in tapes for run in event.circle):
                world.fail("circles_are_circles", f"{told.short}: a circle through another tenant: {event.circle}")


def _documents(world: "World", tapes: dict[RunKey, Told]) -> None:
    """A list that everybody adds to holds what was recorded as written, once each, and nothing else but writes that
    were cut off."""
    stored, store = world.database.stored, world.database.memory.documents
    written: dict[tuple[str, str], Counter[str]] = {}
    cut_off: set[str] = set()
    for told in tapes.values():
        ended = {event.path: event for event in told.events if isinstance(event, DocumentWritten)}
        for intent in (event for event in told.events if isinstance(event, DocumentIntent)):
            entry = told.value(stored, intent, "value")[-1]
            end = ended.get(intent.path)
            if end is None:
                cut_off.add(entry)
            elif end.status == "written":
                written.setdefault((told.run.new.tenant, intent.name), Counter())[entry] += 1
    for tenant in ("default", "other"):
        for name in DOCUMENTS:
            document = world.database.at_once(store.get(tenant, "shared", name))
            data = documents.read(document.latest) if document is not None else None
            held = Counter(msgspec.json.decode(data)) if data else Counter()
            known = written.get((tenant, name), Counter())
            world.counts["document writes"] += sum(known.values())
            if any(times > 1 for times in held.values()):
                world.fail("document_written_once", f"{name} of {tenant} holds {held.most_common(1)}")
            if lost := known - held:
                world.fail("document_not_lost", f"{name} of {tenant} lacks {list(lost)}")
            if strange := [entry for entry in held if entry not in known and entry not in cut_off]:
                world.fail("document_as_recorded", f"{name} of {tenant} holds {strange}, which no tape says")


def _rates(world: "World") -> None:
    """No minute has more calls of the model than may be, wherever it begins."""
    if not world.limited:
        return
    times = sorted(world.outside.asked_at)
    for index, at in enumerate(times):
        inside = bisect.bisect_left(times, at + 60.0) - index
        if inside > REQUESTS:
            world.fail("rate_limit", f"{inside} calls of the model in the minute from {at:.3f} s on")
            return
    world.counts["limited calls"] += len(times)


def _schedules(world: "World", tapes: dict[RunKey, Told]) -> None:
    """One run for each time that was fired for."""
    schedule = scheduled(world)
    if schedule is None:
        return
    keys = [told.run.new.key or "" for told in tapes.values()]
    runs = [key for key in keys if key.startswith(f"schedule:{schedule.id}:")]
    world.counts["scheduled runs"] += len(runs)
    if len(set(runs)) != len(runs) or len(runs) != schedule.fired:
        world.fail("one_time_one_run", f"{schedule.fired} times were fired for, and there are the runs {sorted(runs)}")
    if schedule.fired != SCHEDULED_RUNS:
        world.fail("schedule_goes_on", f"it was fired {schedule.fired} times: {schedule}")


def _triggers(world: "World", tapes: dict[RunKey, Told]) -> None:
    """Each event that was accepted is one run by each of the triggers that it matches."""
    made = [told.run.new.key or "" for told in tapes.values()]
    for trigger in triggers(world):
        runs = [key for key in made if key.startswith(f"trigger:{trigger.id}:")]
        orders = [key for key in world.orders if key.startswith(trigger.prefix)]
        world.counts["triggered runs"] += len(runs)
        if len(runs) != len(orders) or trigger.fired != len(orders):
            words = f"{len(orders)} orders fired {trigger.name} {trigger.fired} times, and became {len(runs)} runs"
            world.fail("one_event_one_run", words)


def _previews(world: "World", tapes: dict[RunKey, Told]) -> None:
    """A question carries what its preview said, or that it said nothing; whoever finds the question on the tape does
    not look again."""
    asked: dict[tuple[UUID, str], int] = {}
    for told in tapes.values():
        for event in told.events:
            if not isinstance(event, ApprovalRequested) or event.question != "may_run":
                continue
            asked[told.id, event.path] = event.epoch
            seen = told.value(world.database.stored, event, "preview") or {}
            x = told.value(world.database.stored, event, "args")["x"]
            told_so = [{"what": f"thing {x}", "before": "0", "after": str(3 * x)}]
            if not seen.get("unknown") and seen.get("changes") != told_so:
                world.fail("preview_recorded", f"{event.tool} at {event.path} of {told.short} was asked with {seen}")
            world.counts[f"preview: {'unknown' if seen.get('unknown') else 'told'}"] += 1
    for look in world.outside.previewed:
        if look.attempt or asked.get((look.run, look.path), look.fence) < look.fence:
            what = f"attempt {look.attempt} of claim {look.fence}"
            world.fail("previewed_once", f"{look.path} of {look.run.hex[-6:]} was previewed by {what}, asked before")


def triggers(world: "World") -> list[Trigger]:
    """Those of this world."""
    return world.database.at_once(world.database.memory.triggers.list_triggers("default"))


def all_fired(world: "World") -> bool:
    """Whether all events that were to come have come, and are runs."""
    known, store = triggers(world), world.database.memory.triggers
    left = (world.database.at_once(store.backlog("default", trigger.id, 1)).pending for trigger in known)
    return len(known) == len(TRIGGERS) and len(world.orders) == world.ordered and not any(left)


def scheduled(world: "World") -> Schedule | None:
    """The schedule of this world."""
    return world.database.at_once(world.database.memory.schedules.get("default", "often"))


def over(schedule: Schedule | None) -> bool:
    """Whether all its runs have been made."""
    return schedule is not None and schedule.fired >= SCHEDULED_RUNS
