"""What was spent."""

from collections.abc import AsyncIterator
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import Field

from penstock.kernel.errors import RequestInvalid
from penstock.ports.usage import DIMENSIONS, TAG
from penstock.server.access.caller import Caller, needs
from penstock.server.context import Here, Server
from penstock.server.schemas.base import Taken
from penstock.server.schemas.costs import (
    CostExplained,
    CostPoint,
    CostReason,
    CostRow,
    Costs,
    DearRun,
    RerateLine,
    Rerates,
    RerateShown,
)
from penstock.server.shapes import amounts
from penstock.views import costs as views
from penstock.views.cost_export import as_text, export_rows
from penstock.views.cost_reasons import explain
from penstock.views.costs import DAY
from penstock.views.rerating import rerates

STRETCH_MAX = 400 * DAY
ROWS_MAX = 1_000
"""Customers of one re-rating that are shown."""

router = APIRouter(prefix="/v1", tags=["costs"])

Reader = Annotated[Caller, needs("costs:read")]
Only = Annotated[str | None, Field(max_length=300, description="only what was spent with this value; '' = with none")]
Moment = Annotated[int | None, Field(ge=0, le=2**53, description="microseconds since the epoch")]


class Part(Taken):
    """Which part of the spending: only what was spent with all of these."""

    customer: Only = None
    feature: Only = None
    agent: Only = None
    task_type: Only = None
    model: Only = None
    release: Only = None
    user: Only = None
    kind: Only = None
    tag: Annotated[
        list[Annotated[str, Field(max_length=300, pattern=r"^[^=]+=")]],
        Field(max_length=4, description="a tag of one's own, as name=value"),
    ] = []

    def only(self) -> dict[str, str]:
        """The filter, by dimension.

        Raises:
            RequestInvalid: a tag is given twice, or holds a NUL.
        """
        found = {name: value for name in DIMENSIONS if (value := getattr(self, name)) is not None}
        for text in self.tag:
            name, _, value = text.partition("=")
            if TAG + name in found:
                raise RequestInvalid(f"the tag {name!r} is given twice")
            found[TAG + name] = value
        if any("\0" in text for text in (*found, *found.values())):
            raise RequestInvalid("a value holds a NUL, which no tag does")
        return found


class CostsAsked(Part):
    """What is asked for. ``since`` is brought down to the beginning of its hour, or, of more than two days, of its day
    (UTC); without it: the last seven days."""

    by: Annotated[
        str,
        Field(
            max_length=400,
            description=(
                "one dimension, or up to four with commas: customer, feature, agent, task_type, model, release, user, "
                "kind (what was paid for), or `tag.` and the name of a tag that PENSTOCK_COSTS_TAGS names"
            ),
        ),
    ] = "customer"
    since: Moment = None
    until: Moment = None


@router.get("/costs")
async def costs_show(server: Here, caller: Reader, asked: Annotated[CostsAsked, Query()]) -> Costs:
    """What runs have spent, by the hour in which they ended, and those that go on, now: a call that was settled is in
    it. In ``series`` the value ``*`` stands for all others."""
    found = await _read(server, caller, asked)
    return Costs(
        since=found.since,
        until=found.until,
        as_of=found.as_of,
        by=",".join(found.by),
        dimensions=list(found.by),
        rows=[
            CostRow(
                value=row.value,
                values=list(row.values),
                used=amounts(row.used),
                classes=row.used.classes,
                runs=row.runs,
                model_calls=row.model_calls,
                before_nano=row.before_nano,
                dearest=row.dearest,
            )
            for row in found.rows
        ],
        others=amounts(found.others),
        total=amounts(found.total),
        classes=found.total.classes,
        total_runs=found.total_runs,
        width=found.width,
        series=[CostPoint(at=point.at, nano=point.nano) for point in found.series],
        counted_until=found.counted_until,
        live_nano=found.live_nano,
        partial=found.partial,
    )


@router.get("/costs.csv", response_class=Response, responses={200: {"content": {"text/csv": {}}}})
async def costs_csv(server: Here, caller: Reader, asked: Annotated[CostsAsked, Query()]) -> Response:
    """The rows of ``/v1/costs`` as comma-separated values; money in nano-dollars."""
    found = await _read(server, caller, asked)
    name = "-".join(found.by)
    return Response(
        views.costs_csv(found),
        media_type="text/csv; charset=utf-8",
        headers={
            "Content-Disposition": f'attachment; filename="costs-by-{name}.csv"',
            "X-Content-Type-Options": "nosniff",
        },
    )


class ExportAsked(Part):
    """What is asked for. Hours that begin in the stretch are in it; without ``until`` up to what is counted."""

    format: Literal["csv", "focus"] = "csv"
    since: Moment = None
    until: Moment = None


@router.get("/costs/export", response_class=Response, responses={200: {"content": {"text/csv": {}}}})
async def costs_export(server: Here, caller: Reader, asked: Annotated[ExportAsked, Query()]) -> StreamingResponse:
    """What ended runs have spent, by the hour, as comma-separated values: every name, every class of tokens, money in
    nano-dollars; or as FOCUS 1.2. It is sent as it is read. The header `Penstock-Counted-Until` says up to when ended
    runs are in it (microseconds since the epoch)."""
    where, journal, tenant = asked.only(), server.journal, caller.tenant
    now = await journal.now()
    until = now if asked.until is None else asked.until
    since = until - 30 * DAY if asked.since is None else asked.since
    if not until - STRETCH_MAX <= since < until:
        raise RequestInvalid("the stretch ends before it begins, or is longer than 400 days")
    place = await journal.usage.place(tenant)
    writer = as_text(asked.format, tenant)

    async def body() -> AsyncIterator[str]:
        yield writer.head()
        async for rows in export_rows(journal, tenant, since, until, where):
            yield writer.rows(rows)

    return StreamingResponse(
        body(),
        media_type="text/csv; charset=utf-8",
        headers={
            "Content-Disposition": f'attachment; filename="costs-{asked.format}.csv"',
            "X-Content-Type-Options": "nosniff",
            "Penstock-Counted-Until": str(place.until if place else 0),
        },
    )


class ExplainAsked(Taken):
    """What is asked for; without ``since`` the last seven days."""

    customer: Annotated[str, Field(min_length=1, max_length=300)]
    feature: Annotated[str, Field(max_length=300)] = ""
    since: Moment = None
    until: Moment = None


@router.get("/costs/explain")
async def costs_explain(server: Here, caller: Reader, asked: Annotated[ExplainAsked, Query()]) -> CostExplained:
    """Why a customer's runs cost what they cost: against the others, and what the records of its dearest runs say."""
    now = await server.journal.now()
    until = now if asked.until is None else asked.until
    since = until - 7 * DAY if asked.since is None else asked.since
    if not until - STRETCH_MAX <= since < until:
        raise RequestInvalid("the stretch ends before it begins, or is longer than 400 days")
    found = await explain(
        server.journal, caller.tenant, asked.customer, feature=asked.feature, since=since, until=until
    )
    same = {name: getattr(found, name) for name in CostExplained.model_fields if name not in ("reasons", "dearest")}
    return CostExplained(
        **same,
        reasons=[
            CostReason(
                code=reason.code,
                words=reason.words,
                nano=reason.nano,
                share=round(reason.share, 4),
                runs=reason.runs,
                name=reason.name,
                examples=list(reason.examples),
            )
            for reason in found.reasons
        ],
        dearest=[
            DearRun(
                id=one.row.id,
                agent=one.row.agent,
                nano=one.nano,
                outcome=one.row.outcome,
                code=one.row.code,
                steps=one.row.summary.steps,
                circles=one.circles,
            )
            for one in found.dearest
        ],
    )


@router.get("/costs/rerates")
async def costs_rerates(server: Here, caller: Reader) -> Rerates:
    """Re-ratings at corrected prices (``penstock costs rerate``), the newest hundred."""
    return Rerates(
        items=[
            RerateShown(
                id=made.id,
                at=made.at,
                model=made.model,
                since=made.since,
                until=made.until,
                price=made.price,
                before=made.before,
                billed=made.billed,
                corrected=made.corrected,
                rows=[
                    RerateLine(
                        customer=row.customer,
                        calls=row.calls,
                        billed=row.billed,
                        corrected=row.corrected,
                        difference=row.difference,
                        kept=row.kept,
                    )
                    for row in made.rows[:ROWS_MAX]
                ],
                partial=made.partial,
                pruned=made.pruned,
                reason=made.reason,
            )
            for made in await rerates(server.journal, caller.tenant)
        ]
    )


async def _read(server: Server, caller: Caller, asked: CostsAsked) -> views.Costs:
    where = asked.only()
    try:
        return await views.read_costs(
            server.journal, caller.tenant, asked.by.split(","), since=asked.since, until=asked.until, where=where
        )
    except ValueError as error:
        raise RequestInvalid(str(error)) from error
