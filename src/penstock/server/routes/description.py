"""What the API says of itself: its description, and what its errors mean."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from starlette.responses import JSONResponse, Response

from penstock.kernel.errors import RouteUnknown
from penstock.server.access.caller import open_to_all, signed_in
from penstock.server.problems import described
from penstock.server.schemas.platform import ProblemDescribed

router = APIRouter(prefix="/v1", tags=["description"])


@router.get("/openapi.json", include_in_schema=False, dependencies=[signed_in])
async def description_show(request: Request) -> Response:
    """The description of the API, as OpenAPI 3.1."""
    found: dict[str, Any] = request.app.openapi()
    return JSONResponse(found)


@router.get("/problems/{code}", dependencies=[open_to_all], openapi_extra={"x-open": True})
async def description_problem(code: Annotated[str, Path(max_length=100)]) -> ProblemDescribed:
    """What a code of an error means, and what to do: the address that problems have as their ``type``. Open to all."""
    kind = described().get(code)
    if kind is None:
        raise RouteUnknown("there is no error of that code")
    return ProblemDescribed(code=code, words=" ".join((kind.__doc__ or "").split("\n\n")[0].split()), hint=kind.hint)
