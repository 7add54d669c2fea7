"""How everything stands."""

from typing import Annotated

from fastapi import APIRouter

from penstock.server.access.caller import Caller, needs
from penstock.server.context import Here
from penstock.server.schemas.overview import Overview

router = APIRouter(prefix="/v1/overview", tags=["overview"])


@router.get("")
async def overview_show(server: Here, caller: Annotated[Caller, needs("runs:read")]) -> Overview:
    """How the tenant's runs stand, how they ended in the last hour, what needs a person, what today (UTC) has cost.

    Read once a second for all who ask; ``as_of`` says when.
    """
    return await server.reading.overview(caller.tenant)
