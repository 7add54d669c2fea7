"""Sending an event to another run. Two events record it, so that a sending which a crash cut off is made again under
the same ``dedup``, and known again by the receiver."""

import re
from typing import Any
from uuid import UUID

import msgspec

from penstock.events import MessageDelivered, MessageSent
from penstock.gates.run.call import Call
from penstock.gates.run.context import RunContext
from penstock.gates.run.insist import insist
from penstock.kernel.canonical import canonical_digest, check_finite, check_name, check_plain, check_size, stable_json
from penstock.kernel.errors import InboxFull, InputInvalid
from penstock.ports.waits import EventLetter, EventPost, Sent

EVENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def check_event(name: str, key: str = "", dedup: str = "") -> None:
    """Refuse names, keys and dedup ids that cannot stand in an index.

    Raises:
        InputInvalid: they cannot.
    """
    if not isinstance(name, str) or not EVENT_NAME.fullmatch(name):
        raise InputInvalid(
            f"{str(name)[:80]!r} is not an event name", hint="use up to 64 letters, digits, dots, dashes, underscores"
        )
    if key != "":
        check_name(key, "key of an event")
    if dedup != "":
        check_name(dedup, "dedup id of an event")


def event_body(name: str, value: Any, most: int, sender: str = "", run: UUID | None = None) -> bytes:
    """The body of an event's letter.

    Raises:
        InputInvalid, InputTooLarge: the value is not plain JSON, or has more than ``most`` bytes.
    """
    check_plain(value, "value of an event")
    check_finite(value, "value of an event")
    data = check_size(stable_json(value), most, "the value of an event", "event_value_max_bytes")
    return msgspec.json.encode(EventLetter(name, msgspec.Raw(data), sender, run))


def event_dedup(name: str, sender: UUID | None, dedup: str) -> str:
    """What makes an event to a run known again: senders cannot take each other's ids."""
    return f"event:{name}:{sender or ''}:{dedup}"


async def send_event(ctx: RunContext, run: UUID, name: str, value: Any) -> bool:
    """Send an event to another run of this tenant, once; False when that run has ended or does not exist.

    Raises:
        InboxFull: that run was sent as many events as it takes.
        InputInvalid, InputTooLarge: a name or value that cannot be sent.
    """
    check_event(name)
    settings = ctx.services.settings
    body = event_body(name, value, settings.event_value_max_bytes, ctx.tape.submitted.agent, ctx.run_id)
    call = ctx.enter("message", name, canonical_digest({"to": str(run), "value": value}))
    last = call.last
    if isinstance(last, MessageDelivered):
        await ctx.replay(call)
    else:
        await ctx.schedule.live(call.path)
        last = await ctx.perform(call, _send(ctx, call, run, name, body))
    assert isinstance(last, MessageDelivered)
    if last.status == Sent.FULL:
        raise InboxFull(f"run {run} was sent as many events as it takes")
    return last.status != Sent.ABSENT


async def _send(ctx: RunContext, call: Call, run: UUID, name: str, body: bytes) -> MessageDelivered:
    dedup = event_dedup(name, ctx.run_id, call.path)
    if not call.recorded:
        sent = ctx.event(
            MessageSent,
            call.path,
            to_run=run,
            topic=name,
            dedup=dedup,
            digest=call.identity.digest,
            payloads={"body": [ctx.log.payload(bytes(msgspec.json.decode(body, type=EventLetter).value))]},
        )
        await ctx.intend(call, sent)
    post = EventPost(ctx.claim.tenant, name, dedup, body, run=run, sender=ctx.run_id)
    most = ctx.services.settings.events_max_per_run
    answer = await insist(ctx, lambda: ctx.services.journal.waits.send(post, most))
    delivered = ctx.event(MessageDelivered, call.path, status=answer.value)
    ctx.record(call, delivered)
    return delivered
