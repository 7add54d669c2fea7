"""Letters that came before anything waited for them: journalled by one holder, taken up by the next."""

from penstock.events import MessageReceived, WaitEnded
from penstock.gates.filters.incoming import released_letter
from penstock.gates.run.context import RunContext
from penstock.ports.records import Letter

_UNCLAIMED = "unclaimed "


async def take_up_unclaimed(ctx: RunContext) -> None:
    """Put the letters that earlier holders journalled where calls look for them."""
    taken = {event.dedup for event in ctx.tape.events if isinstance(event, WaitEnded)}
    for event in ctx.tape.events:
        if isinstance(event, MessageReceived) and event.topic.startswith(_UNCLAIMED) and event.dedup not in taken:
            body = await ctx.load(event.payloads["body"][0])
            kind = event.topic.removeprefix(_UNCLAIMED)
            ctx.mail.post_journalled(Letter(event.dedup, kind, body, event.at))


def unclaimed_event(ctx: RunContext, letter: Letter) -> MessageReceived:
    """The record of such a letter."""
    return ctx.event(
        MessageReceived,
        topic=_UNCLAIMED + letter.kind,
        dedup=letter.dedup,
        payloads={"body": [ctx.log.payload(released_letter(ctx, letter))]},
    )
