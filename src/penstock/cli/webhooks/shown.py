"""How endpoints are shown, and found by the end of their ids."""

from typing import Any

from penstock.kernel.errors import WebhookUnknown
from penstock.ports.webhooks import Counts, Endpoint, Webhooks

SUFFIX_MIN = 4


def shown(endpoint: Endpoint, counts: Counts) -> dict[str, Any]:
    """An endpoint's document, without its secrets."""
    return {
        "id": str(endpoint.id),
        "url": endpoint.url,
        "topics": list(endpoint.topics),
        "agent": endpoint.agent,
        "description": endpoint.description,
        "state": endpoint.state,
        "paused_by": endpoint.paused_why,
        "failures": endpoint.failures,
        "created_at": endpoint.created_at,
        "created_by": endpoint.created_by,
        "waiting": counts.waiting,
        "dead": counts.dead,
        "last_status": endpoint.last_status,
    }


async def find_endpoint(webhooks: Webhooks, tenant: str, text: str) -> Endpoint:
    """The only endpoint whose id ends so: ids made close together begin alike.

    Raises:
        WebhookUnknown: there is none, or there are several.
    """
    wanted = text.replace("-", "").lower()
    if len(wanted) < SUFFIX_MIN:
        raise WebhookUnknown(f"{text!r} is too short for the end of an id")
    found = [item for item in await webhooks.list_endpoints(tenant) if item.id.hex.endswith(wanted)]
    if len(found) != 1:
        what = "several endpoints have ids" if found else "no endpoint has an id"
        raise WebhookUnknown(f"{what} that ends with {text!r}")
    return found[0]
