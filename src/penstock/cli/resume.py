"""``penstock resume``."""

from typing import TYPE_CHECKING

from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute, opened
from penstock.cli.options import Actor, AsJson, Tenant, actor_or_account
from penstock.cli.output import print_json, say
from penstock.cli.scopes import (
    Agent,
    Customer,
    Environment,
    Everything,
    Release,
    Session,
    Tool,
    chosen,
    in_words,
    scope_of,
)
from penstock.cli.text import plural
from penstock.kernel.errors import UsageError

if TYPE_CHECKING:
    from penstock.ports.controls import ScopeKind


def resume(
    *,
    everything: Everything = False,
    agent: Agent = None,
    release: Release = None,
    tool: Tool = None,
    session: Session = None,
    customer: Customer = None,
    environment: Environment = None,
    actor: Actor = None,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """Lift kills and pauses of a scope. Runs that were ended by them stay ended; what had waited goes on."""
    choice = chosen(
        everything=everything,
        agent=agent,
        release=release,
        tool=tool,
        session=session,
        customer=customer,
        environment=environment,
    )
    if choice is None:
        raise UsageError("resume takes a scope, such as --all", hint="for one paused run: penstock runs resume ID")
    return execute(_resume(choice, actor_or_account(actor), tenant, as_json))


async def _resume(choice: "tuple[ScopeKind, str]", actor: str, tenant: str | None, as_json: bool) -> int:
    async with opened(tenant) as platform:
        lifted = await platform.resume(scope_of(choice, platform.tenant, tenant), actor=actor)
        left = await platform.journal.controls.wide(platform.tenant)
    if as_json:
        print_json({"lifted": lifted, "in_force": [item.id for item in left], "tenant": tenant})
        return ExitCode.OK
    say(f"lifted {plural(lifted, 'stop')}" if lifted else "no stop of that scope was in force")
    if left:
        say(f"still in force: {', '.join(in_words(item) for item in left)}")
    return ExitCode.OK
