"""What the commands of ``penstock breakers`` have in common."""

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.opening import opened
from penstock.cli.text import safe

if TYPE_CHECKING:
    from penstock.ports.breakers import Breaker, Condition
    from penstock.runs.breakers import Breaking

BreakerName = Annotated[str, typer.Argument(metavar="NAME", help="The breaker's name.")]
Value = Annotated[
    str | None,
    typer.Option("--value", help="One circuit: the agent, customer, tool, ... that it is of.", show_default=False),
]
ForTenant = Annotated[
    str | None, typer.Option("--tenant", help="Whose breaker; default PENSTOCK_TENANT.", show_default=False)
]


@contextlib.asynccontextmanager
async def breaking(tenant: str | None) -> "AsyncIterator[Breaking]":
    """The breakers of a tenant."""
    from penstock.runs.breakers import Breaking

    async with opened() as platform:
        services = platform.services
        yield Breaking(platform.journal, services.clock, tenant or services.settings.tenant)


def condition_words(condition: "Condition") -> str:
    """When it trips, for people."""
    from penstock.kernel.money import show_usd

    limit = condition.limit
    match condition.kind:
        case "cost_mean":
            expected = show_usd(condition.expected) if condition.expected else f"the first {condition.baseline}"
            return f"the last {condition.calls} {condition.of}s cost over {limit:g} times {expected}"
        case "failures":
            return f"{limit:g} failures in a row"
        case "cost_rate":
            return f"over {show_usd(int(limit))} in {condition.seconds:g} s"
        case "error_rate":
            return f"over {limit:.3g} of calls fail in {condition.seconds:g} s, of {condition.calls} or more"
        case "latency":
            slow = f"over {limit:.3g} of calls take over {condition.slow_seconds:g} s"
            return f"{slow} in {condition.seconds:g} s, of {condition.calls} or more"
        case "drift":
            return f"answers drift from the first {condition.baseline}"


def scope_words(breaker: "Breaker") -> str:
    """What it watches, for people."""
    return safe(f"each {breaker.scope}" if breaker.value == "*" else f"{breaker.scope} {breaker.value}")


def meanwhile_words(breaker: "Breaker") -> str:
    """What happens to a call while it is open."""
    match breaker.meanwhile:
        case "fail":
            return "calls are denied"
        case "queue":
            return "calls wait"
        case "fallback":
            return safe(f"{breaker.fallback or 'the next model of the call'} is asked")
