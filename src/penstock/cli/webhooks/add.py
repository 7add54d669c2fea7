"""``penstock webhooks add``."""

from typing import Annotated

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute, opened
from penstock.cli.options import Actor, AsJson, Tenant, actor_or_account
from penstock.cli.output import note, print_json, say
from penstock.cli.webhooks.shown import shown
from penstock.ports.webhooks import TOPICS, Counts


def add(
    url: Annotated[str, typer.Argument(metavar="URL", help="Where to post to; https.")],
    topic: Annotated[list[str], typer.Option("--topic", help=f"{', '.join(TOPICS)}; several: repeat it.")],
    agent: Annotated[str, typer.Option("--agent", help="Only what concerns this agent.", show_default=False)] = "",
    description: Annotated[str, typer.Option("--description", help="What it is for.", show_default=False)] = "",
    tenant: Tenant = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> int:
    """Tell an address what happens, from now on. The secret that messages are signed with is shown this once."""
    return execute(_add(url, topic, agent, description, tenant, actor_or_account(actor), as_json))


async def _add(
    url: str, topics: list[str], agent: str, description: str, tenant: str | None, actor: str, as_json: bool
) -> int:
    from penstock.server.action_log import ActionLog
    from penstock.server.webhooks.endpoints import make_endpoint
    from penstock.server.webhooks.signing import secret_text

    async with opened(tenant) as platform:
        services = platform.services
        made = await make_endpoint(
            platform.journal.webhooks,
            services.clock,
            services.settings,
            platform.tenant,
            url,
            topics,
            created_by=f"cli:{actor}",
            agent=agent,
            description=description,
        )
        log = ActionLog(platform.journal.actions)
        detail = {"url": made.url, "topics": list(made.topics), "agent": made.agent}
        await log.record_as(platform.tenant, f"cli:{actor}", "webhook.make", str(made.id), detail)
    secret = secret_text(made.secret)
    if as_json:
        print_json({**shown(made, Counts(0, 0)), "secret": secret})
    else:
        say(secret)
        note(f"added the endpoint {made.id}; its secret is shown this once")
    return ExitCode.OK
