"""Answers that are given a second time: a streamed one whole, a whole one as a stream, each format in a file.

An answer is kept whole. It is kept only if the stream that would be made of it says exactly the same, which is tried
before (`can_be_given_again`): whatever these modules do not know is thereby not kept, rather than lost.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from penstock.integrations.gateway.again import chat, messages, responses
from penstock.integrations.gateway.shapes.base import Body

__all__ = ["AGAIN", "Again", "can_be_given_again"]

_BROKEN = (ValueError, TypeError, AttributeError, KeyError, IndexError)


@dataclass(slots=True, frozen=True)
class Again:
    """What one format's answers are turned into.

    Attributes:
        join: the whole answer that the events of a stream (their data, decoded) come to; ValueError: there is something
            in them that no whole answer is known to have.
        split: the events of a stream that says what a whole answer does; ``usage``: also what was used, in formats
            where the client has to ask for that.
        render: these events as bytes.
    """

    join: Callable[[Sequence[Body]], Body]
    split: Callable[..., list[Body]]
    render: Callable[[Sequence[Body]], bytes]


AGAIN: dict[str, Again] = {
    "openai.chat": Again(chat.join, chat.split, chat.render),
    "openai.responses": Again(responses.join, responses.split, responses.render),
    "anthropic.messages": Again(messages.join, messages.split, messages.render),
}
"""By the shape's name. Embeddings are never streamed."""


def can_be_given_again(again: Again, whole: Any) -> bool:
    """Whether nothing of a whole answer is lost when it is given as a stream."""
    try:
        return bool(again.join(again.split(whole, usage=True)) == whole)
    except _BROKEN:
        return False
