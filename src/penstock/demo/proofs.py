"""Three live proofs: a worker dies in the middle of a refund, everything is stopped by switch, the journal is edited.

Each works on the real parts (processes, signals, the database) and believes the bank's books and the meter at the wire.
"""

import asyncio
import dataclasses
import json
import sys
from collections.abc import Awaitable, Callable
from uuid import UUID

import asyncpg

from penstock.adapters.simulated import Habits, SimulatedModel, banking77
from penstock.demo.governed_mode import Governed
from penstock.demo.meter import MeteredModel
from penstock.demo.proof_worker import PAID, WorkerJob, proof_desk
from penstock.demo.result import Proof
from penstock.demo.stage import Stage
from penstock.demo.support import SupportDesk
from penstock.demo.support_tools import BankTools
from penstock.demo.tickets import Ticket
from penstock.demo.world import World, found
from penstock.events import ToolIntent, decode
from penstock.journal.chain import verify
from penstock.kernel.clock import wall_seconds
from penstock.kernel.errors import ChainBroken, PenstockError
from penstock.kernel.money import show_usd
from penstock.ports.controls import of_all
from penstock.ports.records import Status
from penstock.runs.client import Penstock
from penstock.runs.submit import Request
from penstock.settings import Settings
from penstock.wiring import open_penstock

_LOOK_SECONDS = 0.05
_PATIENCE_SECONDS = 60.0
_KILL_TICKETS = 24
_ACTOR = "demo"


async def prove_all(stage: Stage, main: Governed) -> dict[str, Proof]:
    """The proofs by name. One that breaks counts as not held and says why."""
    proofs: dict[str, Proof] = {}
    tasks: tuple[tuple[str, str, Callable[[], Awaitable[Proof]]], ...] = (
        ("worker_killed", "a worker is killed", lambda: worker_killed(stage)),
        ("kill_switch", "everything is stopped", lambda: kill_switch(stage)),
        ("tampering", "the journal is edited", lambda: tampering(stage, main)),
    )
    advance = stage.progress.stage("three live proofs", len(tasks))
    for done, (name, title, prove) in enumerate(tasks, 1):
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                proofs[name] = await prove()
        except (PenstockError, OSError, TimeoutError, asyncpg.PostgresError) as error:
            words = error.what if isinstance(error, PenstockError) else f"{type(error).__name__} {error}"
            proofs[name] = Proof(title, False, f"the proof could not be made: {words}", {"error": words})
        advance(done)
    return proofs


async def worker_killed(stage: Stage) -> Proof:
    """SIGKILL a worker process between the bank's commit of a refund and the journal's record of it."""
    world = await _one_refund(stage, stage.code + "k")
    job = WorkerJob(stage.code, stage.options.seed)
    settings = _quick(stage.settings, f"demo-{world.code}")
    began = wall_seconds()
    async with open_penstock(settings) as platform:
        desk = proof_desk(stage.bank, stage.examples, job)
        run = (await platform.submit_many([Request(desk, world.text(0), tags={"feature": "demo"})]))[0]
        victim = await _start_worker(settings, job)
        try:
            await _approve_when_asked(platform, run)
            await _told(victim, PAID)
        finally:
            if victim.returncode is None:
                victim.kill()
            await victim.wait()
        before = await stage.bank.count(world.situations[0].customer_id, "refund")
        platform.start_worker(f"second-{world.code}")
        result = await platform.result(run)
        intents = await _refund_intents(platform, run)
    refunds = await stage.bank.count(world.situations[0].customer_id, "refund")
    keys = {intent.key for intent in intents}
    held = before == refunds == 1 and len(intents) > 1 and len(keys) == 1 and result.ok
    words = (
        f"SIGKILL after the bank had paid and before the journal knew; a second worker repeated the refund with its "
        f"recorded key ({len(intents)} attempts, {len(keys)} key). The bank's own counter: {refunds}. "
        f"The run {result.outcome} after {wall_seconds() - began:.0f} s."
    )
    figures = {"bank_refunds": refunds, "attempts": len(intents), "keys": len(keys), "outcome": result.outcome}
    return Proof("Worker killed in the middle of a refund", held, words, figures)


async def kill_switch(stage: Stage) -> Proof:
    """Kill everything of a tenant while its spirals go on, and watch the meter at the wire."""
    seed, count = stage.options.seed, min(_KILL_TICKETS, len(stage.tickets))
    tickets = [dataclasses.replace(ticket, number=number) for number, ticket in enumerate(stage.tickets[:count])]
    world = await found(stage.bank, stage.code + "s", tickets, seed, stage.examples)
    restless = Habits(spiral=1, heed=0, unsure_below=0)
    model = SimulatedModel(seed, habits=restless, latency_seconds=0.05, examples=stage.examples)
    metered = MeteredModel(model)
    desk = SupportDesk(BankTools(stage.bank), metered, extra={"world": world.code})
    settings = _quick(stage.settings, f"demo-{world.code}")
    async with open_penstock(settings, worker=f"restless-{world.code}") as platform:
        await platform.submit_many([Request(desk, world.text(number)) for number in range(count)])
        await _until(lambda: _calls(metered) >= 3 * count)
        tenant = platform.tenant
        sealed = await platform.kill_everything(actor=_ACTOR, reason="proof", tenant=tenant)
        at_seal = _calls(metered)
        await platform.quiesced(of_all(tenant), timeout_seconds=_PATIENCE_SECONDS)
        calls, nano = _calls(metered), _nano(metered)
        await asyncio.sleep(1.0)
        later_calls, later_nano = _calls(metered), _nano(metered)
        await platform.resume_everything(actor=_ACTOR, tenant=tenant)
    open_models = sum(item.name == metered.name for item in sealed.open_intents)
    held = sealed.sealed and calls - at_seal <= open_models and (later_calls, later_nano) == (calls, nano)
    words = (
        f"{count} restless runs sealed, {len(sealed.open_intents)} open effects listed, of which {calls - at_seal} "
        f"still started; once quiet the money counter stood at {show_usd(nano)}, and a second later at "
        f"{show_usd(later_nano)}."
    )
    figures = {
        "sealed": sealed.sealed,
        "open_effects": [f"{item.name} {item.run} {item.path}" for item in sealed.open_intents],
        "calls_after_seal": calls - at_seal,
        "nano_usd_when_quiet": nano,
        "nano_usd_a_second_later": later_nano,
    }
    return Proof("Everything stopped by switch", held, words, figures)


async def tampering(stage: Stage, main: Governed) -> Proof:
    """Change one character of one recorded event in SQL; the chain check must name it. It is put back afterwards."""
    settings = stage.settings
    async with open_penstock(settings) as platform:
        tenant = main.tenant
        run = next(iter(main.runs))
        connection = await asyncpg.connect(settings.database_url)
        try:
            _check(await _chain_error(platform, tenant, run) is None, "the chain did not verify before the change")
            row = await connection.fetchrow(
                "SELECT seq, body FROM penstock.events WHERE tenant = $1 AND run_id = $2"
                " ORDER BY seq DESC LIMIT 1 OFFSET 2",
                tenant,
                run,
            )
            body: bytes = row["body"]
            await _write_event(connection, tenant, run, row["seq"], _edited(body))
            try:
                error = await _chain_error(platform, tenant, run)
            finally:
                await _write_event(connection, tenant, run, row["seq"], body)
            restored = await _chain_error(platform, tenant, run) is None
        finally:
            await connection.close()
    held = error is not None and error.fields.get("seq") == row["seq"] and restored
    said = error.what if error is not None else "nothing"
    words = f"one character of event {row['seq']} changed in SQL; the check said: {said}. Put back, it verifies again."
    return Proof("Journal edited", held, words, {"edited_seq": row["seq"], "found": said, "restored": restored})


def _quick(settings: Settings, tenant: str) -> Settings:
    """Short leases and allowances, so that nobody has to wait: the proofs are the same with long ones."""
    return dataclasses.replace(
        settings,
        tenant=tenant,
        lease_seconds=4.0,
        loop_block_max_seconds=4.0,
        poll_seconds=0.1,
        start_allowance_seconds=1.0,
        doubt_margin_seconds=0.2,
    )


async def _one_refund(stage: Stage, code: str) -> World:
    """A world with one customer who is owed a refund and whose question the model routes rightly."""
    category = "transaction_charged_twice"
    text = next(
        question.text
        for question in banking77("tickets")
        if question.category == category and stage.examples.classify(question.text).category == category
    )
    return await found(stage.bank, code, [Ticket(0, text, category)], stage.options.seed)


async def _start_worker(settings: Settings, job: WorkerJob) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "penstock.demo.proof_worker",
        json.dumps(dataclasses.asdict(job)),
        env=_environment(settings),
        stdout=asyncio.subprocess.PIPE,
    )


def _environment(settings: Settings) -> dict[str, str]:
    return {
        f"PENSTOCK_{entry.name.upper()}": str(value)
        for entry in dataclasses.fields(settings)
        if (value := getattr(settings, entry.name)) is not None
    }


async def _until(holds: Callable[[], bool]) -> None:
    while True:
        if holds():
            return
        await asyncio.sleep(_LOOK_SECONDS)


async def _approve_when_asked(platform: Penstock, run: UUID) -> None:
    while True:
        asked = [approval for approval in await platform.approvals() if approval.run == run]
        if asked:
            await platform.decide(asked[0], "approve", actor=_ACTOR, reason="the payment was charged twice")
            return
        row = await platform.journal.get_run(platform.tenant, run)
        _check(row is not None and row.status is not Status.ENDED, "the run ended without asking for its refund")
        await asyncio.sleep(_LOOK_SECONDS)


async def _told(process: asyncio.subprocess.Process, words: str) -> None:
    assert process.stdout is not None
    while line := await process.stdout.readline():
        if line.decode().strip() == words:
            return
    raise PenstockError(f"the worker process ended with {await process.wait()} before it had paid the refund")


async def _refund_intents(platform: Penstock, run: UUID) -> list[ToolIntent]:
    events = [decode(row.body) for row in await platform.journal.tape(platform.tenant, run)]
    return [event for event in events if isinstance(event, ToolIntent) and event.tool == "refund"]


async def _chain_error(platform: Penstock, tenant: str, run: UUID) -> ChainBroken | None:
    row = await platform.journal.get_run(tenant, run)
    assert row is not None
    try:
        verify(tenant, run, await platform.journal.tape(tenant, run), row.head, row.last_seq)
    except ChainBroken as error:
        return error
    return None


async def _write_event(
    connection: "asyncpg.Connection[asyncpg.Record]", tenant: str, run: UUID, seq: int, body: bytes
) -> None:
    await connection.execute(
        "UPDATE penstock.events SET body = $4 WHERE tenant = $1 AND run_id = $2 AND seq = $3", tenant, run, seq, body
    )


def _edited(body: bytes) -> bytes:
    """The body with its first digit changed."""
    place = next(index for index, byte in enumerate(body) if chr(byte).isdigit())
    return body[:place] + str((int(chr(body[place])) + 1) % 10).encode() + body[place + 1 :]


def _calls(metered: MeteredModel) -> int:
    return sum(reading.model_calls for reading in metered.readings.values())


def _nano(metered: MeteredModel) -> int:
    return sum(reading.nano for reading in metered.readings.values())


def _check(holds: bool, words: str) -> None:
    if not holds:
        raise PenstockError(words)
