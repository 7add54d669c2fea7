"""The tenant's webhook endpoints, and what became of what they were told."""

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from penstock.kernel.errors import CursorInvalid, WebhookUnknown
from penstock.ports.webhooks import Delivery, Endpoint, State
from penstock.server.access.caller import Caller, needs
from penstock.server.context import Here, Server
from penstock.server.schemas.base import Limit
from penstock.server.schemas.webhooks import (
    DeliveryPage,
    DeliveryShown,
    EndpointAsked,
    EndpointChanged,
    EndpointMade,
    EndpointPage,
    EndpointRemoved,
    EndpointShown,
    Replayed,
)
from penstock.server.webhooks.endpoints import make_endpoint
from penstock.server.webhooks.signing import new_secret, secret_text

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])

Manager = Annotated[Caller, needs("webhooks:manage")]
REPLAYED_AT_ONCE = 1_000


@router.get("")
async def webhooks_list(server: Here, caller: Manager) -> EndpointPage:
    """The tenant's endpoints, oldest first. Never their secrets."""
    found = await server.journal.webhooks.list_endpoints(caller.tenant)
    return EndpointPage(items=await _shown(server, found))


@router.post("", status_code=201)
async def webhooks_make(server: Here, caller: Manager, body: EndpointAsked) -> EndpointMade:
    """Tell an address from now on. The secret that messages are signed with is in this answer only, never again."""
    services = server.platform.services
    made = await make_endpoint(
        services.journal.webhooks,
        services.clock,
        services.settings,
        caller.tenant,
        body.url,
        [*body.topics],
        created_by=caller.actor,
        agent=body.agent,
        description=body.description,
    )
    detail = {"url": made.url, "topics": list(made.topics), "agent": made.agent}
    await server.actions.record(caller, "webhook.make", str(made.id), detail)
    return await _with_secret(server, made)


@router.get("/{id}")
async def webhooks_get(server: Here, caller: Manager, id: UUID) -> EndpointShown:  # noqa: A002 - as the path has it
    """One endpoint, and how many deliveries wait and were given up (each counted up to 10,000)."""
    return (await _shown(server, [await _find(server, caller, id)]))[0]


@router.patch("/{id}")
async def webhooks_change(
    server: Here,
    caller: Manager,
    id: UUID,  # noqa: A002
    body: EndpointChanged,
) -> EndpointShown:
    """Pause an endpoint, or let it be told again: at once, and as one that never failed."""
    pause = body.state == "paused"
    found = await server.journal.webhooks.pause(caller.tenant, id, caller.actor if pause else "")
    if found is None:
        raise _unknown(id)
    await server.actions.record(caller, "webhook.pause" if pause else "webhook.resume", str(id))
    return (await _shown(server, [found]))[0]


@router.delete("/{id}")
async def webhooks_remove(server: Here, caller: Manager, id: UUID) -> EndpointRemoved:  # noqa: A002
    """Forget an endpoint, its secret, and what it was still to be told."""
    found = await _find(server, caller, id)
    await server.journal.webhooks.remove(caller.tenant, id)
    await server.actions.record(caller, "webhook.remove", str(id), {"url": found.url})
    return EndpointRemoved(id=id)


@router.post("/{id}/rotate")
async def webhooks_rotate(server: Here, caller: Manager, id: UUID) -> EndpointMade:  # noqa: A002
    """Make a new secret. For ``PENSTOCK_WEBHOOK_ROTATION_SECONDS`` messages are signed with the one before too."""
    overlap = server.settings.webhook_rotation_seconds
    found = await server.journal.webhooks.rotate(caller.tenant, id, new_secret(), overlap)
    if found is None:
        raise _unknown(id)
    await server.actions.record(caller, "webhook.rotate", str(id))
    return await _with_secret(server, found)


@router.get("/{id}/deliveries")
async def webhooks_deliveries(
    server: Here,
    caller: Manager,
    id: UUID,  # noqa: A002
    state: Annotated[State | None, Query()] = None,
    cursor: Annotated[str | None, Query(max_length=100)] = None,
    limit: Annotated[Limit, Query()] = 100,
) -> DeliveryPage:
    """What an endpoint was told, is to be told, and could not be told; newest first."""
    await _find(server, caller, id)
    found = await server.journal.webhooks.deliveries(caller.tenant, id, state, _place(cursor), limit)
    more = f"{found[-1].created_at}:{found[-1].id}" if len(found) == limit else None
    return DeliveryPage(items=[_delivery(item) for item in found], next=more)


@router.post("/{id}/deliveries/replay")
async def webhooks_replay_dead(server: Here, caller: Manager, id: UUID) -> Replayed:  # noqa: A002
    """Attempt again what was given up, the oldest 1,000; ask again until it says 0."""
    await _find(server, caller, id)
    count = await server.journal.webhooks.replay_dead(caller.tenant, id, REPLAYED_AT_ONCE)
    await server.actions.record(caller, "webhook.replay_dead", str(id), {"replayed": count})
    return Replayed(replayed=count)


@router.post("/{id}/deliveries/{delivery}/replay")
async def webhooks_replay(server: Here, caller: Manager, id: UUID, delivery: str) -> DeliveryShown:  # noqa: A002
    """Attempt one delivery again, whatever became of it. Its ``webhook-id`` is the same."""
    await _find(server, caller, id)
    found = await server.journal.webhooks.replay(caller.tenant, id, delivery[:100])
    if found is None:
        raise WebhookUnknown(f"there is no delivery {delivery[:100]!r} to {id}")
    await server.actions.record(caller, "webhook.replay", str(id), {"delivery": found.id})
    return _delivery(found)


async def _find(server: Server, caller: Caller, endpoint: UUID) -> Endpoint:
    found = await server.journal.webhooks.get(caller.tenant, endpoint)
    if found is None:
        raise _unknown(endpoint)
    return found


def _unknown(endpoint: UUID) -> WebhookUnknown:
    return WebhookUnknown(f"there is no webhook endpoint {endpoint}")


def _place(cursor: str | None) -> tuple[int, str] | None:
    if cursor is None:
        return None
    at, _, identifier = cursor.partition(":")
    if not (at.isascii() and at.isdigit() and len(at) < 19):
        raise CursorInvalid(f"{cursor!r} is no place in a list of deliveries")
    return int(at), identifier


async def _shown(server: Server, endpoints: Sequence[Endpoint]) -> list[EndpointShown]:
    if not endpoints:
        return []
    counts = await server.journal.webhooks.counts(endpoints[0].tenant, [item.id for item in endpoints])
    return [
        EndpointShown.model_validate(
            {
                "id": item.id,
                "url": item.url,
                "topics": list(item.topics),
                "agent": item.agent,
                "description": item.description,
                "state": item.state,
                "paused_by": item.paused_why,
                "failures": item.failures,
                "created_at": item.created_at,
                "created_by": item.created_by,
                "waiting": counts[item.id].waiting,
                "dead": counts[item.id].dead,
                "last_status": item.last_status,
            }
        )
        for item in endpoints
    ]


async def _with_secret(server: Server, endpoint: Endpoint) -> EndpointMade:
    [shown] = await _shown(server, [endpoint])
    return EndpointMade(**shown.model_dump(), secret=secret_text(endpoint.secret))


def _delivery(item: Delivery) -> DeliveryShown:
    return DeliveryShown.model_validate(
        {
            "id": item.id,
            "endpoint": item.endpoint,
            "topic": item.topic,
            "run": item.run,
            "state": item.state,
            "attempts": item.attempts,
            "created_at": item.created_at,
            "next_at": item.next_at if item.state == "waiting" else None,
            "last_status": item.last_status,
            "last_at": item.last_at,
        }
    )
