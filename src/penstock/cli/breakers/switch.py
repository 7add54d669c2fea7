"""``penstock breakers trip``, ``reset`` and ``remove``."""

from typing import Annotated

import typer

from penstock.cli.breakers.options import BreakerName, ForTenant, Value, breaking
from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute
from penstock.cli.options import Actor, AsJson, actor_or_account
from penstock.cli.output import note, print_json
from penstock.cli.text import safe


def trip(
    name: BreakerName,
    value: Value = None,
    seconds: Annotated[
        float | None,
        typer.Option("--for", metavar="SECONDS", help="Default: what the breaker says.", show_default=False),
    ] = None,
    reason: Annotated[str, typer.Option("--reason", help="For the record.")] = "",
    tenant: ForTenant = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> int:
    """Open a circuit by hand. When this returns, nothing that it covers starts any more."""
    return execute(_trip(name, value, seconds, reason, tenant, actor_or_account(actor), as_json))


async def _trip(
    name: str, value: str | None, seconds: float | None, reason: str, tenant: str | None, actor: str, as_json: bool
) -> int:
    async with breaking(tenant) as breakers:
        made = await breakers.trip(name, value, actor, reason, seconds)
    if as_json:
        print_json({"name": name, "value": value, "trip": str(made)})
    else:
        note(safe(f"{name} is open{f' for {value}' if value else ''}"))
    return ExitCode.OK


def reset(
    name: BreakerName,
    value: Value = None,
    relearn: Annotated[bool, typer.Option("--relearn", help="Forget what is expected, too.")] = False,
    reason: Annotated[str, typer.Option("--reason", help="For the record of actions.")] = "",
    tenant: ForTenant = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> int:
    """Close one circuit, or all of a breaker. What waited for it goes on."""
    return execute(_reset(name, value, relearn, reason, tenant, actor_or_account(actor), as_json))


async def _reset(
    name: str, value: str | None, relearn: bool, reason: str, tenant: str | None, actor: str, as_json: bool
) -> int:
    async with breaking(tenant) as breakers:
        closed = await breakers.reset(name, value, actor, relearn=relearn)
        await breakers.note(actor, "breaker.reset", name, {"value": value or "", "reason": reason, "closed": closed})
    if as_json:
        print_json({"name": name, "value": value, "closed": closed})
    else:
        note(safe(f"{name}: {closed} closed" if closed else f"{name}: none was open"))
    return ExitCode.OK


def remove(name: BreakerName, tenant: ForTenant = None, as_json: AsJson = False) -> int:
    """Take a breaker away. What it held back goes on."""
    return execute(_remove(name, tenant, as_json))


async def _remove(name: str, tenant: str | None, as_json: bool) -> int:
    async with breaking(tenant) as breakers:
        await breakers.remove(name)
    if as_json:
        print_json({"name": name, "removed": True})
    else:
        note(safe(f"{name}: no longer watched"))
    return ExitCode.OK
