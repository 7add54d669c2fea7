"""Replay: run an agent's code against a recorded tape, without a call, without a write, and compare.

The engine's own execution does it, so that what holds here holds for recovery. Three things are different: the
schedule lets no call go live, the journal is a scratch pad that only reads payloads from the real one, and models are
known by name alone.
"""

import asyncio
import contextvars
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NoReturn
from uuid import UUID

import msgspec

from penstock.adapters.memory import MemoryJournal
from penstock.events import RunEnded, decode
from penstock.events.messages import Message
from penstock.gates.order.branches import Branch
from penstock.gates.order.schedule import Schedule
from penstock.gates.order.tape import Tape
from penstock.gates.run.context import RunContext
from penstock.gates.run.services import Services
from penstock.gates.snapshots.state import Loop
from penstock.journal.log import RunLog
from penstock.journal.payloads import PayloadReader, ref_address, unpack
from penstock.journal.pruned import pruned
from penstock.journal.tapes import whole
from penstock.journal.writer import GroupWriter, WriterSettings
from penstock.kernel.errors import AgentUnknown, Divergence, PayloadMissing, PenstockError, RunUnknown
from penstock.ports.agents import AgentDef
from penstock.ports.journal import Journal
from penstock.ports.model import ModelRequest, ModelResponse, Price, ToolSpec
from penstock.ports.records import Answer, Applied, Batch, Claim, Payload, PayloadKey, Row, RunRow
from penstock.ports.tools import ToolDef
from penstock.runs.divergence import DivergenceReport, ending, report
from penstock.runs.registry import Registry
from penstock.runs.rollouts.routing import managed_agent
from penstock.runs.work.executor import Execution

_WORKER: Final = UUID(int=0)
IMPOSED: Final = frozenset(
    {"killed", "cancelled", "over_seconds", "over_deadline", "budget_invalid", "gate_cancelled", "agent_unknown"}
)
"""Codes and outcomes of ends that came from outside the agent's code: there it would have gone on."""


@dataclass(slots=True)
class Replayed:
    """What a replay came to. ``same``: the code reaches the recorded events, as far as they go."""

    run: UUID
    agent: str
    same: bool
    recorded_release: str
    release: str  # of the code it was replayed with
    events: int
    calls: list[str]  # paths of the calls that were given back, in the order of their outcomes
    outcome: str  # as recorded; '' while the run has not ended
    goes_on_with: list[str] = field(default_factory=list)  # paths of the calls that would be made next
    divergence: DivergenceReport | None = None


async def replay(
    services: Services,
    row: RunRow,
    agents: Iterable[AgentDef],
    *,
    on_call: Callable[[str], None] = lambda path: None,
    on_state: Callable[[Loop], None] | None = None,
    appended: Sequence[Row] = (),
    upto: int | None = None,
) -> Replayed:
    """Replay one run with the given agents' code.

    Args:
        services: of an open platform; only its journal's payloads and settings are used.
        row: the run.
        agents: those that the code may be found among; an exact release is preferred.
        on_call: told the path of each call just after its recorded outcome was given back to the code.
        on_state: told where the standard loop stands when the tape ends between two of its steps.
        upto: how many of its events; None = all.
        appended: events that the tape does not hold yet, to see what would follow from them.

    Raises:
        AgentUnknown: none of the agents has the run's agent's name.
        RunPruned: its record is not in the journal any more.
        PayloadMissing: what the tape refers to was erased or lost.
        EventUnreadable: the tape cannot be read.
    """
    registry = Registry(agents)
    journal = services.journal
    agent = await _agent_of(journal, row, registry)
    rows = [*(await _recorded(journal, row))[:upto], *appended]
    key = await journal.subject_key(row.tenant, row.subject)
    if key is None:
        raise PayloadMissing(f"the subject of run {row.id} was erased: its tape cannot be replayed", hint="")
    recorded = decode(rows[-1].body)
    end = recorded if isinstance(recorded, RunEnded) else None
    scratch = _Scratch(journal)
    writer = GroupWriter(scratch, WriterSettings.of(services.settings), services.clock)
    offline = replace(
        services,
        journal=scratch,
        reader=PayloadReader(scratch),
        agents=registry,
        isolation=_NoIsolation(),
        models=_NamedModels(),
    )
    execution = _Replay(
        _claim(row, rows, agent, key, await journal.now()), _played(rows, end), offline, writer, on_call
    )
    execution.on_state = on_state
    try:
        await execution.replay()
    finally:
        await writer.close()
    done = Replayed(
        row.id,
        row.agent,
        same=True,
        recorded_release=row.release,
        release=agent.release,
        events=len(rows),
        calls=execution.released,
        outcome=end.outcome if end else "",
        goes_on_with=sorted(execution.stands_at),
    )
    done.divergence = await _compare(execution, end, offline.reader, row.subject)
    done.same = done.divergence is None
    return done


async def _agent_of(journal: Journal, row: RunRow, registry: Registry) -> AgentDef:
    agent = registry.find(row.agent, row.release) or registry.find(row.agent)
    if agent is None:
        offered = ", ".join(registry.names) or "none"
        raise AgentUnknown(
            f"run {row.id} is of the agent {row.agent!r}; the agents given are: {offered}",
            hint="name the module that defines it: --app module[:attribute]",
        )
    if agent.release != row.release:
        agent = await managed_agent(journal, agent, row.tenant, row.release) or agent
        registry.manage([agent])
    return agent


async def _recorded(journal: Journal, row: RunRow) -> list[Row]:
    if row.pruned_at is not None:
        raise await pruned(journal, row)
    rows = await whole(journal, row.tenant, row.id)
    if not rows:
        raise RunUnknown(f"run {row.id} has no events")
    return rows


async def _compare(
    execution: "_Replay", end: RunEnded | None, reader: PayloadReader, subject: str
) -> DivergenceReport | None:
    if execution.diverged is not None:
        return await report(execution.diverged, execution.tape, reader, subject)
    reached = execution.reached
    if end is None:
        return None  # a worker that died just before it could write the end leaves such a tape
    if end.outcome in IMPOSED or end.code in IMPOSED:
        return None
    if reached is not None:
        outputs = (await _output(end, reader, subject), execution.scratch.output(reached))
        return ending(end, reached, outputs)
    at = ", ".join(sorted(execution.stands_at)) or "something outside"
    return DivergenceReport(
        f"the recorded run ended as {end.outcome}, but the agent's code goes on: it makes a call at {at} that the tape "
        "does not hold",
        Divergence.hint,
        seq=end.seq,
        recorded=f"{end.outcome} {end.reason}".strip(),
        attempted=f"a call at {at}",
    )


async def _output(end: RunEnded, reader: PayloadReader, subject: str) -> Any:
    refs = end.payloads.get("output")
    return msgspec.json.decode(await reader.read(end.tenant, subject, ref_address(refs[0]))) if refs else None


def _played(rows: Sequence[Row], end: RunEnded | None) -> list[Row]:
    """The tape without the run's last event, which the code has to reach by itself."""
    return list(rows[:-1] if end is not None else rows)


def _claim(row: RunRow, rows: Sequence[Row], agent: AgentDef, key: bytes, now: int) -> Claim:
    return Claim(
        tenant=row.tenant,
        run=row.id,
        epoch=row.epoch + 1,
        last_seq=len(rows),
        head=rows[-1].hash,
        agent=agent.name,
        release=agent.release,
        subject=row.subject,
        subject_key=key,
        parent=None,
        parent_path="",
        root=row.root,
        claims=1,
        stop=None,
        now=now,
    )


class _Schedule(Schedule):
    """Gives back what is recorded; nothing goes live."""

    def __init__(self, tape: Tape, on_call: Callable[[str], None]) -> None:
        super().__init__(tape)
        self._on_call = on_call

    async def recorded_turn(self, branch: Branch, path: str) -> None:
        await super().recorded_turn(branch, path)
        self._on_call(path)

    async def live(self, path: str) -> None:
        self.loose -= 1
        turn = self.loop.create_future()
        self._live.append((path, turn))
        self.step()
        await self._wait(turn)

    def _open_live(self) -> None:
        """Never."""

    @property
    def stands_at(self) -> set[str]:
        """Paths of the calls that would be made next."""
        return {path for path, _ in self._live}


class _Replay(Execution):
    """One tape being replayed. What the engine would do to the run is noted instead."""

    def __init__(
        self,
        claim: Claim,
        rows: list[Row],
        services: Services,
        writer: GroupWriter,
        on_call: Callable[[str], None],
    ) -> None:
        super().__init__(claim, rows, [], services, writer, "replay")
        assert isinstance(services.journal, _Scratch)
        self.scratch = services.journal
        self.tape = Tape(rows)
        self.released: list[str] = []
        self.stands_at: set[str] = set()
        self.diverged: Divergence | None = None
        self.on_state: Callable[[Loop], None] | None = None
        self._on_call = on_call
        self._failed: PenstockError | None = None

    async def replay(self) -> None:
        """Run to the end of the tape.

        Raises:
            PenstockError: what kept it from getting there, except a divergence.
        """
        context = contextvars.copy_context()
        task = asyncio.get_running_loop().create_task(self.run(_WORKER, context), context=context)
        await task
        if self._failed is not None:
            raise self._failed

    @property
    def reached(self) -> RunEnded | None:
        """The end that the code came to."""
        return self.scratch.ended

    def _context(self, tape: Tape, log: RunLog) -> RunContext:
        ctx = super()._context(tape, log)
        schedule = _Schedule(tape, self._given_back)
        schedule.on_idle, schedule.on_quiet = ctx.schedule.on_idle, ctx.schedule.on_quiet
        schedule.on_diverged, schedule.on_cancelled = ctx.schedule.on_diverged, ctx.schedule.on_cancelled
        ctx.schedule, ctx.on_fault = schedule, schedule.stop
        ctx.every_stage_again = True
        ctx.safe.every = 0
        ctx.safe.on_state = self.on_state
        return ctx

    def _given_back(self, path: str) -> None:
        self.released.append(path)
        self._on_call(path)

    def _deadline(self, ctx: RunContext) -> asyncio.TimerHandle | None:
        """None: the recorded run's time is over, but not this one's."""

    def _idle(self) -> None:
        """The tape is consumed and every branch waits for a call beyond it, or the code waits for something else."""
        ctx = self.ctx
        if ctx is None or self.parked or not ctx.schedule.idle():
            return
        assert isinstance(ctx.schedule, _Schedule)
        self.stands_at = ctx.schedule.stands_at
        unmade = sorted(ctx.recorded_paths - ctx.made)
        if unmade:
            ctx.stop(ctx.schedule.leftover(unmade[0]))
            return
        self.parked = True
        self._unwind(ctx)

    def _is_over(self, tape: Tape) -> bool:
        return False  # the code has to come to the call that went on in another run by itself

    async def _park(self, ctx: RunContext) -> str:
        return "parked"

    async def _quarantine(self, log: RunLog, error: PenstockError, code: str = "") -> str:
        if isinstance(error, Divergence):
            self.diverged = error
        else:
            self._failed = error
        return "quarantined"


class _Scratch(MemoryJournal):
    """Takes whatever the engine writes, and forgets it; payloads that it has not are read from the real journal."""

    def __init__(self, source: Journal) -> None:
        super().__init__()
        self._source = source
        self.snapshots = source.snapshots  # only read: a replay takes none
        self._put: dict[bytes, Payload] = {}
        self.ended: RunEnded | None = None

    async def append(
        self, batches: Sequence[Batch], payloads: Sequence[Payload] = (), *, blocking: bool = False
    ) -> list[Applied]:
        await self.put_payloads(payloads)
        for batch in batches:
            for row in batch.rows:
                event = decode(row.body)
                self.ended = event if isinstance(event, RunEnded) else self.ended
        return [Applied(Answer.APPLIED) for _ in batches]

    async def put_payloads(self, payloads: Sequence[Payload]) -> None:
        self._put.update({payload.address: payload for payload in payloads})

    async def get_payloads(self, tenant: str, subject: str, addresses: Sequence[bytes]) -> dict[bytes, Payload]:
        return await self._source.get_payloads(tenant, subject, addresses)

    async def fetch_payloads(self, wanted: Sequence[PayloadKey]) -> dict[PayloadKey, Payload]:
        return await self._source.fetch_payloads(wanted)

    def output(self, end: RunEnded) -> Any:
        """The output of an end that was written here."""
        refs = end.payloads.get("output")
        payload = self._put.get(ref_address(refs[0])) if refs else None
        return msgspec.json.decode(unpack(payload)) if payload else None


class _NamedModel:
    """A model in a replay: known by its name, never called."""

    simulated = False

    def __init__(self, name: str) -> None:
        self.name = name

    def price(self) -> Price | None:
        """Not known, and not asked for."""
        return None

    def prompt_bound(self, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> int:
        """No prompt is sent."""
        del messages, tools
        return 0

    async def request(self, request: ModelRequest) -> ModelResponse:
        """Cannot happen: no call goes live."""
        raise AssertionError("a replay makes no calls")

    def stream(self, request: ModelRequest) -> NoReturn:
        """Cannot happen either."""
        raise AssertionError("a replay makes no calls")


class _NamedModels:
    """Any name is a model's."""

    def find(self, name: str) -> _NamedModel:
        """A stand-in of that name."""
        return _NamedModel(name)


class _NoIsolation:
    """Where no tool runs."""

    async def run(self, tool: ToolDef, kwargs: dict[str, Any], *, timeout_seconds: float, start_by_boot_ns: int) -> Any:
        """Cannot happen: no call goes live."""
        raise AssertionError("a replay makes no calls")
