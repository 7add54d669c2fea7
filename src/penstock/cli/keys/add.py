"""``penstock keys add``."""

from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.keys.shown import shown
from penstock.cli.opening import execute, opened
from penstock.cli.options import Actor, AsJson, Tenant, actor_or_account
from penstock.cli.output import note, plain, print_json, say
from penstock.cli.run import tags_of
from penstock.kernel.errors import UsageError

if TYPE_CHECKING:
    from penstock.agents.budget import Budget

DAY = 86_400.0


def add(  # noqa: PLR0917 - each parameter is an option of the command
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for; its calls have it as the tag key.")],
    gateway: Annotated[
        bool, typer.Option("--gateway", help="For programs that call models through the gateway.")
    ] = False,
    agent: Annotated[str, typer.Option(help="The agent that its calls count for.")] = "gateway",
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", metavar="NAME=VALUE", help="A tag that all its calls have; repeat it."),
    ] = None,
    usd: Annotated[str | None, typer.Option(help="Dollars that each run may cost.", show_default=False)] = None,
    tokens: Annotated[int | None, typer.Option(help="Tokens that each run may use.", show_default=False)] = None,
    expires_days: Annotated[
        float | None, typer.Option(help="Days until it expires; default never.", show_default=False)
    ] = None,
    tenant: Tenant = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> int:
    """Make a key for a program, bound to an agent and tags. It is shown this once: only a digest of it is stored."""
    from penstock.agents.budget import Budget

    if not gateway:
        raise UsageError(
            "say what the key is for: --gateway", hint="for people, use `penstock keys make NAME --role ROLE`"
        )
    tags = tags_of(tag or [])
    budget = Budget(tokens=tokens, usd=usd)
    work = _add(
        name,
        agent,
        tags,
        budget,
        expires_days=expires_days,
        tenant=tenant,
        actor=actor_or_account(actor),
        as_json=as_json,
    )
    return execute(work)


async def _add(
    name: str,
    agent: str,
    tags: dict[str, str],
    budget: "Budget",
    *,
    expires_days: float | None,
    tenant: str | None,
    actor: str,
    as_json: bool,
) -> int:
    from penstock.server.action_log import ActionLog
    from penstock.server.gateway.keys import make_gateway_key

    async with opened(tenant) as platform:
        services = platform.services
        key, binding, text = await make_gateway_key(
            platform.journal,
            services.clock,
            services.settings,
            platform.tenant,
            name,
            agent=agent,
            tags=tags,
            budget=budget,
            created_by=actor,
            expires_seconds=None if expires_days is None else expires_days * DAY,
        )
        detail = {
            "name": key.name,
            "roles": list(key.roles),
            "agent": agent,
            "tags": tags,
            "expires_at": key.expires_at,
        }
        log = ActionLog(platform.journal.actions)
        await log.record_as(platform.tenant, f"cli:{actor}", "key.make", str(key.id), detail)
    if as_json:
        print_json({**shown(key), "agent": agent, "tags": tags, "budget": plain(binding.budget), "key": text})
    else:
        say(text)
        bound = ", ".join(f"{known}={value}" for known, value in tags.items())
        note(f"made the key {key.id} of {agent}{f' with {bound}' if bound else ''}; it is shown this once")
    return ExitCode.OK
