"""The cache of answers: what it is worth, and dropping what it holds."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field

from penstock.kernel.errors import RequestInvalid
from penstock.ports.cache import FIGURES, Count, Which
from penstock.server.access.caller import Caller, needs
from penstock.server.context import Here
from penstock.server.schemas.base import Taken
from penstock.server.schemas.cache import (
    CacheCleared,
    CacheFigures,
    CacheRow,
    CacheShown,
    GateName,
    ScopeName,
)
from penstock.views import cache as views

router = APIRouter(prefix="/v1/cache", tags=["cache"])

Reader = Annotated[Caller, needs("costs:read")]
Clearer = Annotated[Caller, needs("cache:clear")]
Moment = Annotated[int | None, Field(ge=0, le=2**53, description="microseconds since the epoch")]
Only = Annotated[str, Field(max_length=300)]


class CacheAsked(Taken):
    """``since`` is brought down to the beginning of its hour; without it: the last seven days."""

    since: Moment = None
    until: Moment = None


class CacheMeant(Taken):
    """Which answers are meant; without anything: all of the tenant's. ``scope`` and ``scope_name`` go together: a
    customer's ``customer`` and the tag's value, and so on; of the scope ``tenant`` there is no name."""

    gate: GateName | None = None
    scope: ScopeName | None = None
    scope_name: Only = ""
    agent: Only = ""
    name: Only = ""
    tag: Only = ""


@router.get("")
async def cache_show(server: Here, caller: Reader, asked: Annotated[CacheAsked, Query()]) -> CacheShown:
    """How often the cache served, and what that saved, by agent and model or tool; and how much of the prompts that
    were sent the providers read from caches of their own."""
    try:
        found = await views.read_cache(server.journal, caller.tenant, asked.since, asked.until)
    except ValueError as error:
        raise RequestInvalid(str(error)) from error
    return CacheShown(
        since=found.since,
        until=found.until,
        as_of=found.as_of,
        entries=found.held.entries,
        bytes=found.held.bytes,
        rows=[CacheRow(gate=row.gate, agent=row.agent, name=row.name, **_figures(row)) for row in found.rows],
        left_out=found.left_out,
        total=CacheFigures(**_figures(found.total)),
    )


@router.delete("")
async def cache_clear(server: Here, caller: Clearer, meant: Annotated[CacheMeant, Query()]) -> CacheCleared:
    """Drop answers, and do not keep those that are on their way. What runs were given before stays on their records."""
    if (meant.scope is None or meant.scope == "tenant") != (meant.scope_name == ""):
        raise RequestInvalid("a scope goes with its name", hint="give scope and scope_name; of the tenant only scope")
    gone = await server.journal.cache.clear(caller.tenant, Which(**meant.model_dump()))
    detail = {**{name: value for name, value in meant.model_dump().items() if value}, "entries": gone}
    await server.actions.record(caller, "cache.clear", "cache", detail)
    return CacheCleared(entries=gone)


def _figures(count: Count) -> dict[str, Any]:
    figures: dict[str, Any] = {figure: getattr(count, figure) for figure in FIGURES}
    return {**figures, "hit_rate": views.hit_rate(count), "prompt_cache_rate": views.prompt_cache_rate(count)}
