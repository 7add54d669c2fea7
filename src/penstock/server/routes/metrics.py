"""What Prometheus scrapes."""

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from penstock.server.access.caller import Caller, Demand
from penstock.server.context import Here

router = APIRouter(tags=["health"])


class _Scraper(Demand):
    """Whoever has the permission, or everybody where the setting says so."""

    async def __call__(self, request: Request) -> Caller | None:  # type: ignore[override]
        if request.app.state.server.settings.metrics_open:
            return None
        return await super().__call__(request)


@router.get("/metrics", response_class=Response, dependencies=[Depends(_Scraper("metrics:read"))])
async def metrics_read(server: Here) -> Response:
    """Metrics in Prometheus' text format; open to all when ``PENSTOCK_METRICS_OPEN`` is 1. They are of all tenants, so
    only keys of the owner's tenant have the permission."""
    await server.gauges.refresh()
    return Response(server.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
