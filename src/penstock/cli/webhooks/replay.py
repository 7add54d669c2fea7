"""``penstock webhooks replay``."""

from typing import Annotated

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute, opened_journal
from penstock.cli.options import Actor, AsJson, Tenant, actor_or_account
from penstock.cli.output import print_json, say
from penstock.cli.webhooks.shown import find_endpoint
from penstock.kernel.errors import WebhookUnknown

AT_ONCE = 1_000


def replay(
    endpoint: Annotated[str, typer.Argument(metavar="ID", help="The endpoint's id, or the end of it.")],
    delivery: Annotated[
        str | None,
        typer.Argument(metavar="[DELIVERY]", help="One delivery's id; without it all that were given up."),
    ] = None,
    tenant: Tenant = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> int:
    """Attempt deliveries again: one, or all that were given up. A server that runs makes them."""
    return execute(_replay(endpoint, delivery, tenant, actor_or_account(actor), as_json))


async def _replay(text: str, delivery: str | None, tenant: str | None, actor: str, as_json: bool) -> int:
    from penstock.server.action_log import ActionLog

    async with opened_journal(tenant) as place:
        webhooks = place.journal.webhooks
        found = await find_endpoint(webhooks, place.tenant, text)
        count = 0
        if delivery is None:
            while again := await webhooks.replay_dead(place.tenant, found.id, AT_ONCE):
                count += again
        elif await webhooks.replay(place.tenant, found.id, delivery) is None:
            raise WebhookUnknown(f"there is no delivery {delivery!r} to {found.id}")
        else:
            count = 1
        log = ActionLog(place.journal.actions)
        detail = {"delivery": delivery, "replayed": count}
        await log.record_as(place.tenant, f"cli:{actor}", "webhook.replay", str(found.id), detail)
    if as_json:
        print_json({"replayed": count})
    else:
        say(f"attempted again: {count:,}")
    return ExitCode.OK
