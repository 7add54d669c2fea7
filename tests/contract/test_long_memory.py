"""What a worker needs of memory to go on with long runs, measured in a process of its own against PostgreSQL."""

import asyncio
import os
import sys
from pathlib import Path
from uuid import UUID

import pytest
from tests.contract.long_worker import NOTES, RESULT_BYTES, RESULTS, large_reader, note_taker

import penstock
from penstock import Settings
from penstock.adapters.postgres.journal import PostgresJournal
from penstock.events import NoteRecorded, decode, encode
from penstock.journal.chain import link
from penstock.journal.payloads import address, make_payload, ref_text
from penstock.ports.records import Status
from penstock.runs.client import Penstock

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's accounts of memory")
MIB = 1024 * 1024
RUNS = 8
EVENT_BYTES = 12_000
TAPE_BYTES = NOTES * EVENT_BYTES  # 7 MB


async def growth(dsn: str, capacity: int, runs: int) -> int:
    """Bytes by which the memory of a worker grows that takes those runs on."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.contract.long_worker",
        dsn,
        str(capacity),
        str(runs),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "GATE": "open", "MALLOC_ARENA_MAX": "1"},
    )
    said, _ = await process.communicate()
    assert process.returncode == 0
    return int(said)


async def lengthen(platform: Penstock, run: UUID) -> None:
    """Give a queued run a history of many large events, as if a worker that is gone had made them."""
    journal = platform.journal
    assert isinstance(journal, PostgresJournal)
    row = await journal.get_run("default", run)
    key = await journal.subject_key("default", str(run))
    assert row is not None
    assert key is not None
    value = make_payload("default", str(run), address(key, b"1"), b"1")
    await journal.put_payloads([value])
    first = decode((await journal.tape("default", run))[0].body)
    head, records = row.head, []
    for number in range(NOTES):
        event = NoteRecorded(
            tenant="default",
            run=run,
            agent="note-taker",
            release=first.release,
            at=first.at,
            seq=number + 2,
            path=str(number),
            name="note",
            tags={f"t{i}": f"{number}-{i}" * 100 for i in range(EVENT_BYTES // 500)},
            payloads={"value": [ref_text(value.address)]},
        )
        body = encode(event)
        head = link(head, body)
        records.append(("default", run, event.seq, body, head))
    async with journal.connection() as connection:
        await connection.copy_records_to_table(
            "events", schema_name="penstock", records=records, columns=["tenant", "run_id", "seq", "body", "hash"]
        )
        await connection.execute(
            "UPDATE penstock.runs SET last_seq = $2, head = $3 WHERE id = $1", run, NOTES + 1, head
        )


async def test_a_claim_of_many_long_runs_does_not_read_them_all_at_once(journal_dsn: str) -> None:
    """Eight runs of 7 MB: there is room for one at a time, or for all."""
    sizes: dict[int, int] = {}
    for capacity in (8 * MIB, 1024 * MIB):
        async with penstock.open(Settings(database_url=journal_dsn), agents=[note_taker]) as platform:
            for _ in range(RUNS):
                await lengthen(platform, await platform.submit(note_taker, 1))
        sizes[capacity] = await growth(journal_dsn, capacity, RUNS * (len(sizes) + 1))
    bounded, unbounded = sizes.values()
    assert unbounded > RUNS * TAPE_BYTES * 0.7, "the tapes are too small to show anything"
    assert bounded < unbounded / 2.5, f"{bounded / MIB:.0f} MB of {unbounded / MIB:.0f} MB"


async def test_a_run_of_many_large_results_is_replayed_in_little_memory(journal_dsn: str) -> None:
    """Sixty results of a megabyte, which the agent does not keep; neither does the engine."""
    async with penstock.open(Settings(database_url=journal_dsn, drain_seconds=0), agents=[large_reader]) as platform:
        run = await platform.submit(large_reader, 1)
        worker = platform.start_worker("maker")
        while (row := await platform.journal.get_run("default", run)) is None or row.summary.tool_calls <= RESULTS:
            await asyncio.sleep(0.05)
        worker.drain()
        while row is None or row.status is not Status.QUEUED:
            await asyncio.sleep(0.05)
            row = await platform.journal.get_run("default", run)
    grown = await growth(journal_dsn, 64 * MIB, 1)
    assert grown < RESULTS * RESULT_BYTES * 0.5, f"{grown / MIB:.0f} MB"
