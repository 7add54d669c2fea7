"""What a message says: the facts of what happened, and where to read more. Never content of runs."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from penstock.ports.webhooks import Delivery


def message_body(delivery: Delivery, public_url: str) -> bytes:
    """The body: the same bytes at each attempt. JSON of ``type``, ``timestamp`` (when it happened) and ``data``.

    ``public_url``: what links begin with; '' = they are paths.
    """
    facts: dict[str, Any] = msgspec.json.decode(delivery.facts)
    data = {"tenant": delivery.tenant, **facts, "links": _links(facts, public_url.rstrip("/"))}
    at = datetime.fromtimestamp(delivery.created_at / 1e6, UTC)
    return msgspec.json.encode({"type": delivery.topic, "timestamp": at, "data": data})


def _links(facts: dict[str, Any], base: str) -> dict[str, str]:
    links: dict[str, str] = {}
    if run := facts.get("run"):
        links |= {"run": f"{base}/v1/runs/{run}", "result": f"{base}/v1/runs/{run}/result"}
    if approval := facts.get("approval"):
        links["approval"] = f"{base}/v1/approvals/{approval}"
    if control := facts.get("control"):
        links["control"] = f"{base}/v1/controls/{control}"
    return links
