"""What a model or a tool has said, or a tool is to be given, as it may go on.

Filters run where a call is live, before its outcome is recorded: the journal holds what was released, and replay gives
that back without asking anybody. What was taken out is kept nowhere, and what tokens stand for in the vault alone.
"""

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from penstock.events import Failure, Filtered
from penstock.events.messages import Message, Part, Text, Thinking, ToolCall
from penstock.gates.filters.classifying import classified
from penstock.gates.filters.vault import keep, tokens_of
from penstock.kernel.canonical import stable_json
from penstock.rules.filters.filters import Filters, Place
from penstock.rules.filters.sift import Sifted, Tokens, sift_arguments, sift_text, sift_value
from penstock.rules.verdict import Decision, Verdict

if TYPE_CHECKING:
    from penstock.gates.run.context import RunContext

WITHHELD = "filter_blocked"
"""The code of what filters did not let go on."""


def records(sifted: Sifted) -> list[Filtered]:
    """What the journal keeps of it: kinds, actions and how often."""
    return [Filtered(kind, action, count) for (kind, action), count in sorted(sifted.counts.items())]


async def released_message(
    ctx: "RunContext", message: Message, output_tool: str
) -> tuple[Message, list[Filtered], Failure | None]:
    """A model's answer as the agent may see it, or why it may not; ``output_tool``: the tool by which it answers."""
    filters = ctx.facts.filters
    if filters is None:
        return message, [], None
    sifted, place = Sifted(), filters.places["output"]
    parts = _spoken(place, message.parts, tokens_of(ctx), sifted, filters, output_tool)
    if place.classifiers:
        parts = await _classified_parts(ctx, place, parts, output_tool, sifted)
    keep(ctx, sifted.tokens)
    found = records(sifted)
    if sifted.blocked:
        return message, found, Failure(WITHHELD, "permanent", f"the answer was withheld: {sifted.blocked}")
    # What the provider's library made of the message repeats it, word for word.
    return (replace(message, parts=parts, cache={}) if sifted.is_changed else message), found, None


def _spoken(
    place: Place, parts: Sequence[Part], tokens: Tokens | None, into: Sifted, filters: Filters, output_tool: str
) -> list[Part]:
    """The parts of a message with its words, its reasoning and the arguments of its calls filtered."""
    words = [part for part in parts if type(part) is Text]
    if len(words) > 1:  # what begins in one may end in the next
        text = "".join(part.text for part in words)
        released = sift_text(place, text, tokens, probe := Sifted())
        if probe.counts:
            into.counts, into.tokens = probe.counts, probe.tokens
            whole = Text(released) if released != text else Text(text)
            parts = [
                whole if part is words[0] else part for part in parts if part is words[0] or type(part) is not Text
            ]
            words = []
    released_parts: list[Part] = []
    for part in parts:
        if type(part) is Text and words:
            text = sift_text(place, part.text, tokens, into)
            released_parts.append(part if text == part.text else Text(text))
        elif type(part) is Thinking:
            # Its signature is over its words: reasoning that may not be kept as it is cannot be sent back.
            if sift_text(place, part.text, tokens, into) == part.text:
                released_parts.append(part)
        elif type(part) is ToolCall:
            where = place if part.name == output_tool else filters.places["arguments"]
            args = _call_args(where, part.args, tokens, into, blocks=where is place)
            released_parts.append(part if args == part.args else ToolCall(part.id, part.name, args))
        else:
            released_parts.append(part)
    return released_parts


def _call_args(place: Place, args: str, tokens: Tokens | None, into: Sifted, *, blocks: bool) -> str:
    """The arguments of a call, JSON as a model wrote it. What would block the call is left to the tool gate."""
    if not place.finders:
        return args
    found = Sifted()
    text = sift_arguments(place, args, tokens, found)
    if found.blocked and not blocks:
        return args
    into.add(found)
    return text


async def _classified_parts(
    ctx: "RunContext", place: Place, parts: Sequence[Part], output_tool: str, into: Sifted
) -> list[Part]:
    done: list[Part] = []
    for part in parts:
        if type(part) is Text:
            text = await classified(ctx.services.clock, place.classifiers, part.text, into)
            done.append(part if text == part.text else Text(text))
        elif type(part) is ToolCall and part.name == output_tool:
            text = await classified(ctx.services.clock, place.classifiers, part.args, into)
            done.append(part if text == part.args else ToolCall(part.id, part.name, text))
        else:
            done.append(part)
    return done


async def released_result(ctx: "RunContext", value: Any) -> tuple[Any, list[Filtered], str]:
    """What a tool returned, a plain value, as the agent may see it; what was found; and what of it blocks it, in
    words, '' = nothing."""
    filters = ctx.facts.filters
    place = filters.places["results"] if filters is not None else None
    if place is None or place.is_idle or value is None:
        return value, [], ""
    sifted = Sifted()
    try:
        released = sift_value(place, value, tokens_of(ctx), sifted)
    except Exception as error:
        return None, [], f"the filters failed: {type(error).__name__}"
    if place.classifiers:
        text = released if isinstance(released, str) else stable_json(released).decode()
        judged = await classified(ctx.services.clock, place.classifiers, text, sifted)
        if judged != text:
            released = judged  # of a value that is no text, what remains is text
    keep(ctx, sifted.tokens)
    return released, records(sifted), sifted.blocked


def released_failure(ctx: "RunContext", failure: Failure | None) -> Failure | None:
    """What a tool says of its failure, with what may not be seen taken out."""
    filters = ctx.facts.filters
    if failure is None or filters is None or not failure.words:
        return failure
    sifted, words = Sifted(), ""
    with contextlib.suppress(Exception):
        words = sift_text(filters.places["results"], failure.words, tokens_of(ctx), sifted)
        keep(ctx, sifted.tokens)
    if sifted.blocked or not words:
        words = "what it said was withheld"
    return failure if words == failure.words else msgspec.structs.replace(failure, words=words)


def released_args(ctx: "RunContext", args: Any) -> tuple[Any, list[Filtered], Decision | None]:
    """The arguments as the tool is to be given them, what was found, and a denial when they may not leave. Of what is
    denied only a form without the findings is recorded."""
    filters = ctx.facts.filters
    place = filters.places["arguments"] if filters is not None else None
    if place is None or not place.finders:
        return args, [], None
    sifted = Sifted()
    try:
        released = sift_value(place, args, tokens_of(ctx), sifted)
    except Exception as error:
        return {}, [], Decision(Verdict.DENY, f"the filters failed: {type(error).__name__}", WITHHELD)
    found = records(sifted)
    if sifted.blocked:
        words = f"the arguments hold what may not leave: {sifted.blocked}"
        return released, found, Decision(Verdict.DENY, words, WITHHELD)
    keep(ctx, sifted.tokens)
    return released, found, None
