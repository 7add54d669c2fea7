"""The run page: all spans without content, one with it, two runs side by side."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Response

from penstock.server.access.caller import Caller, needs
from penstock.server.context import Here
from penstock.server.schemas.base import Amounts
from penstock.server.schemas.trace import AskedPerson, AttemptShown, DiffRow, RunDiff, SpanShown, Trace
from penstock.server.shapes import content, rules
from penstock.views.diff import compare_runs
from penstock.views.rows import find_row
from penstock.views.skeleton_reading import unpack_skeleton
from penstock.views.span_detail import SpanDetail, read_span

router = APIRouter(prefix="/v1/runs", tags=["trace"])

Reader = Annotated[Caller, needs("runs:read")]


@router.get("/{run}/trace", response_model=Trace)
async def trace_show(
    run: UUID, server: Here, caller: Reader, accept_encoding: Annotated[str, Header(max_length=1000)] = ""
) -> Response:
    """All spans of a run in columns, its critical path, budget, loops and children: whole, and without content."""
    packed = await server.reading.skeletons.packed(caller.tenant, run)
    headers = {"Vary": "Accept-Encoding", "Cache-Control": "private, no-cache"}
    if _takes_gzip(accept_encoding):
        return Response(packed, media_type="application/json", headers={**headers, "Content-Encoding": "gzip"})
    return Response(unpack_skeleton(packed), media_type="application/json", headers=headers)


@router.get("/{run}/spans/{path}")
async def trace_span(run: UUID, path: str, server: Here, caller: Reader) -> SpanShown:
    """One span: attempts, verdicts, questions; input and output with the permission payloads:read."""
    row = await find_row(server.journal, caller.tenant, run)
    index = await server.reading.skeletons.index(caller.tenant, run)
    detail = await read_span(server.journal, row, path, index, contents=caller.may("payloads:read"))
    if caller.may("payloads:read"):
        await server.actions.record_reading(caller, str(run))
    return _span(run, detail)


@router.get("/{run}/diff/{other}")
async def trace_diff(run: UUID, other: UUID, server: Here, caller: Reader) -> RunDiff:
    """Two runs, call by call, from shortly before the first difference on. Left is ``run``."""
    found = await compare_runs(server.journal, caller.tenant, run, other)
    return RunDiff(
        left=found.left,
        right=found.right,
        first=found.first,
        rows=[DiffRow(place=row.place, left=row.left, right=row.right, differs=row.differs) for row in found.rows],
        skipped=found.skipped,
        more=found.more,
        nano=found.nano,
        duration=found.duration,
        steps=found.steps,
    )


def _takes_gzip(accepted: str) -> bool:
    """Whether the header names gzip, or anything, and does not refuse it (RFC 9110, 12.5.3)."""
    for item in accepted.lower().split(","):
        name, _, weight = item.partition(";")
        if name.strip() in ("gzip", "x-gzip", "*"):
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def _span(run: UUID, detail: SpanDetail) -> SpanShown:
    span = detail.span
    return SpanShown(
        path=span.path,
        kind=span.kind,
        name=span.name,
        status=span.status,
        seq=span.seq,
        started_at=span.started_at,
        ended_at=span.ended_at,
        sentence=detail.sentence,
        input=content(detail.input),
        output=content(detail.output),
        reasoning=detail.reasoning,
        asks=detail.asks,
        error=span.error,
        used=Amounts(tokens_in=span.used.tokens_in, tokens_out=span.used.tokens_out, nano=span.used.nano),
        cached=span.used.cached,
        simulated=span.simulated,
        about=span.about,
        verdicts=rules(span.verdicts),
        passed=span.passed,
        attempts=_attempts(detail),
        approvals=[
            AskedPerson(
                id=asked.id,
                question=asked.question,
                risk=asked.risk,
                asked_at=asked.asked_at,
                expires=asked.expires,
                decision=asked.decision,
                decided_at=asked.decided_at,
                actor=asked.actor,
                reason=detail.reasons.get(asked.id, ""),
            )
            for asked in span.approvals
        ],
        decision=detail.decision,
        same_as=detail.same_as,
        child=span.child,
        command=f"penstock runs show {run} --full",
    )


def _attempts(detail: SpanDetail) -> list[AttemptShown]:
    return [
        AttemptShown(
            number=attempt.number,
            status=attempt.status,
            started_at=attempt.started_at,
            ended_at=attempt.ended_at,
            latency=attempt.latency,
            reserved=Amounts(
                tokens_in=attempt.reserved.tokens_in,
                tokens_out=attempt.reserved.tokens_out,
                nano=attempt.reserved.nano,
            ),
            used=Amounts(
                tokens_in=attempt.used.tokens_in,
                tokens_out=attempt.used.tokens_out,
                nano=attempt.used.nano,
                nano_at_maximum=attempt.used.nano if attempt.at_maximum else 0,
            ),
            at_maximum=attempt.at_maximum,
            because=attempt.because,
            failure=attempt.failure,
            doubt=attempt.doubt,
            settled_by=attempt.settled_by,
        )
        for attempt in detail.span.attempts
    ]
