"""Whether the process lives, and whether it can do its work."""

import asyncio

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from penstock.kernel.errors import PenstockError
from penstock.server.access.caller import open_to_all
from penstock.server.context import Here
from penstock.server.schemas.platform import Readiness

router = APIRouter(tags=["health"], dependencies=[open_to_all])

JOURNAL_SECONDS = 2.0
"""How long the journal may take to answer before the process counts as not ready."""


@router.get("/healthz", openapi_extra={"x-open": True})
async def health_live() -> dict[str, str]:
    """The process answers. Open to all."""
    return {"status": "ok"}


@router.get("/readyz", response_model=Readiness, openapi_extra={"x-open": True})
async def health_ready(server: Here) -> Response:
    """Whether requests should be sent here: 503 when the journal is away or the process is stopping. Open to all."""
    checks = {"journal": "ok", "server": "stopping" if server.stopping.is_set() else "ok"}
    try:
        async with asyncio.timeout(JOURNAL_SECONDS):
            await server.journal.now()
    except (PenstockError, TimeoutError) as error:
        checks["journal"] = getattr(error, "code", "no answer")
    ready = all(state == "ok" for state in checks.values())
    return JSONResponse({"ready": ready, "checks": checks}, 200 if ready else 503)
