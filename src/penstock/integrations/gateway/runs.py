"""The runs that a gateway holds: made with their first call, found again by name, ended when nobody uses them."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from penstock.adapters.upstream.client import Headers
from penstock.events import BudgetRecord, RunSubmitted, encode
from penstock.integrations.gateway.closings import Closings
from penstock.integrations.gateway.config import GatewayConfig
from penstock.integrations.gateway.lost import RELEASE
from penstock.integrations.gateway.run import GatewayRun, Stopped
from penstock.integrations.gateway.shapes import Unfit
from penstock.journal.chain import genesis, link
from penstock.journal.payloads import address, make_payload, ref_text
from penstock.kernel.errors import PenstockError, RunFault
from penstock.kernel.ids import new_id
from penstock.kernel.randomness import token_bytes
from penstock.ports.records import Begin, Claim, NewRun, Row
from penstock.runs.client import Penstock
from penstock.runs.submit import checked_tags
from penstock.runs.work.ending import Ending

OFFSET_NS = 60_000_000_000
"""How long the journal's time is taken as known."""
IDLE_LOOKS = 4
"""In the time after which a named run is ended."""
CUT_SECONDS = 2.0
"""For runs whose calls were cut short to be ended."""
NAME_MAX_CHARS = 128
_INPUT = b'{"gateway":1}'


@dataclass(slots=True, frozen=True)
class Who:
    """Whose call it is, as its key says. ``tags`` are bound: a request cannot set others in their place."""

    tenant: str
    key: UUID
    key_name: str
    agent: str
    tags: Mapping[str, str] = field(default_factory=dict)
    budget: BudgetRecord = BudgetRecord()


@dataclass(slots=True, frozen=True)
class Wishes:
    """What a request's own headers say. ``run``: a name of the client's, or the id of a run; "" = a run of its own.
    ``store``: its answer may come from the cache, and be kept there."""

    run: str = ""
    end: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    passed: Headers = field(default_factory=list)
    store: bool = True


class HeldRuns:
    """All of one gateway's."""

    def __init__(self, platform: Penstock, config: GatewayConfig) -> None:
        self.services = platform.services
        self.config = config
        self._platform = platform
        self._named: dict[tuple[str, str], GatewayRun] = {}
        self._runs: dict[UUID, GatewayRun] = {}
        self._closing = False
        self._offset_us = 0
        self._offset_at_ns = 0
        self._tending: asyncio.Task[None] | None = None
        self._closings = Closings()

    async def start(self) -> None:
        """Begin; the platform's worker is enlisted."""
        await self._look_at_the_clock()
        self._platform.writer.on_leaving = self._closings.appending
        self._tending = asyncio.create_task(self._tend())

    def __len__(self) -> int:
        return len(self._runs)

    def refuse(self) -> None:
        """Take no more calls."""
        self._closing = True

    async def close(self) -> None:
        """Take no more calls; wait for those under way for ``drain_seconds``, then cut them short."""
        self._closing = True
        if self._tending is not None:
            self._tending.cancel()
        runs = list(self._runs.values())
        for run in runs:
            run.drain()
        self._closings.close_all()
        await self._wait_closed(runs, self.services.settings.drain_seconds)
        left = list(self._runs.values())
        for run in left:
            run.interrupt()
        await self._wait_closed(left, CUT_SECONDS)

    async def find(self, who: Who, wishes: Wishes) -> GatewayRun:
        """The run that a call is of.

        Raises:
            Unfit: it is another's, or held elsewhere.
            Stopped: no more calls are taken.
        """
        tags = self._tags(who, wishes)
        if self._closing:
            raise Stopped(RunFault("drained", "gateway_stopped", ""))
        if not wishes.run:
            return await self._begin(who, tags)
        name = f"{who.agent}/{wishes.run}"
        run = self._named.get((who.tenant, name))
        if run is None and len(wishes.run) == 36:
            run = self._by_id(wishes.run)
            if run is not None and run.claim.tenant != who.tenant:
                run = None
        if run is not None and run.open:
            if run.claim.agent != who.agent or not tags.items() <= run.tags.items():
                raise Unfit("run_differs", "the run has other tags, or is of another key", "Penstock-Run")
            return run
        known = await self.services.journal.gateway.named(who.tenant, name)
        if known is not None:
            if run is not None and known.run == run.claim.run:
                await run.put_away.wait()
            else:
                raise Unfit("run_elsewhere", "another gateway holds the run of that name", "Penstock-Run")
        other = self._named.get((who.tenant, name))
        return other if other is not None and other.open else await self._begin(who, tags, name)

    def _by_id(self, text: str) -> GatewayRun | None:
        try:
            return self._runs.get(UUID(text))
        except ValueError:
            return None

    async def _begin(self, who: Who, tags: dict[str, str], name: str = "") -> GatewayRun:
        if len(self._runs) >= self.config.runs_max:
            raise Stopped(RunFault("drained", "gateway_stopped", "the gateway holds as many runs as it may"))
        services, worker = self.services, self._platform.worker
        assert worker is not None
        clock, settings = services.clock, services.settings
        boot_ns = clock.boot_ns()
        if boot_ns - self._offset_at_ns > OFFSET_NS:
            await self._look_at_the_clock()
        written = await services.journal.releases.write_format()
        run_id, subject_key = new_id(clock), token_bytes(32)
        where = address(subject_key, _INPUT)
        event = RunSubmitted(
            tenant=who.tenant,
            run=run_id,
            agent=who.agent,
            at=clock.now_us(),
            seq=1,
            env=settings.environment,
            release=RELEASE,
            actor=f"key:{who.key_name}",
            tags=tags,
            payloads={"input": [ref_text(where)]},
            budget=who.budget,
            format=written,
        )
        body = encode(event)
        head = link(genesis(who.tenant, run_id), body)
        new = NewRun(
            who.tenant,
            run_id,
            who.agent,
            RELEASE,
            Row(1, body, head),
            str(run_id),
            subject_key,
            settings.environment,
            format=written,
            tags=tags,
        )
        now = boot_ns // 1000 + self._offset_us
        claim = Claim(
            who.tenant, run_id, 1, 1, head, who.agent, RELEASE, str(run_id), subject_key, None, "", run_id, 1, None, now
        )
        run = GatewayRun(Begin(worker.id, new, name), claim, services, self._platform.writer, worker)
        run.log.foreign_payload(make_payload(who.tenant, str(run_id), where, _INPUT))
        run.on_closed = self._has_closed
        run.put_off = None if name else self._closings.add
        self._runs[run_id] = run
        if name:
            self._named[who.tenant, name] = run
        return run

    def _tags(self, who: Who, wishes: Wishes) -> dict[str, str]:
        """The tags of a call: its own, and those that its key is bound to.

        Raises:
            Unfit: it asks for another value of a bound one.
            TagInvalid, InputInvalid: a tag that cannot be.
        """
        for name, value in wishes.tags.items():
            bound = who.key_name if name == "key" else who.tags.get(name)
            if bound is not None and bound != value:
                raise Unfit("tag_bound", f"the key is bound to another {name}", "Penstock-Tags")
        own = {name: value for name, value in wishes.tags.items() if name != "key"}
        if own:
            try:
                checked_tags(own, self.services.settings)
            except PenstockError as error:
                raise Unfit("invalid_tag", f"{error.what}; {error.advice}", "Penstock-Tags") from error
        return {**own, **who.tags, "key": who.key_name}

    def _has_closed(self, run: GatewayRun) -> None:
        self._runs.pop(run.claim.run, None)
        key = run.claim.tenant, run.name
        if self._named.get(key) is run:
            del self._named[key]

    async def _tend(self) -> None:
        """End named runs that nobody has used for long."""
        pause = self.config.idle_seconds / IDLE_LOOKS
        while True:
            await self.services.clock.sleep(pause)
            since = self.services.clock.boot_ns() - int(self.config.idle_seconds * 1e9)
            for run in list(self._named.values()):
                if run.open and not run.busy and run.idle_since_ns < since:
                    run.end(Ending("succeeded", "idle", f"no call for {self.config.idle_seconds:g} s"))

    async def _look_at_the_clock(self) -> None:
        self._offset_at_ns = self.services.clock.boot_ns()
        now = await self.services.journal.now()
        self._offset_us = now - self.services.clock.boot_ns() // 1000

    async def _wait_closed(self, runs: list[GatewayRun], seconds: float) -> None:
        waits = [asyncio.ensure_future(run.put_away.wait()) for run in runs]
        if waits:
            _, pending = await asyncio.wait(waits, timeout=seconds)
            for wait in pending:
                wait.cancel()
