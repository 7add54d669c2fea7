"""``penstock resume``."""

from typing import Annotated

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute, opened
from penstock.cli.options import Actor, AsJson, Tenant, actor_or_account
from penstock.cli.output import print_json, say
from penstock.cli.text import plural
from penstock.kernel.errors import UsageError


def resume(
    everything: Annotated[bool, typer.Option("--all", help="Lift the kill of everything, or of the tenant.")] = False,
    actor: Actor = None,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """Lift a kill of everything. Runs that were ended by it stay ended; what had waited goes on."""
    if not everything:
        raise UsageError("resume takes --all", hint="for one paused run: penstock runs resume ID")
    return execute(_resume(actor_or_account(actor), tenant, as_json))


async def _resume(actor: str, tenant: str | None, as_json: bool) -> int:
    async with opened(tenant) as platform:
        lifted = await platform.resume_everything(actor=actor, tenant=tenant)
        left = await platform.journal.stopped(tenant)
    if as_json:
        print_json({"lifted": lifted, "in_force": left, "tenant": tenant})
        return ExitCode.OK
    say(f"lifted {plural(lifted, 'kill')}" if lifted else "no kill of that scope was in force")
    if left:
        say(f"{plural(len(left), 'kill')} of another scope still in force: {', '.join(str(item) for item in left)}")
    return ExitCode.OK
