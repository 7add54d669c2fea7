"""All breakers in one process: what covers a call, what lets it through, and what is told to the other processes.

The store has the truth; here is a copy. That it may be old does no harm: an append refuses intents that were checked
against an older version, and they are checked again (`penstock.journal.checks`). What is observed is judged here at
once, and shared with the other workers a few times a second; so a trip by the calls of one worker is immediate, and one
by the calls of several comes within `SHARE_SECONDS` more.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

from penstock.events import Event, ModelIntent, ToolIntent
from penstock.gates.breakers.circuit import LiveCircuit, Seen, noted, values_of
from penstock.gates.breakers.detector import Met
from penstock.gates.breakers.measuring import AnswerMeter
from penstock.gates.breakers.probing import Probe, probe_lease
from penstock.gates.order.branches import outside_runs
from penstock.kernel.backoff import until_answered
from penstock.kernel.clock import Clock
from penstock.kernel.errors import BreakerTripped, JournalError
from penstock.kernel.ids import new_id
from penstock.kernel.randomness import jitter
from penstock.ports.breakers import EACH, OTHER, VALUES_MAX, Breaker, Breakers, Circuit, Key, Report

if TYPE_CHECKING:
    from penstock.ports.embeddings import Embedder

SHARE_SECONDS = 0.25
"""From one report to the next, and how long a change may go unnoticed while calls are covered by a breaker."""
FRESH_SECONDS = 0.5
"""At this age the version is looked at again, by the way, when a call asks."""
COVERS_KEPT = 10_000
REPORTED_AT_ONCE = 200

CallPath = tuple[UUID, str]
Covered = tuple[LiveCircuit, ...]
_logger = logging.getLogger("penstock.breakers")


class BreakerGuard:
    """The breakers as one process has them.

    Attributes:
        version: of the store's view that is known here; None = none yet.
        is_idle: it is known that there is no breaker, as it is nearly everywhere: no call has to do with any of this.
            Nothing slips through when one is made: the appends that find it carry an older version than it has.
        awaited: reads whose intents are waited for, so that they can still be refused.
        worker: how this process is named in evidence.
    """

    def __init__(
        self,
        store: Breakers,
        clock: Clock,
        worker: str = "",
        holder: UUID | None = None,
        embedder: "Callable[[], Embedder] | None" = None,
    ) -> None:
        self.store = store
        self.clock = clock
        self.worker = worker
        self.holder = holder or new_id(clock)
        self.version: int | None = None
        self.is_idle = False
        self.awaited: set[tuple[UUID, str, int]] = set()
        self.probes: dict[CallPath, Probe] = {}
        self._breakers: dict[tuple[str, str], Breaker] = {}
        self._stands: dict[Key, Circuit] = {}
        self._live: dict[Key, LiveCircuit] = {}
        self._covers: dict[tuple[str, ...], Covered] = {}
        self._dirty: set[LiveCircuit] = set()
        self.answers = AnswerMeter(self, embedder)
        self._offset_us = 0
        self._cursor = 0
        self._looked_ns = 0
        self._looking: asyncio.Task[None] | None = None
        self._sharing: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._in_flight = 0
        store.listen(self._heard)

    def now(self) -> int:
        """The store's time as far as it is known here, microseconds."""
        return self.clock.boot_ns() // 1000 + self._offset_us

    async def ready(self) -> None:
        """Return when the breakers are known; look again, by the way, when that was long ago."""
        if self.version is None:
            await until_answered(self.refresh, self.clock.sleep)
        elif self.clock.boot_ns() - self._looked_ns > FRESH_SECONDS * 1e9:
            self._look()

    def covering(self, tenant: str, agent: str, tags: Mapping[str, str], kind: str, name: str) -> Covered:
        """The circuits that a call belongs to. In nearly all processes there is none."""
        if not self._breakers:
            return ()
        key = (tenant, agent, tags.get("task_type", ""), tags.get("customer", ""), kind, name)
        known = self._covers.get(key)
        if known is None:
            if len(self._covers) >= COVERS_KEPT:
                self._covers.clear()
            known = self._covers[key] = tuple(
                self._circuit(breaker, value)
                for breaker in self._breakers.values()
                if breaker.tenant == tenant
                for value in values_of(breaker, agent, dict(tags), kind, name)
            )
        return known

    def covering_event(self, event: Event) -> Covered:
        """The same for the intent of a call."""
        if not self._breakers:
            return ()
        kind, name = ("model", event.model) if isinstance(event, ModelIntent) else ("tool", getattr(event, "tool", ""))
        return self.covering(event.tenant, event.agent, event.tags, kind, name)

    def objection(self, event: Event) -> BreakerTripped | None:
        """See `penstock.journal.checks`. Writes in doubt are settled, and free reads are over before they are asked."""
        if self.is_idle or (isinstance(event, ModelIntent) and event.cache == "hit"):
            return None
        if isinstance(event, ToolIntent):
            is_awaited = event.charged or (event.run, event.path, event.attempt) in self.awaited
            if event.effect == "read" and not is_awaited:
                return None
            if event.effect == "write" and event.because == "in_doubt":
                return None
        kind, name = ("model", event.model) if isinstance(event, ModelIntent) else ("tool", "")
        probe = self.probes.get((event.run, event.path))
        for circuit in self.covering_event(event):
            if not circuit.is_shut or circuit.lets_through(kind, name):
                continue
            if probe is None or not probe.is_for(circuit):
                return BreakerTripped(f"the breaker {circuit.key[1]} is open for {circuit.key[2]}")
        return None

    async def look_again(self, than: int) -> None:
        """See `penstock.journal.checks`."""
        while self.version is None or self.version <= than:
            await self.refresh()

    async def refresh(self) -> None:
        """Read all of it.

        Raises:
            JournalError: it cannot be read.
        """
        view = await self.store.view()
        if self.version is not None and view.version < self.version:
            return  # an answer that was overtaken
        self._looked_ns = self.clock.boot_ns()
        self._offset_us = view.now - self._looked_ns // 1000
        if view.version == self.version:
            return
        self._breakers = {(breaker.tenant, breaker.name): breaker for breaker in view.breakers}
        self._stands = {circuit.key: circuit for circuit in view.circuits}
        self._covers.clear()
        self.version = view.version
        self.is_idle = not self._breakers
        for key, live in list(self._live.items()):
            breaker = self._breakers.get(key[:2])
            if breaker is None:
                del self._live[key]
                self._dirty.discard(live)
            else:
                live.change(breaker, self._stands.get(key))

    def observe(
        self,
        circuits: Covered,
        run: UUID,
        path: str,
        *,
        name: str,
        nano: int,
        latency_us: int,
        failure: str,
        is_failed: bool,
    ) -> None:
        """A call has ended. ``failure``: its code, for the evidence; ``is_failed``: it counts as one."""
        at = self.now()
        for circuit in circuits:
            if circuit.lets_through("model", name):
                continue
            circuit.latest.append(Seen(run, nano, latency_us, failure, name))
            if circuit.is_shut:
                continue
            met = circuit.detector.call(at, nano, latency_us, failed=is_failed)
            self._dirty.add(circuit)
            if met is not None:
                self._met(circuit, met)
        probe = self.probes.pop((run, path), None)
        if probe is not None:
            self._settle(probe, all(c.detector.is_good(nano, latency_us, failed=is_failed) for c in probe.circuits))
        self._tend()

    def observe_run(self, circuits: Covered, run: UUID, nano: int) -> None:
        """A run has ended, and cost so much."""
        for circuit in circuits:
            mean = circuit.detector.mean
            if mean is None or mean.of != "run" or circuit.is_shut:
                continue
            circuit.latest.append(Seen(run, nano, 0, "", "run"))
            met = circuit.detector.run(nano)
            self._dirty.add(circuit)
            if met is not None:
                self._met(circuit, met)
        self._tend()

    async def probe(self, shut: Covered, run: UUID, path: str) -> bool:
        """Take the probe of every one of these circuits for a call; False when that cannot be had now."""
        if any(circuit.is_tripping or self.now() < circuit.stands.until for circuit in shut):
            return False
        probe = Probe()
        for circuit in shut:
            generation, lease = circuit.stands.generation, probe_lease(circuit.breaker)
            try:
                got = await self.store.probe(circuit.key, generation, self.holder, lease)
            except JournalError:
                got = False
            if not got:
                self._settle(probe, None)
                return False
            probe.circuits.append(circuit)
            probe.generations.append(generation)
        self.probes[run, path] = probe
        return True

    def let_go(self, run: UUID, path: str) -> None:
        """The call is over; a probe that it was and that has no outcome was not made."""
        probe = self.probes.pop((run, path), None)
        if probe is not None:
            self._settle(probe, None)

    def entered(self) -> None:
        """A covered call is in flight: see changes in time to cut it off."""
        self._in_flight += 1
        self._tend()

    def left(self) -> None:
        """It is not any more."""
        self._in_flight -= 1

    async def close(self) -> None:
        """Report what is left to report, and stop."""
        for task in (self._sharing, self._looking):
            if task is not None:
                task.cancel()
        with contextlib.suppress(JournalError):
            await self._share()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=1)

    def _circuit(self, breaker: Breaker, value: str) -> LiveCircuit:
        key = breaker.tenant, breaker.name, value
        if breaker.value == EACH and value != OTHER and key not in self._stands and key not in self._live:
            known = {k for k in (*self._stands, *self._live) if k[:2] == key[:2] and k[2] != OTHER}
            if len(known) >= VALUES_MAX:
                key = breaker.tenant, breaker.name, OTHER
        live = self._live.get(key)
        if live is None:
            live = self._live[key] = LiveCircuit(breaker, key, self._stands.get(key))
        return live

    def changed(self, circuit: LiveCircuit, met: Met | None) -> None:
        """Something was observed of it, and perhaps a condition is met by that."""
        self._dirty.add(circuit)
        if met is not None:
            self._met(circuit, met)
        self._tend()

    def beside(self, body: Coroutine[Any, Any, None]) -> None:
        """Do something that no call waits for."""
        noted(self._start(body), self._tasks)

    def _met(self, circuit: LiveCircuit, met: Met) -> None:
        """Nothing passes here from now on; the store is told."""
        if circuit.is_shut:
            return
        circuit.is_tripping = True
        _logger.warning("breaker %s of %s trips for %s: %s", circuit.key[1], circuit.key[0], circuit.key[2], met.words)
        circuit.cut_off()
        self.beside(self._trip(circuit, met))

    async def _trip(self, circuit: LiveCircuit, met: Met) -> None:
        trip, evidence = new_id(self.clock), circuit.evidence(met, self.worker)
        stands, seconds = circuit.stands, circuit.breaker.open_seconds

        async def tell() -> None:
            await self.store.trip(circuit.key, stands.generation, trip, seconds, self.worker or "worker", evidence)
            await self.refresh()

        try:
            await until_answered(tell, self.clock.sleep)
        except JournalError as error:
            _logger.error("breaker %s could not be tripped for all: %s", circuit.key[1], error.what)
        if circuit.stands.generation == stands.generation:
            circuit.is_tripping = False

    def _settle(self, probe: Probe, ok: bool | None) -> None:
        for circuit, generation in zip(probe.circuits, probe.generations, strict=True):
            self.beside(self._probed(circuit, generation, ok))

    async def _probed(self, circuit: LiveCircuit, generation: int, ok: bool | None) -> None:
        breaker = circuit.breaker
        with contextlib.suppress(JournalError):  # its lease ends, and another probe is made
            await self.store.probed(circuit.key, generation, self.holder, ok, breaker.probes, breaker.open_seconds)
            if ok is not None:
                await self.refresh()

    def _start(self, body: Any) -> "asyncio.Task[Any]":
        """In a context of its own: it serves many runs and belongs to none."""
        return asyncio.get_running_loop().create_task(body, context=outside_runs())

    def _heard(self) -> None:
        """Somebody changed something, perhaps this process."""
        if self.version is not None:
            self._look()

    def _look(self) -> None:
        if self._looking is None:
            self._looking = self._start(self._look_once())

    async def _look_once(self) -> None:
        try:
            if await self.store.version() != self.version:
                await self.refresh()
            self._looked_ns = self.clock.boot_ns()
        except JournalError:
            self._looked_ns = self.clock.boot_ns()  # what is known is good for a while; appends check it again
        finally:
            self._looking = None

    def _tend(self) -> None:
        if self._sharing is None and (self._dirty or self._in_flight > 0):
            self._sharing = self._start(self._keep_sharing())

    async def _keep_sharing(self) -> None:
        """Report and listen while there is something to report, or a call in flight to be cut off."""
        try:
            while self._dirty or self._in_flight > 0:
                await self.clock.sleep(jitter(SHARE_SECONDS * 0.8, SHARE_SECONDS))
                try:
                    await self._share()
                except JournalError:
                    await self.clock.sleep(jitter(0.5, 1.0))
        finally:
            self._sharing = None

    async def _share(self) -> None:
        """One report, and what others reported meanwhile."""
        batch = [circuit for circuit in self._dirty if not circuit.is_shut][:REPORTED_AT_ONCE]
        self._dirty = {circuit for circuit in self._dirty if circuit not in batch and not circuit.is_shut}
        reports = [
            Report(circuit.key, circuit.stands.generation, circuit.detector.take(), circuit.detector.learn)
            for circuit in batch
        ]
        try:
            shared = await self.store.share(self.holder, self._cursor, reports)
        except JournalError:
            for circuit, report in zip(batch, reports, strict=True):
                if circuit.stands.generation == report.generation:
                    circuit.detector.put_back(report.tally)
                    self._dirty.add(circuit)
            raise
        self._cursor = shared.cursor
        if shared.version != self.version:
            await self.refresh()
        for key, samples, nano in shared.bases:
            live = self._live.get(key)
            if live is not None:
                live.detector.learned(samples, nano)
        for key, generation, at, tally in shared.others:
            breaker = self._breakers.get(key[:2])
            if breaker is None:
                continue
            live = self._circuit(breaker, key[2])
            if live.stands.generation == generation and not live.is_shut:
                met = live.detector.absorb(at, tally)
                if met is not None:
                    self._met(live, met)
