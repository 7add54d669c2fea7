"""Circles of waiting runs that were closed late: found among runs that sleep, and broken at their youngest wait.

A wait is refused when it would close a circle. Some circles have no such last wait: a run that waited beside a branch
which could still have sent an event, when that branch ends; a child that waits for an event of its parent, when the
parent comes to wait for that child alone. Runs that sleep say all that may wake them; so it is decided here, without
guessing, which of them nothing ever will.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from penstock.gates.run.services import Services
from penstock.ports.circles import LOOKED_AT_MOST, Broken, Circles, HeldWait, Sleeper

RUNS_MOST = 10_000
"""Runs of one tenant that one look follows waits through, at most."""

_logger = logging.getLogger("penstock.runs")


@dataclass(slots=True, frozen=True)
class _Link:
    """What a sleeping run waits for; ``wait``: None = a child, or its turn in a session: nothing that could fail."""

    target: UUID
    wait: HeldWait | None = None


async def break_late_circles(services: Services) -> int:
    """Look once, when it is time to; how many waits were ended.

    Raises:
        JournalError: the store cannot be reached.
    """
    circles = services.journal.circles
    seeds: dict[str, list[UUID]] = {}
    for tenant, run in await circles.look(services.settings.circle_look_seconds, LOOKED_AT_MOST):
        seeds.setdefault(tenant, []).append(run)
    ended = 0
    for tenant, runs in seeds.items():
        for broken in waits_to_break(tenant, await _around(circles, tenant, runs)):
            if await circles.break_wait(broken):
                ended += 1
                _logger.warning("runs of %s waited for each other: %s", tenant, ", ".join(map(str, broken.circle)))
    return ended


async def _around(circles: Circles, tenant: str, runs: Sequence[UUID]) -> list[Sleeper]:
    """The sleeping runs that can be reached from some, along what they wait for."""
    found: list[Sleeper] = []
    asked: set[UUID] = set(runs)
    generation = list(runs)
    while generation and len(found) < RUNS_MOST:
        sleepers = await circles.sleepers(tenant, generation[:LOOKED_AT_MOST])
        found += sleepers
        targets = {link.target for sleeper in sleepers for link in _links(sleeper)} - asked
        asked |= targets
        generation = generation[LOOKED_AT_MOST:] + sorted(targets)
    return found


def waits_to_break(tenant: str, sleepers: Sequence[Sleeper]) -> list[Broken]:
    """The waits that are to fail, so that none of the runs sleeps for ever; of each circle the youngest. Pure."""
    epochs = {sleeper.run: sleeper.epoch for sleeper in sleepers}
    links = {sleeper.run: _links(sleeper) for sleeper in sleepers}
    turns = {sleeper.run for sleeper in sleepers if not sleeper.waiting}
    found = []
    while True:
        links = _for_ever(links, turns)
        waits = [(run, link.wait) for run, own in links.items() for link in own if link.wait is not None]
        waits.sort(key=lambda item: item[1].arrival, reverse=True)
        for run, wait in waits:
            before = _reached(wait.target, links)
            if run in before:
                found.append(Broken(tenant, run, wait, _way(run, before), {one: epochs[one] for one in before}))
                del links[run]  # it goes on
                break
        else:
            return found


def _links(sleeper: Sleeper) -> list[_Link]:
    """Whom the run waits for; empty when something else may wake it too."""
    if not sleeper.waiting:
        return [_Link(run) for run in sleeper.behind]
    held = {wait.path: wait for wait in sleeper.held}
    links = []
    for item in sleeper.waiting:
        wait = held.get(item.path)
        if item.kind in ("event", "run") and wait is not None and not item.until:
            links.append(_Link(wait.target, wait))
        elif item.kind == "child" and not item.until:
            links.append(_Link(UUID(item.id)))
        else:
            return []
    return links


def _for_ever(links: dict[UUID, list[_Link]], turns: set[UUID]) -> dict[UUID, list[_Link]]:
    """The largest set of runs of which each is woken by none but others of the set.

    A run that is parked is woken by the first thing that comes; one that waits its turn needs all before it to end.
    """
    kept = {run: own for run, own in links.items() if own}
    while True:
        free = [
            run for run, own in kept.items() if not (any if run in turns else all)(link.target in kept for link in own)
        ]
        if not free:
            return kept
        for run in free:
            del kept[run]


def _reached(start: UUID, links: dict[UUID, list[_Link]]) -> dict[UUID, UUID | None]:
    """All runs that are reached from one, each with the run before it on a shortest way."""
    before: dict[UUID, UUID | None] = {start: None}
    generation = [start]
    while generation:
        following = []
        for run in generation:
            for target in _targets(run, links):
                if target not in before:
                    before[target] = run
                    following.append(target)
        generation = following
    return before


def _targets(run: UUID, links: dict[UUID, list[_Link]]) -> Iterator[UUID]:
    return (link.target for link in links[run] if link.target in links)


def _way(run: UUID, before: dict[UUID, UUID | None]) -> list[UUID]:
    """The circle through a run: itself, the one it waits for, and so on."""
    way = [run]
    at = before[run]
    while at is not None:
        way.insert(1, at)
        at = before[at]
    return way
