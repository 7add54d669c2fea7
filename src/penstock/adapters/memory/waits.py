"""Waiting in memory: the same decisions as the functions of migration 0007, one step of the event loop each."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import msgspec

from penstock.adapters.memory.line import BEHIND, HOLDS
from penstock.adapters.memory.records import Run, Store
from penstock.adapters.memory.triggers import MemoryTriggers
from penstock.events import WaitEnded, decode
from penstock.kernel.clock import Clock
from penstock.ports.records import Letter, Status
from penstock.ports.triggers import NOBODY
from penstock.ports.waits import CIRCLE_MOST, Beginning, Begun, Edge, Ended, EventPost, FollowUp, Sent, Wait

Place = tuple[str, UUID, str]
"""Tenant, run and path."""
Topic = tuple[str, str, str]
"""Tenant, name and key."""


@dataclass(slots=True)
class _Held:
    """A wait as it is kept; ``matched``: the event that was put into the run's inbox for it."""

    wait: Wait
    matched: str | None = None


@dataclass(slots=True)
class _Published:
    dedup: str
    body: bytes
    expires_at: int
    taken_by: UUID | None = None


@dataclass(slots=True)
class _Step:
    """A run on the way of a search: its end is needed, or (``move``) a move of it; reached from step ``before``."""

    run: UUID
    move: bool
    before: int
    via: UUID | None = None


@dataclass(slots=True)
class MemoryWaits:
    """Implements `penstock.ports.waits.Waits` over the journal's store; ``news`` is set when something may be due."""

    store: Store
    clock: Clock
    news: asyncio.Event
    triggers: MemoryTriggers
    held: dict[Place, _Held] = field(default_factory=dict)
    topics: dict[Topic, list[_Published]] = field(default_factory=dict)
    duties: dict[tuple[str, UUID], list[UUID]] = field(default_factory=dict)
    marked: dict[tuple[str, UUID], None] = field(default_factory=dict)
    sent: dict[tuple[str, UUID], int] = field(default_factory=dict)

    async def send(self, event: EventPost, most: int) -> Sent:
        assert event.run is not None
        key = event.tenant, event.run
        run = self.store.runs.get(key)
        if run is None or run.status is Status.ENDED:
            return Sent.ABSENT
        if event.dedup in run.inbox:
            return Sent.KNOWN
        if self.sent.get(key, 0) >= most:
            return Sent.FULL
        self.sent[key] = self.sent.get(key, 0) + 1
        now = self.clock.now_us()
        run.inbox[event.dedup] = Letter(event.dedup, "event", event.body, now)
        if any(item.get("kind") == "event" and item.get("name") == event.name for item in _waiting(run)):
            run.wake(now, only=Status.PARKED)
        for place, held in self.held.items():
            wait = held.wait
            its = place[:2] == key and wait.kind == "event" and not wait.key and wait.name == event.name
            if its and event.sender is not None and wait.target == event.sender:
                del self.held[place]
                break
        self.news.set()
        return Sent.DELIVERED

    async def publish(self, event: EventPost, most: int, keep_seconds: float) -> Sent:
        topic = event.tenant, event.name, event.key
        known = self.topics.setdefault(topic, [])
        if any(item.dedup == event.dedup for item in known):
            return Sent.KNOWN
        now = self.clock.now_us()
        fires = self.triggers.matching(event)
        if any(self.triggers.is_behind(trigger) for trigger in fires):
            return Sent.BEHIND
        full = sum(item.taken_by is None and item.expires_at > now for item in known) >= most
        if full and not fires:
            return Sent.FULL
        expires_at = now + int(keep_seconds * 1e6)
        known.append(_Published(event.dedup, event.body, expires_at, NOBODY if full else None))
        self.triggers.fire(fires, event, keep_seconds)
        self._match(topic)
        return Sent.DELIVERED

    async def begin(self, wait: Wait) -> Beginning:
        asking = self.store.runs.get((wait.tenant, wait.run))
        if asking is not None and asking.epoch != wait.epoch:
            return Beginning(Begun.LOST)
        if wait.kind in ("run", "event") and not wait.key:
            target = self.store.runs.get((wait.tenant, wait.target)) if wait.target else None
            if target is None:
                return Beginning(Begun.ABSENT)
            if wait.kind == "event" and self._is_here(wait):
                return Beginning(Begun.HERE)
            if target.status is Status.ENDED:
                return Beginning(Begun.ENDED)
        circle = self._circle(wait)
        if circle:
            return Beginning(Begun.CYCLE, circle)
        place = wait.tenant, wait.run, wait.path
        known = self.held.get(place)
        if known is None or known.wait.target != wait.target:
            self.held[place] = _Held(wait)
        self.marked[wait.tenant, wait.run] = None
        if wait.target is not None and wait.kind != "child":
            self.marked[wait.tenant, wait.target] = None
        if wait.kind == "event" and wait.key:
            self._match((wait.tenant, wait.name, wait.key))
        return Beginning(Begun.WAITING)

    async def withdraw(self, wait: Wait) -> bool:
        place = wait.tenant, wait.run, wait.path
        held = self.held.get(place)
        if held is None or not self._is_holder(wait):
            return True
        if held.matched is not None:
            return False
        del self.held[place]
        return True

    async def give_back(self, wait: Wait) -> None:
        if self._is_holder(wait):
            self._give_back(wait)

    async def leave_duties(self, tenant: str, run: UUID, children: Sequence[UUID]) -> None:
        known = self.duties.setdefault((tenant, run), [])
        known += [child for child in children if child not in known]
        self.marked[tenant, run] = None

    async def follow_up(self, limit: int) -> FollowUp:
        ended: list[Ended] = []
        for key in list(self.marked):
            run = self.store.runs.get(key)
            if run is None or run.status is not Status.ENDED:
                continue
            if len(ended) == limit:
                break
            self._tell_waiters(run)
            self._return_events(run)
            children = [self.store.runs.get((key[0], child)) for child in self.duties.get(key, [])]
            unended = sorted(child.new.id for child in children if child and child.status is not Status.ENDED)
            ended.append(Ended(*key, run.new.agent, unended))
        if ended:
            self.news.set()
        expecting = any(held.wait.target is not None and held.wait.kind in ("run", "event") for held in self._waits())
        return FollowUp(ended, expecting)

    async def followed_up(self, tenant: str, run: UUID) -> None:
        known = self.store.runs.get((tenant, run))
        if known is None or known.status is not Status.ENDED:
            return
        for place in [place for place in self.held if place[:2] == (tenant, run)]:
            del self.held[place]
        self.duties.pop((tenant, run), None)
        self.sent.pop((tenant, run), None)
        self.marked.pop((tenant, run), None)

    async def expire(self, limit: int) -> int:
        now = self.clock.now_us()
        gone = 0
        for topic, known in list(self.topics.items()):
            for item in [item for item in known if item.expires_at <= now][: limit - gone]:
                known.remove(item)
                gone += 1
            if not known:
                del self.topics[topic]
        return gone

    async def edges(self, tenant: str, limit: int) -> list[Edge]:
        runs = {run.new.id: run for run in self.store.runs.values() if run.new.tenant == tenant and _open(run)}
        waits = [
            Edge(wait.run, wait.target, wait.kind, wait.name, wait.until)
            for wait in (held.wait for held in self._waits())
            if wait.tenant == tenant and wait.run in runs and wait.target and wait.kind in ("run", "event")
        ]
        waits.sort(key=lambda edge: edge.run, reverse=True)
        newest = sorted(runs.values(), key=lambda run: run.new.id, reverse=True)
        children = [
            Edge(run.new.parent, run.new.id, "child", run.new.agent) for run in newest if run.new.parent is not None
        ]
        queued = [run for run in newest if run.turn == BEHIND]
        behind = [
            Edge(run.new.id, holder, "session", run.new.session)
            for run in queued
            for holder in self.session_holders(tenant, run.new.session, run.new.id)
        ]
        return waits[:limit] + children[:limit] + behind[:limit]

    def _waits(self) -> Iterator[_Held]:
        yield from list(self.held.values())

    def _is_holder(self, wait: Wait) -> bool:
        """Whether who asks has the run in hand: it was neither passed nor has it put the run away."""
        run = self.store.runs.get((wait.tenant, wait.run))
        return run is not None and run.epoch == wait.epoch and run.status is Status.RUNNING

    def _is_here(self, wait: Wait) -> bool:
        run = self.store.runs[wait.tenant, wait.run]
        return any(letter.dedup.startswith(f"event:{wait.name}:{wait.target}:") for letter in run.letters())

    def _match(self, topic: Topic) -> None:
        """Give the oldest free events of a topic to the oldest waits for them."""
        while True:
            now = self.clock.now_us()
            free = [item for item in self.topics.get(topic, []) if item.taken_by is None and item.expires_at > now]
            waits = [
                held
                for held in self._waits()
                if held.wait.kind == "event"
                and held.matched is None
                and (held.wait.tenant, held.wait.name, held.wait.key) == topic
            ]
            if not free or not waits:
                return
            event, held = free[0], waits[0]
            run = self.store.runs.get((held.wait.tenant, held.wait.run))
            if run is None or run.status is Status.ENDED:
                del self.held[held.wait.tenant, held.wait.run, held.wait.path]
                continue
            if run.receive(Letter(f"topic:{held.wait.path}", "event", event.body, now)):
                held.matched, event.taken_by = event.dedup, held.wait.run
            else:
                held.matched = ""
            self.news.set()

    def _tell_waiters(self, ended: Run) -> None:
        for held in self._waits():
            wait = held.wait
            if wait.tenant == ended.new.tenant and wait.target == ended.new.id and wait.kind in ("run", "event"):
                run = self.store.runs.get((wait.tenant, wait.run))
                if run is not None and run.status is not Status.ENDED:
                    dedup = f"run:{wait.path}:{ended.new.id}"
                    run.receive(Letter(dedup, "wait", b"{}", self.clock.now_us()))
                del self.held[wait.tenant, wait.run, wait.path]

    def _return_events(self, ended: Run) -> None:
        """Events that it was given and did not take are free again."""
        for held in self._waits():
            if (held.wait.tenant, held.wait.run) == ended.key and held.matched:
                self._give_back(held.wait)

    def _give_back(self, wait: Wait) -> None:
        """End a wait. What its run took is on its tape; another event that it was given is free again, and its letter
        gone."""
        held = self.held.pop((wait.tenant, wait.run, wait.path), None)
        run = self.store.runs.get((wait.tenant, wait.run))
        if held is None or not held.matched or run is None:
            return
        dedup = f"topic:{wait.path}"
        if dedup not in run.consumed:
            run.inbox.pop(dedup, None)
        events = [decode(row.body) for row in run.tape]
        if any(isinstance(e, WaitEnded) and e.path == wait.path and e.status == "received" for e in events):
            return
        topic = wait.tenant, wait.name, wait.key
        for item in self.topics.get(topic, []):
            if item.dedup == held.matched and item.taken_by == wait.run:
                item.taken_by = None
        self._match(topic)

    def session_holders(self, tenant: str, session: str, but: UUID | None) -> list[UUID]:
        return sorted(
            run.new.id
            for run in self.store.runs.values()
            if run.new.tenant == tenant
            and session
            and run.new.session == session
            and _open(run)
            and run.turn == HOLDS
            and run.new.id != but
        )[:10]

    def _circle(self, wait: Wait) -> list[UUID]:
        """The circle that the wait would close; see ``penstock.wait_circle``."""
        if wait.kind == "child":
            starts = self.session_holders(wait.tenant, wait.key, wait.target)
        elif wait.until or wait.key or wait.target is None:
            return []
        else:
            starts = [wait.target]
        up = self._up(wait.tenant, wait.run)
        steps = [_Step(start, wait.kind == "event", -1) for start in starts]
        for at in range(CIRCLE_MOST):
            if at >= len(steps):
                return []
            step = steps[at]
            run = self.store.runs.get((wait.tenant, step.run))
            if run is None or run.status is Status.ENDED:
                continue
            if (step.run == wait.run and wait.alone) if step.move else step.run in up:
                return _around(wait, steps, at, up)
            for following in self._after(wait.tenant, run, step.move, at):
                if all((known.run, known.move) != (following.run, following.move) for known in steps):
                    steps.append(following)
        return []

    def _after(self, tenant: str, run: Run, move: bool, at: int) -> Iterator[_Step]:
        """What the run's end, or a move of it, depends on."""
        if move:
            for wait in (held.wait for held in self._waits()):
                its = (wait.tenant, wait.run) == run.key and wait.kind in ("event", "run")
                if its and wait.target is not None and not wait.until and wait.alone:
                    yield _Step(wait.target, wait.kind == "event", at)
            waiting = _waiting(run)
            if run.status is Status.PARKED and len(waiting) == 1 and waiting[0]["kind"] == "child":
                yield _Step(UUID(waiting[0]["id"]), False, at)
            return
        for wait in (held.wait for held in self._waits()):
            if wait.tenant != tenant or wait.target is None or wait.until:
                continue
            if run.new.id not in self._up(tenant, wait.run):
                continue
            via = wait.run if wait.run != run.new.id else None
            if wait.kind != "child":
                yield _Step(wait.target, wait.kind == "event", at, via)
                continue
            child = self.store.runs.get((tenant, wait.target))
            if child is None or child.turn == BEHIND:
                for holder in self.session_holders(tenant, wait.key, wait.target):
                    yield _Step(holder, False, at, via)
        if run.turn == BEHIND:
            for holder in self.session_holders(tenant, run.new.session, run.new.id):
                yield _Step(holder, False, at)

    def _up(self, tenant: str, run: UUID) -> list[UUID]:
        """The run, its parent, and so on."""
        found = []
        known = self.store.runs.get((tenant, run))
        while known is not None and known.new.id not in found:
            found.append(known.new.id)
            known = self.store.runs.get((tenant, known.new.parent)) if known.new.parent else None
        return found


def _around(wait: Wait, steps: list[_Step], at: int, up: list[UUID]) -> list[UUID]:
    """The circle's runs in order: from the one that asks to the one reached, then down to the first's parent."""
    reached = steps[at].run
    way: list[UUID] = []
    while at >= 0:
        step = steps[at]
        way[:0] = [step.via, step.run] if step.via else [step.run]
        at = step.before
    circle = [wait.run, *way]
    if reached in up:
        circle += reversed(up[1 : up.index(reached)])
    if len(circle) > 1 and circle[-1] == wait.run:
        circle.pop()
    if wait.kind == "child" and wait.target is not None:
        circle.insert(1, wait.target)
    return circle


def _open(run: Run) -> bool:
    return run.status is not Status.ENDED


def _waiting(run: Run) -> list[dict[str, str]]:
    items: list[dict[str, str]] = msgspec.json.decode(run.waiting)
    return items
