"""``penstock keys make``."""

from typing import Annotated

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.keys.shown import shown
from penstock.cli.opening import execute, opened
from penstock.cli.options import Actor, AsJson, Tenant, actor_or_account
from penstock.cli.output import note, print_json, say

DAY = 86_400.0


def make(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for; actions are recorded as key:NAME.")],
    role: Annotated[list[str], typer.Option("--role", help="viewer, operator, approver or admin; several: repeat it.")],
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="PERMISSION", help="Fewer permissions than its roles give; repeat it."),
    ] = None,
    expires_days: Annotated[
        float | None, typer.Option(help="Days until it expires; default never.", show_default=False)
    ] = None,
    tenant: Tenant = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> int:
    """Make a key for the API and the console. It is shown this once: only a digest of it is stored."""
    return execute(_make(name, role, only, expires_days, tenant, actor_or_account(actor), as_json))


async def _make(
    name: str,
    roles: list[str],
    only: list[str] | None,
    expires_days: float | None,
    tenant: str | None,
    actor: str,
    as_json: bool,
) -> int:
    from penstock.server.access.keys import make_key
    from penstock.server.action_log import ActionLog

    async with opened(tenant) as platform:
        services = platform.services
        made = await make_key(
            platform.journal.access,
            services.clock,
            platform.tenant,
            name,
            roles,
            most=services.settings.keys_max,
            created_by=actor,
            permissions=only,
            expires_seconds=None if expires_days is None else expires_days * DAY,
        )
        assert made is not None
        key, text = made
        detail = {"name": key.name, "roles": list(key.roles), "permissions": only, "expires_at": key.expires_at}
        log = ActionLog(platform.journal.actions)
        await log.record_as(platform.tenant, f"cli:{actor}", "key.make", str(key.id), detail)
    if as_json:
        print_json({**shown(key), "key": text})
    else:
        say(text)
        note(f"made the key {key.id} ({', '.join(key.roles)}); it is shown this once")
    return ExitCode.OK
