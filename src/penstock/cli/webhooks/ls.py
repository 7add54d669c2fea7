"""``penstock webhooks ls``."""

from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute, opened_journal
from penstock.cli.options import AsJson, Tenant
from penstock.cli.output import columns, print_json, say
from penstock.cli.webhooks.shown import shown

_HEAD = ("id", "url", "state", "waiting", "dead", "last", "topics", "agent")


def ls(tenant: Tenant = None, as_json: AsJson = False) -> int:
    """List the tenant's webhook endpoints, oldest first; never their secrets."""
    return execute(_ls(tenant, as_json))


async def _ls(tenant: str | None, as_json: bool) -> int:
    async with opened_journal(tenant) as place:
        webhooks = place.journal.webhooks
        found = await webhooks.list_endpoints(place.tenant)
        counts = await webhooks.counts(place.tenant, [item.id for item in found])
    if as_json:
        print_json({"webhooks": [shown(item, counts[item.id]) for item in found]})
    elif not found:
        say("no endpoints; add one: penstock webhooks add URL --topic run.ended")
    else:
        rows = [
            (
                str(item.id),
                item.url,
                item.state,
                str(counts[item.id].waiting),
                str(counts[item.id].dead),
                item.last_status,
                ",".join(item.topics),
                item.agent or "all",
            )
            for item in found
        ]
        say(columns(_HEAD, rows, drop=("agent", "topics", "last")))
    return ExitCode.OK
