"""Events from outside: to a run, or to a name and key."""

from typing import Any
from uuid import UUID

from pydantic_core import to_jsonable_python

from penstock.gates.run.services import Services
from penstock.gates.waits.message_gate import check_event, event_body, event_dedup
from penstock.kernel.canonical import check_name
from penstock.kernel.errors import InboxFull, InputInvalid, RunUnknown
from penstock.kernel.ids import new_id
from penstock.ports.waits import EventPost, Sent


async def send(
    services: Services, tenant: str, run: UUID, name: str, value: Any, *, dedup: str = "", sender: str = "api"
) -> bool:
    """Put an event into a run's inbox; False when the same ``dedup`` was sent to it under this name before.

    Raises:
        RunUnknown: no such run for this tenant, or it has ended.
        InboxFull: it was sent ``events_max_per_run`` events.
        InputInvalid, InputTooLarge: a name, id or value that cannot be sent.
    """
    check_event(name, dedup=dedup)
    body = _body(services, name, value, sender)
    known_by = event_dedup(name, None, dedup or new_id(services.clock).hex)
    post = EventPost(tenant, name, known_by, body, run=run)
    most = services.settings.events_max_per_run
    sent = await services.journal.waits.send(post, most)
    if sent is Sent.ABSENT:
        raise RunUnknown(f"there is no run {run} for tenant {tenant!r}, or it has ended")
    if sent is Sent.FULL:
        raise InboxFull(f"run {run} was sent {most:,} events, as many as it takes")
    return sent is Sent.DELIVERED


async def publish(
    services: Services, tenant: str, name: str, key: str, value: Any, *, dedup: str = "", sender: str = "api"
) -> bool:
    """Send an event to a name and key; False when the same ``dedup`` was sent to them before.

    Raises:
        InboxFull: they hold ``events_max_per_key`` events that nobody has taken yet, and no trigger is for them; or a
            trigger for them holds as many as it may that no worker has made runs of.
        InputInvalid, InputTooLarge: a name, key, id or value that cannot be sent.
    """
    if not key:
        raise InputInvalid("an event without a run needs a key")
    check_event(name, key, dedup)
    body = _body(services, name, value, sender)
    settings = services.settings
    post = EventPost(tenant, name, dedup or new_id(services.clock).hex, body, key=key)
    sent = await services.journal.waits.publish(post, settings.events_max_per_key, settings.event_keep_seconds)
    if sent is Sent.BEHIND:
        raise InboxFull(
            f"a trigger for {name} holds as many events as it may that are no runs yet",
            hint="send it again later; see `penstock triggers ls`: is a worker there that offers the agent?",
        )
    if sent is Sent.FULL:
        raise InboxFull(f"{name} of {key!r} holds {settings.events_max_per_key:,} events that nobody has taken")
    return sent is Sent.DELIVERED


def _body(services: Services, name: str, value: Any, sender: str) -> bytes:
    check_name(sender, "sender of an event")
    try:
        plain = to_jsonable_python(value, inf_nan_mode="constants")
    except (ValueError, TypeError, RecursionError) as error:
        raise InputInvalid(f"the value of the event {name} cannot be stored: {str(error)[:200]}") from error
    return event_body(name, plain, services.settings.event_value_max_bytes, sender)
