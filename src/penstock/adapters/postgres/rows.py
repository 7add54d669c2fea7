"""Between the port's values and the arrays and records of the driver."""

from collections.abc import Sequence
from itertools import accumulate
from operator import attrgetter
from typing import Any

import msgspec

from penstock.adapters.postgres.database import columns
from penstock.ports.records import Answer, Applied, Batch, Claim, Flags, NewRun, Payload, RunRow, Status, Stop, Summary

ANSWERS = (Answer.SKIPPED, Answer.APPLIED, Answer.GAP, Answer.FENCED, Answer.ABSENT, Answer.STOPPED, Answer.STALE)
"""By the number that ``penstock.append`` returns."""

_STOPS: dict[str | None, Stop | None] = {None: None, **{stop.value: stop for stop in Stop}}
_STATUSES = {status.value: status for status in Status}
_tags = msgspec.json.Decoder(dict[str, str])


def new_run_columns(runs: Sequence[NewRun]) -> list[list[object]]:
    """Arguments of ``penstock.create_runs``."""
    return columns(
        [
            (
                run.tenant,
                run.id,
                run.agent,
                run.release,
                run.env,
                run.format,
                run.subject,
                run.subject_key,
                run.key,
                run.request_digest,
                run.session,
                run.priority,
                run.parent,
                run.parent_path,
                run.root or run.id,
                run.deadline,
                msgspec.json.encode(run.tags).decode(),
                run.event.body,
                run.event.hash,
            )
            for run in runs
        ],
        19,
    )


def append_arguments(batches: Sequence[Batch], *, blocking: bool) -> list[object]:
    """Arguments of ``penstock.append``. What no batch has is passed as NULL and costs the server nothing.

    Raises:
        ValueError: a hash that has not 32 bytes.
    """
    ends: list[int] = []
    summary: list[int] = []
    of: list[int] = []
    seq: list[int] = []
    bodies: list[bytes] = []
    hashes: list[bytes] = []
    for number, batch in enumerate(batches, 1):
        said = batch.summary
        summary += (
            said.steps,
            said.model_calls,
            said.tool_calls,
            said.tokens,
            said.nano,
            said.reserved_nano,
            said.open_intents,
        )
        of += [number] * len(batch.rows)
        seq += [row.seq for row in batch.rows]
        bodies += [row.body for row in batch.rows]
        hashes += [row.hash for row in batch.rows]
        ends.append(len(of))
    sizes = [len(body) for body in bodies]
    tenants = [batch.tenant for batch in batches]
    return [
        tenants[:1] if len(set(tenants)) == 1 else tenants,
        [batch.run for batch in batches],
        numbers([batch.epoch for batch in batches]),
        numbers([batch.last_seq for batch in batches]),
        numbers([len(batch.rows) for batch in batches]),
        numbers(ends),
        numbers([_intent(batch) for batch in batches]),
        numbers(summary),
        numbers(of),
        numbers(seq),
        numbers(_starts(sizes)),
        numbers(sizes),
        b"".join(bodies),
        _joined(hashes),
        blocking,
        *_rare_arguments(batches),
    ]


CHECKS_TOOLS = 2**30
"""Added by workers that check intents against stops of tools, too; see migration 0030."""


def _intent(batch: Batch) -> int:
    """Whether it holds an intent, and what it was checked against; see migrations 0023 and 0030."""
    if not batch.intent and not batch.children:
        return 0
    return CHECKS_TOOLS + (1 if batch.checked is None else 2 + batch.checked)


def _rare_arguments(batches: Sequence[Batch]) -> list[object]:
    changes: list[tuple[object, ...]] = []
    letters: list[tuple[object, ...]] = []
    posts: list[tuple[object, ...]] = []
    children: list[tuple[int, NewRun]] = []
    for number, batch in enumerate(batches, 1):
        move = batch.move
        if move is not None:
            changes.append((number, move.status.value, move.wake_at, move.waiting, move.outcome, move.code))
            if move.post is not None:
                post = move.post
                posts.append((number, batch.tenant, post.run, post.dedup, post.kind, post.body))
        elif batch.waiting is not None:
            changes.append((number, None, None, batch.waiting, None, ""))
        if batch.consumed:
            letters += [(number, dedup) for dedup in batch.consumed]
        if batch.children:
            children += [(number, child) for child in batch.children]
    return [
        *(columns(changes, 6) if changes else [None] * 6),
        *(columns(letters, 2) if letters else [None] * 2),
        *(columns(posts, 6) if posts else [None] * 6),
        *(_child_columns(children) if children else [None] * 18),
    ]


def payload_arguments(payloads: Sequence[Payload]) -> list[object]:
    """Arguments of ``penstock.put_payloads``, in one order for all writers, so that two with the same addresses cannot
    wait for each other in a circle.

    Raises:
        ValueError: an address that has not 32 bytes.
    """
    ordered = sorted(payloads, key=_payload_order)
    subjects: dict[tuple[str, str], int] = {}
    codecs: dict[str, int] = {}
    of = [subjects.setdefault((payload.tenant, payload.subject), len(subjects) + 1) for payload in ordered]
    codec = [codecs.setdefault(payload.codec, len(codecs) + 1) for payload in ordered]
    stored = [len(payload.data) for payload in ordered]
    return [
        [tenant for tenant, _ in subjects],
        [subject for _, subject in subjects],
        list(codecs),
        numbers(of),
        numbers(codec),
        numbers([payload.size for payload in ordered]),
        numbers(_starts(stored)),
        numbers(stored),
        _joined([payload.address for payload in ordered]),
        b"".join([payload.data for payload in ordered]),
    ]


_payload_order = attrgetter("tenant", "subject", "address")


def numbers(values: list[int]) -> str:
    """An array as text."""
    return "{" + ",".join(map(str, values)) + "}"


def _starts(sizes: list[int]) -> list[int]:
    """Where each piece begins in the joined bytes, counted from 1 as SQL does."""
    return list(accumulate(sizes[:-1], initial=1)) if sizes else []


def _joined(hashes: list[bytes]) -> bytes:
    whole = b"".join(hashes)
    if len(whole) != 32 * len(hashes) or set(map(len, hashes)) - {32}:
        raise ValueError("a hash or address has not 32 bytes")
    return whole


def _child_columns(children: list[tuple[int, NewRun]]) -> list[list[object]]:
    table = new_run_columns([child for _, child in children])
    # Tenant and parent are those of the batch, whatever the child's value says.
    del table[12], table[0]
    return [[number for number, _ in children], *table]


def applied(record: Sequence[Any]) -> list[Applied]:
    """Answers from the record that ``penstock.append`` returned."""
    answers, letters, stops, at = record[0], record[1], record[2], record[3]
    plain = Applied(Answer.APPLIED, 0, None, at)
    return [
        plain if answer == 1 and count == 0 and stop is None else Applied(ANSWERS[answer], count, _STOPS[stop], at)
        for answer, count, stop in zip(answers, letters, stops, strict=True)
    ]


def claim(record: Sequence[Any]) -> Claim:
    """One row of ``CLAIM``."""
    return Claim(
        tenant=record[0],
        run=record[1],
        epoch=record[2],
        last_seq=record[3],
        head=record[4],
        agent=record[5],
        release=record[6],
        subject=record[7],
        subject_key=record[8],
        parent=record[9],
        parent_path=record[10],
        root=record[15],
        claims=record[11],
        stop=_STOPS[record[12]],
        now=record[13],
        deadline=record[14],
    )


def flags(record: Sequence[Any]) -> Flags:
    """One row of ``FLAGS``."""
    return Flags(record[0], record[1], record[2], record[3], _STOPS[record[4]])


def run_row(record: Sequence[Any]) -> RunRow:
    """One row of ``RUN_COLUMNS``."""
    return RunRow(
        tenant=record[0],
        id=record[1],
        agent=record[2],
        release=record[3],
        env=record[4],
        status=_STATUSES[record[5]],
        outcome=record[6],
        code=record[7],
        stop=_STOPS[record[8]],
        epoch=record[9],
        last_seq=record[10],
        head=record[11],
        subject=record[12],
        key=record[13],
        session=record[14],
        priority=record[15],
        parent=record[16],
        parent_path=record[17],
        root=record[18],
        worker=record[19],
        claims=record[20],
        wake_at=record[21],
        created_at=record[22],
        ended_at=record[23],
        deadline=record[24],
        summary=Summary(*record[25:32]),
        waiting=record[32],
        tags=_tags.decode(record[33]),
        pruned_at=record[34],
    )
