"""The append alone: chained events into PostgreSQL on one connection, each call one durable transaction."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from benchmarks.bench import Bench, clock
from benchmarks.figures import Figure, quantile
from penstock.adapters.postgres.database import ConnectionSettings
from penstock.adapters.postgres.journal import PostgresJournal, open_journal
from penstock.events import Amount, ModelIntent, ModelOutcome, RunSubmitted, encode
from penstock.journal.chain import genesis, link
from penstock.kernel.clock import SystemClock
from penstock.kernel.ids import new_id
from penstock.ports.records import Answer, Batch, Claim, NewRun, Row, Summary

GROUP = "The append alone"
SIZES = (60, 180, 450, 900)
EVENTS_EACH = 2  # an outcome and the next intent: what a run adds between two waits
ROUNDS = 8  # appends prepared for each set of runs
TENANT, NAME, RELEASE = "append", "bench-append", "append-benchmark"
_REF = "A" * 43


async def measure(bench: Bench) -> list[Figure]:
    """Events a second by the size of a batch. Events are encoded, hashed and linked beforehand: that is measured with
    the gates; the arguments of the call are not."""
    journal = await open_journal(ConnectionSettings(bench.server.dsn, pool_size=2))
    figures = []
    try:
        for size in SIZES:
            bench.say(f"appending {size} events at a time")
            figures.append(await _rate(journal, size, bench.seconds(3, 0.7)))
    finally:
        await journal.close()
    return figures


@dataclass(slots=True)
class Appended:
    """What was appended in how many seconds of calls."""

    events: int
    seconds: float
    latencies: list[float]
    body_bytes: int  # of an event


async def keep_appending(journal: PostgresJournal, size: int, seconds: float) -> Appended:
    """Append ``size`` events a call for so many seconds of calls."""
    worker = new_id(SystemClock())
    await journal.enlist(worker, f"append-{size}", 600)
    events, spent, size_bytes = 0, 0.0, 0
    latencies: list[float] = []
    while spent < seconds:
        claims = await _claimed(journal, worker, size // EVENTS_EACH)
        for batches in list(itertools.islice(_rounds(claims), ROUNDS)):
            begun = clock()
            answers = await journal.append(batches)
            took = clock() - begun
            if any(answer.answer is not Answer.APPLIED for answer in answers):
                raise RuntimeError(f"an append was answered {answers}")
            spent += took
            latencies.append(took)
            events += size
        size_bytes = sum(len(row.body) for batch in batches for row in batch.rows) // size
    await journal.retire(worker)
    return Appended(events, spent, latencies, size_bytes)


async def _rate(journal: PostgresJournal, size: int, seconds: float) -> Figure:
    done = await keep_appending(journal, size, seconds)
    middle, slow = quantile(done.latencies, 0.5) * 1e3, quantile(done.latencies, 0.99) * 1e3
    note = f"{EVENTS_EACH} events of {done.body_bytes:,} bytes a run; median {middle:.1f} ms, P99 {slow:.1f} ms a call"
    return Figure(GROUP, f"{size} events a call", done.events / done.seconds, "events/s", note=note)


async def _claimed(journal: PostgresJournal, worker: UUID, count: int) -> list[Claim]:
    """So many new runs, in this worker's hands."""
    clock_ = SystemClock()
    runs = []
    for _ in range(count):
        run = new_id(clock_)
        event = RunSubmitted(tenant=TENANT, run=run, agent=NAME, at=clock_.now_us(), seq=1, release=RELEASE)
        body = encode(event)
        first = Row(1, body, link(genesis(TENANT, run), body))
        runs.append(NewRun(TENANT, run, NAME, RELEASE, first, str(run), b"k" * 32))
    await journal.submit(runs)
    claims = await journal.claim(worker, [RELEASE], count)
    if len(claims) != count:
        raise RuntimeError(f"{len(claims)} of {count} runs could be claimed")
    return claims


def _rounds(claims: Sequence[Claim]) -> Iterator[list[Batch]]:
    """Batch after batch for the same runs, each following on the one before."""
    heads = {claim.run: claim.head for claim in claims}
    for number in itertools.count():
        batches = []
        for claim in claims:
            last = claim.last_seq + number * EVENTS_EACH
            rows: list[Row] = []
            for body in _bodies(claim, last, number):
                heads[claim.run] = head = link(heads[claim.run], body)
                rows.append(Row(last + len(rows) + 1, body, head))
            summary = Summary(number, number, 0, 300 * number, 75_000 * number, 0, 1)
            batches.append(Batch(claim.tenant, claim.run, claim.epoch, last, rows, summary, intent=True))
        yield batches


def _bodies(claim: Claim, last: int, number: int) -> list[bytes]:
    """A model call's outcome and the next one's intent, as a run writes them."""
    shared: dict[str, Any] = {
        "tenant": claim.tenant,
        "run": claim.run,
        "agent": claim.agent,
        "at": claim.now,
        "epoch": claim.epoch,
        "release": "f" * 64,
        "tags": {"customer": "acme", "feature": "inbox"},
        "actor": claim.agent,
    }
    outcome = ModelOutcome(
        **shared,
        seq=last + 1,
        path=str(number),
        used=Amount(360, 30, 120_000),
        latency=900,
        finish="stop",
        payloads={"response": [_REF]},
    )
    intent = ModelIntent(
        **shared,
        seq=last + 2,
        path=str(number + 1),
        model="fake:instant",
        digest="d" * 32,
        attempt=1,
        reserved=Amount(800, 1024, 1_224_000),
        max_tokens=1024,
        timeout=120_000_000,
        offered="o" * 32,
        passed=["control@1", "limits@1", "budget@1"],
        prefix_path=str(number),
        prefix_count=4,
        payloads={"messages": [_REF, _REF]},
    )
    return [encode(outcome), encode(intent)]
