"""Making endpoints, for the API and for the command line."""

from ipaddress import ip_address

from penstock.kernel.clock import Clock
from penstock.kernel.errors import InputInvalid, WebhooksFull, WebhookTargetRefused
from penstock.kernel.ids import new_id
from penstock.ports.webhooks import TOPICS, Endpoint, Webhooks
from penstock.server.webhooks.signing import new_secret
from penstock.server.webhooks.targets import is_allowed, parse_networks, parse_target
from penstock.settings import Settings


async def make_endpoint(
    webhooks: Webhooks,
    clock: Clock,
    settings: Settings,
    tenant: str,
    url: str,
    topics: list[str],
    *,
    created_by: str,
    agent: str = "",
    description: str = "",
) -> Endpoint:
    """Store a new endpoint with a new secret. Names are not resolved yet: that is done, and checked, at each attempt.

    Raises:
        WebhookTargetRefused: the URL is of a kind that is not called.
        InputInvalid: a topic that there is not.
        WebhooksFull: the tenant has as many as it may have.
    """
    target = parse_target(url, allow_http=bool(settings.webhook_allow_http))
    if _is_address(target.host) and not is_allowed(target.host, parse_networks(settings.webhook_allowed_networks)):
        raise WebhookTargetRefused(f"{target.host} is not called")
    strange = set(topics) - set(TOPICS)
    if strange or not topics:
        raise InputInvalid(f"no topic: {', '.join(sorted(strange)) or 'none was given'}; there are {', '.join(TOPICS)}")
    endpoint = Endpoint(
        tenant,
        new_id(clock),
        url,
        tuple(topic for topic in TOPICS if topic in topics),
        agent,
        description,
        new_secret(),
        created_by,
    )
    stored = await webhooks.add(endpoint, settings.webhooks_max)
    if stored is None:
        raise WebhooksFull(f"the tenant {tenant!r} has {settings.webhooks_max:,} endpoints")
    return stored


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
