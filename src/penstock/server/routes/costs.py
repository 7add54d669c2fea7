"""What was spent."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field

from penstock.kernel.errors import RequestInvalid
from penstock.server.access.caller import Caller, needs
from penstock.server.context import Here, Server
from penstock.server.schemas.base import Taken
from penstock.server.schemas.overview import CostPoint, CostRow, Costs, GroupBy
from penstock.server.shapes import amounts
from penstock.views import costs as views

router = APIRouter(prefix="/v1", tags=["costs"])

Reader = Annotated[Caller, needs("costs:read")]
Only = Annotated[str | None, Field(max_length=300, description="only what was spent with this value; '' = with none")]
Moment = Annotated[int | None, Field(ge=0, le=2**53, description="microseconds since the epoch")]


class CostsAsked(Taken):
    """What is asked for. ``since`` is brought down to the beginning of its hour, or, of more than two days, of its day
    (UTC); without it: the last seven days."""

    by: GroupBy = "customer"
    since: Moment = None
    until: Moment = None
    customer: Only = None
    feature: Only = None
    agent: Only = None
    task_type: Only = None
    model: Only = None
    release: Only = None

    def only(self) -> dict[str, str]:
        """The filter, by dimension."""
        given = self.model_dump(exclude={"by", "since", "until"})
        return {name: value for name, value in given.items() if value is not None}


@router.get("/costs")
async def costs_show(server: Here, caller: Reader, asked: Annotated[CostsAsked, Query()]) -> Costs:
    """What runs have spent, by the hour in which they ended, and those that go on, now. In ``series`` the value ``*``
    stands for all others."""
    found = await _read(server, caller, asked)
    return Costs(
        since=found.since,
        until=found.until,
        as_of=found.as_of,
        by=found.by,
        rows=[
            CostRow(
                value=row.value,
                used=amounts(row.used),
                runs=row.runs,
                model_calls=row.model_calls,
                before_nano=row.before_nano,
                dearest=row.dearest,
            )
            for row in found.rows
        ],
        others=amounts(found.others),
        total=amounts(found.total),
        total_runs=found.total_runs,
        width=found.width,
        series=[CostPoint(at=point.at, nano=point.nano) for point in found.series],
        counted_until=found.counted_until,
        live_nano=found.live_nano,
        partial=found.partial,
    )


@router.get("/costs.csv", response_class=Response, responses={200: {"content": {"text/csv": {}}}})
async def costs_export(server: Here, caller: Reader, asked: Annotated[CostsAsked, Query()]) -> Response:
    """The rows of ``/v1/costs`` as comma-separated values; money in nano-dollars."""
    found = await _read(server, caller, asked)
    return Response(
        views.costs_csv(found),
        media_type="text/csv; charset=utf-8",
        headers={
            "Content-Disposition": f'attachment; filename="costs-by-{asked.by}.csv"',
            "X-Content-Type-Options": "nosniff",
        },
    )


async def _read(server: Server, caller: Caller, asked: CostsAsked) -> views.Costs:
    where = asked.only()
    if any("\0" in value for value in where.values()):
        raise RequestInvalid("a value holds a NUL, which no tag does")
    try:
        return await views.read_costs(
            server.journal, caller.tenant, asked.by, since=asked.since, until=asked.until, where=where
        )
    except ValueError as error:
        raise RequestInvalid(str(error)) from error
