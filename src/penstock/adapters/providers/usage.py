"""What a provider's own body says was used, as an `Amount`: pure, one reader for each shape of body.

All shapes end as the same thing: whole numbers of tokens in and out, and of what classes. Providers differ in what is
counted within what: OpenAI counts cached tokens among the prompt's, Anthropic and Bedrock beside them; Gemini counts
thoughts beside the answer, the others within it. A figure that cannot be (negative, no whole number, a part larger than
its whole), one that is missing, or a charge that is not by token raises `UsageUnreadable`: whoever asked then charges
the most that the call could have used, and marks it.

The bodies that this was checked against, with where each is published, are in ``tests/data/usage``.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from penstock.events import Amount
from penstock.events.envelope import TOKENS_MAX
from penstock.kernel.errors import UsageUnreadable

Body = Mapping[str, Any]

OPENAI_CHAT: Final = "openai-chat"
OPENAI_RESPONSES: Final = "openai-responses"
OPENAI_EMBEDDINGS: Final = "openai-embeddings"
ANTHROPIC_MESSAGES: Final = "anthropic-messages"
GEMINI: Final = "gemini"
BEDROCK_CONVERSE: Final = "bedrock-converse"

RESPONSES_LAST: Final = ("response.completed", "response.incomplete", "response.failed")
"""The events that end a stream of OpenAI's responses; each holds the response whole."""


def read_usage(shape: str, body: Body) -> Amount:
    """The tokens that a provider's answer says were used; ``nano`` is 0: rating is the price's.

    Args:
        shape: one of `SHAPES`.
        body: the whole answer, or its usage object alone.

    Raises:
        UsageUnreadable: usage is missing, or says what cannot be.
        KeyError: there is no such shape.
    """
    reader, keys = _READERS[shape]
    amount = reader(_usage_of(shape, body, keys))
    if amount.tokens_in <= 0 or not amount.is_sound:
        raise _unreadable(shape, "its figures contradict each other, or cannot be")
    return amount


class StreamUsage:
    """Reads the usage of a stream, from its events in order.

    OpenAI says it in the last chunk or event, Anthropic in the first event and again, as running totals, in the last
    ones; Gemini in every chunk, Bedrock in an event of its own. Running totals of a stream that was cut are less than
    what will be billed: `read` raises until the end was seen.
    """

    def __init__(self, shape: str) -> None:
        """``shape``: one of `SHAPES`.

        Raises:
            KeyError: there is no such shape.
        """
        self._shape = shape
        self._keys = _READERS[shape][1]
        self._usage: dict[str, Any] = {}
        self._has_ended = False
        self._is_whole = False

    def see(self, event: Body) -> None:
        """The next event of the stream, as decoded JSON; what says nothing of usage is passed over."""
        self._has_ended = self._has_ended or _ends(self._shape, event)
        holders: tuple[Body, ...] = (event,)
        if self._shape == OPENAI_RESPONSES:
            holders = _object(event.get("response")), event
        elif self._shape == BEDROCK_CONVERSE:
            holders = _object(event.get("metadata")), event
        elif self._shape == ANTHROPIC_MESSAGES:
            holders = _object(event.get("message")), event
        for holder in holders:
            for key in self._keys:
                usage = holder.get(key)
                if isinstance(usage, Mapping):
                    # Running totals take the place of what was said before; what they leave out stays.
                    self._usage.update({name: value for name, value in usage.items() if value is not None})
                    self._is_whole = self._has_ended and _counts_output(self._shape, usage)
                elif usage is not None:
                    self._is_whole = False

    def read(self) -> Amount:
        """What the stream said was used.

        Raises:
            UsageUnreadable: it has not said so, or said what cannot be.
        """
        if not self._is_whole:
            raise _unreadable(self._shape, "the stream ended before it was said")
        return read_usage(self._shape, self._usage)


def _ends(shape: str, event: Body) -> bool:
    """Whether the figures in this event or a later one are the last: the answer is over."""
    if shape == OPENAI_CHAT:
        choices = event.get("choices")
        return choices == [] or _any_has(choices, "finish_reason")
    if shape == GEMINI:
        blocked = _object(event.get("promptFeedback")).get("blockReason")
        return bool(blocked) or _any_has(event.get("candidates"), "finishReason")
    if shape == ANTHROPIC_MESSAGES:
        return event.get("type") == "message_delta"
    if shape == OPENAI_RESPONSES:
        return event.get("type") in RESPONSES_LAST
    return True


def _counts_output(shape: str, usage: Body) -> bool:
    """Whether figures at the end are of the whole answer. Anthropic's first event counts the output that it begins
    with: what comes later without a count of its own leaves that standing."""
    return shape != ANTHROPIC_MESSAGES or usage.get("output_tokens") is not None


def _any_has(items: object, name: str) -> bool:
    return isinstance(items, list) and any(_object(item).get(name) for item in items)


def _usage_of(shape: str, body: Body, keys: tuple[str, ...]) -> Body:
    for key in keys:
        if key in body:
            if not isinstance(body[key], Mapping):
                raise _unreadable(shape, f"{key} is no object")
            return _object(body[key])
    return body


def _openai_chat(usage: Body) -> Amount:
    shape = OPENAI_CHAT
    tokens_in, tokens_out = _must(shape, usage, "prompt_tokens"), _must(shape, usage, "completion_tokens")
    into, out = _object(usage.get("prompt_tokens_details")), _object(usage.get("completion_tokens_details"))
    reasoning = _count(shape, out, "reasoning_tokens")
    total = _count(shape, usage, "total_tokens")
    # Some servers that speak this language (xAI's) count reasoning beside the answer; their total tells.
    if reasoning and total == tokens_in + tokens_out + reasoning:
        tokens_out += reasoning
    return Amount(
        tokens_in,
        tokens_out,
        cached=_count(shape, into, "cached_tokens"),
        written=_count(shape, into, "cache_write_tokens"),
        reasoning=reasoning,
        audio_in=_count(shape, into, "audio_tokens"),
        audio_cached=_count(shape, _object(into.get("cached_tokens_details")), "audio_tokens"),
        audio_out=_count(shape, out, "audio_tokens"),
        image_in=_count(shape, into, "image_tokens"),
        image_out=_count(shape, out, "image_tokens"),
    )


def _openai_responses(usage: Body) -> Amount:
    shape = OPENAI_RESPONSES
    into, out = _object(usage.get("input_tokens_details")), _object(usage.get("output_tokens_details"))
    return Amount(
        _must(shape, usage, "input_tokens"),
        _must(shape, usage, "output_tokens"),
        cached=_count(shape, into, "cached_tokens"),
        written=_count(shape, into, "cache_write_tokens"),
        reasoning=_count(shape, out, "reasoning_tokens"),
        audio_in=_count(shape, into, "audio_tokens"),
        audio_out=_count(shape, out, "audio_tokens"),
        image_in=_count(shape, into, "image_tokens"),
        image_out=_count(shape, out, "image_tokens"),
    )


def _openai_embeddings(usage: Body) -> Amount:
    tokens_in = _must(OPENAI_EMBEDDINGS, usage, "prompt_tokens")
    total = _count(OPENAI_EMBEDDINGS, usage, "total_tokens")
    # They are the same; where a server says otherwise, the larger holds.
    return Amount(max(tokens_in, total), 0)


def _anthropic(usage: Body) -> Amount:
    shape = ANTHROPIC_MESSAGES
    _no_fees(shape, _object(usage.get("server_tool_use")))
    cached = _count(shape, usage, "cache_read_input_tokens")
    written = _count(shape, usage, "cache_creation_input_tokens")
    kept = _object(usage.get("cache_creation"))
    hour, minutes = _count(shape, kept, "ephemeral_1h_input_tokens"), _count(shape, kept, "ephemeral_5m_input_tokens")
    return Amount(
        _must(shape, usage, "input_tokens") + cached + max(written, hour + minutes),
        _must(shape, usage, "output_tokens"),
        cached=cached,
        written=max(written, hour + minutes),
        written_hour=hour,
        reasoning=_count(shape, _object(usage.get("output_tokens_details")), "thinking_tokens"),
    )


def _gemini(usage: Body) -> Amount:
    shape = GEMINI
    thoughts = _count(shape, usage, "thoughtsTokenCount")
    prompt, of_tools = _must(shape, usage, "promptTokenCount"), _count(shape, usage, "toolUsePromptTokenCount")
    into, cached = _modalities(shape, usage, "promptTokensDetails"), _modalities(shape, usage, "cacheTokensDetails")
    of_results = _modalities(shape, usage, "toolUsePromptTokensDetails")
    out = _modalities(shape, usage, "candidatesTokensDetails")
    # Video is charged by its frames at the rate of images, where that differs from words at all.
    pictures = sum(found.get(kind, 0) for found in (into, of_results) for kind in ("IMAGE", "VIDEO"))
    cached_pictures = cached.get("IMAGE", 0) + cached.get("VIDEO", 0)
    return Amount(
        prompt + of_tools,
        _count(shape, usage, "candidatesTokenCount") + thoughts,
        cached=_count(shape, usage, "cachedContentTokenCount"),
        reasoning=thoughts,
        audio_in=into.get("AUDIO", 0) + of_results.get("AUDIO", 0),
        audio_cached=cached.get("AUDIO", 0),
        audio_out=out.get("AUDIO", 0),
        image_in=max(0, pictures - cached_pictures),
        image_out=out.get("IMAGE", 0) + out.get("VIDEO", 0),
    )


def _bedrock(usage: Body) -> Amount:
    shape = BEDROCK_CONVERSE
    _no_fees(shape, _object(usage.get("serverToolUsage")))
    cached, written = _count(shape, usage, "cacheReadInputTokens"), _count(shape, usage, "cacheWriteInputTokens")
    details = usage.get("cacheDetails")
    hour = 0
    for detail in details if isinstance(details, list) else []:
        if _object(detail).get("ttl") == "1h":
            hour += _count(shape, _object(detail), "inputTokens")
    return Amount(
        _must(shape, usage, "inputTokens") + cached + written,
        _must(shape, usage, "outputTokens"),
        cached=cached,
        written=written,
        written_hour=hour,
    )


_READERS: dict[str, tuple[Callable[[Body], Amount], tuple[str, ...]]] = {
    OPENAI_CHAT: (_openai_chat, ("usage",)),
    OPENAI_RESPONSES: (_openai_responses, ("usage",)),
    OPENAI_EMBEDDINGS: (_openai_embeddings, ("usage",)),
    ANTHROPIC_MESSAGES: (_anthropic, ("usage",)),
    GEMINI: (_gemini, ("usageMetadata", "usage_metadata")),
    BEDROCK_CONVERSE: (_bedrock, ("usage",)),
}
SHAPES: Final = tuple(_READERS)
"""The shapes of body that can be read."""


def _modalities(shape: str, usage: Body, name: str) -> dict[str, int]:
    """Tokens by modality of Gemini's lists of details."""
    found: dict[str, int] = {}
    details = usage.get(name)
    for detail in details if isinstance(details, list) else []:
        kind = str(_object(detail).get("modality", ""))
        found[kind] = found.get(kind, 0) + _count(shape, _object(detail), "tokenCount")
    return found


def _no_fees(shape: str, tools: Body) -> None:
    """Searches that the provider made itself are charged by the search, which no rate of tokens covers."""
    if any(isinstance(count, int) and count > 0 for count in tools.values()):
        raise _unreadable(shape, "the provider's own tools were used, which are not charged by token")


def _must(shape: str, usage: Body, name: str) -> int:
    if usage.get(name) is None:
        raise _unreadable(shape, f"{name} is missing")
    return _count(shape, usage, name)


def _count(shape: str, usage: Body, name: str) -> int:
    """A number of tokens; 0 when nothing is said."""
    value = usage.get(name)
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= TOKENS_MAX:
        raise _unreadable(shape, f"{name} is no number of tokens")
    return value


def _object(value: object) -> Body:
    return value if isinstance(value, Mapping) else {}


def _unreadable(shape: str, why: str) -> UsageUnreadable:
    return UsageUnreadable(f"what the {shape} answer says of its usage cannot be read: {why}")
