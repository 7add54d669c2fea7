"""The audit log: checkpoints, proofs, signatures of witnesses, who answers for what, and exports."""

from collections.abc import AsyncIterator
from typing import Annotated, Any
from uuid import UUID

import msgspec
from fastapi import APIRouter, Query
from fastapi.responses import PlainTextResponse, StreamingResponse
from pydantic import Field

from penstock.kernel.errors import AuditKeyMissing, RequestInvalid
from penstock.kernel.ids import id_time_us
from penstock.ports.audit import StoredCheckpoint
from penstock.runs.sealing import open_signer, seal_now
from penstock.server.access.caller import Caller, needs
from penstock.server.context import Here
from penstock.server.schemas.audit import (
    AccountsShown,
    ConsistencyAsked,
    ConsistencyShown,
    CosignaturesGiven,
    CosignaturesTaken,
    InclusionShown,
    LogPoint,
    LogPointPage,
    LogShown,
)
from penstock.server.schemas.base import Limit, Taken
from penstock.views import audit_log, oversight
from penstock.views.accountability import account_of, accounts_of, owners_in
from penstock.views.exports import Export, Wanted, newest
from penstock.views.rows import find_row

router = APIRouter(prefix="/v1/audit", tags=["audit"])

Reader = Annotated[Caller, needs("audit:read")]
SIZE_MAX = 2**53
CHUNK = 64 * 1024
"""Bytes of an export that are sent together, at least."""

Size = Annotated[int, Field(ge=0, le=SIZE_MAX)]


class ExportAsked(Taken):
    """What to export: a run, a customer's runs, or all runs made from ``since`` on and before ``until``."""

    run: UUID | None = None
    customer: Annotated[str, Field(max_length=300)] = ""
    since: Size | None = None
    until: Size | None = None
    content: bool = False
    held: Annotated[Size, Field(description="size of a checkpoint that the reader holds")] = 0


@router.get("")
async def audit_show(server: Here, caller: Reader) -> LogShown:
    """The log's newest checkpoint, its keys, and how sealing stands."""
    journal = server.journal
    state = await journal.audit.state()
    point = await journal.audit.checkpoint(caller.tenant)
    keys = await audit_log.log_keys(journal, caller.tenant) if await journal.audit.keys() else []
    return LogShown(
        newest=None if point is None else _point(point),
        keys=[verifier.text() for _, verifier in keys],
        history=[key.statement for key, _ in keys],
        sealed_at=state.sealed_at,
        problem=state.problem,
    )


@router.get("/checkpoints")
async def audit_checkpoints(
    server: Here,
    caller: Reader,
    before: Annotated[int | None, Query(ge=1, le=SIZE_MAX)] = None,
    limit: Annotated[Limit, Query()] = 100,
) -> LogPointPage:
    """Checkpoints of sizes below ``before``, newest first. Old ones without a witness are not kept for ever."""
    found = await server.journal.audit.checkpoints(caller.tenant, before, limit)
    more = str(found[-1].size) if len(found) == limit else None
    return LogPointPage(items=[_point(item) for item in found], next=more)


@router.get("/checkpoint", response_class=PlainTextResponse)
async def audit_checkpoint(server: Here, caller: Reader) -> PlainTextResponse:
    """The newest checkpoint as it is to be kept: a signed note, and nothing around it."""
    return PlainTextResponse((await newest(server.journal, caller.tenant)).whole)


@router.get("/inclusion")
async def audit_inclusion(
    server: Here, caller: Reader, run: UUID, event: Annotated[int, Query(ge=0, le=SIZE_MAX)] = 0
) -> InclusionShown:
    """The proof that a run is in the log, up to that event at least; 0 = as far as it is sealed."""
    found = await audit_log.prove_run(server.journal, caller.tenant, run, event)
    return InclusionShown(
        run=run,
        event=found.seq,
        index=found.inclusion.index,
        size=found.inclusion.size,
        leaf=found.inclusion.data.decode(),
        proof=[node.hex() for node in found.inclusion.proof],
        checkpoint=found.checkpoint.whole,
    )


@router.post("/consistency")
async def audit_consistency(server: Here, caller: Reader, body: ConsistencyAsked) -> ConsistencyShown:
    """The proof that the log has only grown since a checkpoint that somebody holds. 500 with the code ``log_forked``:
    it has not."""
    found = await audit_log.prove_growth(server.journal, caller.tenant, body.checkpoint)
    return ConsistencyShown(
        old=found.old,
        size=found.size,
        proof=[node.hex() for node in found.proof],
        checkpoint=found.checkpoint.whole,
    )


@router.get("/witness-request", response_class=PlainTextResponse)
async def audit_witness_request(
    server: Here, caller: Reader, old: Annotated[int, Query(ge=0, le=SIZE_MAX)] = 0
) -> PlainTextResponse:
    """What a witness is sent that has seen the log at size ``old``: the body of ``add-checkpoint``,
    c2sp.org/tlog-witness."""
    found = await audit_log.grown_since(server.journal, caller.tenant, old)
    return PlainTextResponse(audit_log.witness_request(found))


@router.post("/cosignatures")
async def audit_cosign(
    server: Here, caller: Annotated[Caller, needs("audit:witness")], body: CosignaturesGiven
) -> CosignaturesTaken:
    """Keep signatures of witnesses that the server knows with a checkpoint. Each must fit it."""
    witnesses = audit_log.witnesses_of(server.settings.audit_witnesses)
    taken = await audit_log.take_cosignatures(server.journal, caller.tenant, body.signatures, witnesses, body.size)
    await server.actions.record(caller, "audit.cosign", "audit", {"witnesses": taken})
    return CosignaturesTaken(taken=taken)


@router.get("/runs/{run}/accounts")
async def audit_accounts(
    server: Here, caller: Reader, run: UUID, step: Annotated[str, Query(max_length=200)] = ""
) -> AccountsShown:
    """For each call of a run, or those of one step (a path, or the number of an event): who built, reviewed and
    released what was called, set the policy, approved, oversaw, bears responsibility, and for whom it ran."""
    row = await find_row(server.journal, caller.tenant, run)
    policy = server.platform.services.policy
    owner_of = owners_in(policy.for_run(row.agent, row.release, row.env) if policy is not None else None)
    watched = await oversight.watches(server.journal, caller.tenant, id_time_us(row.id))
    if step:
        found = await account_of(server.journal, row, step, owner_of, watched)
    else:
        found = await accounts_of(server.journal, row, owner_of=owner_of, watched=watched)
    await server.actions.record(caller, "audit.read", str(run), {"step": step})
    calls: list[dict[str, Any]] = msgspec.to_builtins(found)
    return AccountsShown(run=run, calls=calls, watched=oversight.plain(watched.get(run, ())))


@router.get("/export", response_class=StreamingResponse, responses={200: {"content": {"text/plain": {}}}})
async def audit_export(
    server: Here, caller: Annotated[Caller, needs("audit:export")], asked: Annotated[ExportAsked, Query()]
) -> StreamingResponse:
    """Runs with the proofs that they are what was recorded, for ``verify.py``. Content takes ``payloads:read`` as well.

    Whoever exports, and what, is recorded first.
    """
    period = asked.since is not None or asked.until is not None
    if (asked.run is not None) + bool(asked.customer) + period != 1:
        raise RequestInvalid("say what to export in one way: run, customer, or since and until")
    if asked.content:
        caller.demand("payloads:read")
    if server.settings.audit_key_file is None:
        raise AuditKeyMissing("this server has no key to sign an export with")
    if asked.run is not None:
        await find_row(server.journal, caller.tenant, asked.run)
    signer = await open_signer(server.journal, server.settings)
    target = str(asked.run or asked.customer or "period")
    detail = {"since": asked.since, "until": asked.until, "content": asked.content, "customer": asked.customer}
    await server.actions.record(caller, "audit.export", target, detail)
    await seal_now(server.journal, server.settings, caller.tenant)
    wanted = Wanted(
        runs=[asked.run] if asked.run is not None else (),
        customer=asked.customer,
        since=(asked.since or 0) if period else None,
        until=asked.until,
        held=asked.held,
        content=asked.content,
    )
    made = Export(server.journal, caller.tenant, wanted, signer.key.sign)
    headers = {"Content-Disposition": 'attachment; filename="export.penstock"', "Cache-Control": "private, no-store"}
    return StreamingResponse(_chunks(made), media_type="text/plain; charset=utf-8", headers=headers)


async def _chunks(made: Export) -> AsyncIterator[bytes]:
    waiting, size = [], 0
    async for line in made.lines():
        waiting.append(line)
        size += len(line)
        if size >= CHUNK:
            yield b"".join(waiting)
            waiting, size = [], 0
    yield b"".join(waiting)


def _point(point: StoredCheckpoint) -> LogPoint:
    return LogPoint(size=point.size, at=point.at, checkpoint=point.whole, witnesses=len(point.witnesses))
