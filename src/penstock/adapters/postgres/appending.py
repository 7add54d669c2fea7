"""The statement of an append: one round trip and one commit, whatever is in it."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from penstock.adapters.postgres import queries, rows
from penstock.adapters.postgres.budgets import charge_arguments
from penstock.adapters.postgres.database import Database
from penstock.adapters.postgres.gateway import begin_arguments
from penstock.ports.budgets import Charge
from penstock.ports.records import Answer, Applied, Batch, NewRun, Payload

BEGIN_RUN = """
SELECT penstock.begin_run(
    $1, $2, $3, $4, $5, $6, $7, $8, $9::text::jsonb, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20
)"""
_NEVER = 2**31 - 1
"""Of an intent that is checked against nothing: no version is newer."""


async def append(
    database: Database, batches: Sequence[Batch], payloads: Sequence[Payload], *, blocking: bool
) -> list[Applied]:
    """The answers, by batch.

    Raises:
        JournalError: what was to be stored was refused, or there was no answer.
        ValueError: a batch is malformed.
    """
    if len(batches) == 1 and batches[0].begin is not None and not blocking:
        alone = begin_run_arguments(batches[0], payloads)
        if alone is not None and (at := await database.value(BEGIN_RUN, *alone)) is not None:
            return [Applied(Answer.APPLIED, 0, None, at)]
    arguments = rows.append_arguments(batches, blocking=blocking)
    begins = any(batch.begin is not None for batch in batches)
    if payloads or begins:
        arguments += rows.payload_arguments(payloads)
    if begins:
        arguments += begin_arguments(batches)
    asked = queries.APPEND_BEGUN if begins else queries.APPEND_WITH if payloads else queries.APPEND
    if any(batch.charges for batch in batches):
        asked = queries.charged(asked, len(arguments) + 1)
        arguments += charge_arguments(batches)
    record = await database.row(asked, *arguments)
    assert record is not None
    return rows.applied(record)


def begin_run_arguments(batch: Batch, payloads: Sequence[Payload]) -> list[object] | None:
    """Arguments of ``penstock.begin_run`` for a batch that makes its run; None when it takes more than that does.

    Raises:
        ValueError: a hash or an address that has not 32 bytes.
    """
    begin = batch.begin
    if begin is None or begin.name or batch.move is not None or batch.waiting is not None:
        return None
    run, subject = begin.run, str(begin.run.id)
    if batch.consumed or batch.children or not _is_plain(run, subject) or batch.last_seq != 1:
        return None
    charged = _charged_alike(batch.charges)
    if charged is None or any(payload.subject != subject or payload.tenant != run.tenant for payload in payloads):
        return None
    hashes = [run.event.hash, *[row.hash for row in batch.rows]]
    addresses = [payload.address for payload in payloads]
    if set(map(len, hashes + addresses)) - {32}:
        raise ValueError("a hash or address has not 32 bytes")
    said = batch.summary
    return [
        begin.worker,
        run.tenant,
        run.id,
        run.agent,
        run.release,
        run.env,
        run.format,
        run.subject_key,
        msgspec.json.encode(run.tags).decode(),
        _NEVER if not batch.intent or batch.checked is None else batch.checked,
        [
            said.steps,
            said.model_calls,
            said.tool_calls,
            said.tokens,
            said.nano,
            said.reserved_nano,
            said.open_intents,
        ],
        [run.event.body, *[row.body for row in batch.rows]],
        hashes,
        addresses,
        [payload.codec for payload in payloads],
        [payload.size for payload in payloads],
        [payload.data for payload in payloads],
        *charged,
    ]


def _is_plain(run: NewRun, subject: str) -> bool:
    return run.subject == subject and run.key is None and not run.session and run.parent is None and not run.deadline


def _charged_alike(charges: Sequence[Charge]) -> tuple[list[int] | None, UUID | None, list[int] | None] | None:
    """The accounts that are charged, for whom, and how much each; None when it is not the same for all."""
    if not charges:
        return None, None, None
    holder, amounts = charges[0].holder, _amounts(charges[0])
    if any(
        (charge.holder is not holder and charge.holder != holder) or _amounts(charge) != amounts
        for charge in charges[1:]
    ):
        return None
    accounts = [charge.account for charge in charges]
    return (accounts, holder, amounts) if len(set(accounts)) == len(accounts) else None


def _amounts(charge: Charge) -> list[int]:
    return [charge.held_nano, charge.held_tokens, charge.held_calls, charge.nano, charge.tokens, charge.calls]
