"""A conversation as the model gate sees it: append-only, each message stored and counted once."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Self

import msgspec

from penstock.events import Amount
from penstock.events.messages import Message, Thinking, encode_message
from penstock.journal.log import RunLog
from penstock.ports.model import Model, ToolSpec

_ANSWER_FRAME = Message("assistant", [])
"""What surrounds an answer when it is sent back; its own tokens were counted when it came."""


class Conversation:
    """Messages in order, with their commitments, a running digest, and a bound on their tokens."""

    def __init__(self, messages: Iterable[Message] = (), opening: int | None = None) -> None:
        """``opening``: how many of the messages come before this run's first answer; None = those before any answer."""
        self.messages: list[Message] = list(messages)
        self._opening = opening
        self.refs: list[str] = []
        self.level = 0  # the highest budget note that was added
        self.sent_path = ""  # the last call that sent this conversation
        self.sent_count = 0
        self._digest = hashlib.sha256()
        self.latest_model = ""  # whose answer was the last
        self._authors: dict[str, list[int]] = {}  # the places of the messages that each model wrote
        self._counted: tuple[int, Message, int, str] | None = None

    def add(self, *messages: Message) -> None:
        """Append. History is never rewritten."""
        self.messages.extend(messages)

    def add_known(self, message: Message, ref: str) -> None:
        """Append one whose payload is stored already, when everything before it is."""
        self.messages.append(message)
        if ref and len(self.refs) == len(self.messages) - 1:
            self.refs.append(ref)
            self._digest.update(ref.encode())

    def commit(self, log: RunLog) -> None:
        """Give the new messages to the payload store and take them into the digest."""
        for message in self.messages[len(self.refs) :]:
            ref = log.payload(encode_message(message))
            self.refs.append(ref)
            self._digest.update(ref.encode())

    def take_back_note(self, level: int) -> None:
        """The note that was added last belonged to a call that was not made; ``level``: of the one before it. It was
        sent to nobody, and is on no tape."""
        if self.level == level:
            return
        self.level = level
        self.messages.pop()
        del self.refs[len(self.messages) :]
        self._digest = hashlib.sha256("".join(self.refs).encode())

    def digest(self, extra: bytes) -> str:
        """Of all committed messages and ``extra``; 32 hex digits."""
        whole = self._digest.copy()
        whole.update(extra)
        return whole.hexdigest()[:32]

    def answered_by(self, model: Model) -> None:
        """The answer that is about to be added is this model's."""
        self.latest_model = model.name
        self._authors.setdefault(model.name, []).append(len(self.messages))

    def as_sent_to(self, model: Model, messages: Sequence[Message]) -> Sequence[Message]:
        """The messages without what another model's provider wants back: signatures, ids, and reasoning, which no
        other provider takes. What is stored stays as it is."""
        if self._authors.keys() <= {model.name}:
            return messages
        foreign = {
            id(self.messages[place])
            for author, places in self._authors.items()
            if author != model.name
            for place in places
            if place < len(self.messages)
        }
        return [_without_particulars(message) if id(message) in foreign else message for message in messages]

    def learn(self, used: Amount, answer: Message) -> None:
        """The provider of the latest model counted all messages so far, and its ``answer``, which is about to be
        added."""
        self._counted = (len(self.messages), answer, used.tokens_in + used.tokens_out, self.latest_model)

    def bound(self, model: Model, tools: Sequence[ToolSpec]) -> int:
        """Input tokens the conversation cannot exceed: the provider's own count for what it has seen, and the model's
        bound (UTF-8 bytes) for what is new."""
        if self._counted is not None:
            count, answer, tokens, counted_by = self._counted
            by_same = counted_by in ("", model.name)
            if by_same and len(self.messages) > count and self.messages[count] is answer:
                return tokens + model.prompt_bound([_ANSWER_FRAME, *self.messages[count + 1 :]], ())
        return model.prompt_bound(self.messages, tools)

    def authors(self) -> dict[str, list[int]]:
        """The places of the messages that each model wrote."""
        return {author: list(places) for author, places in self._authors.items()}

    def counted(self) -> tuple[int, int, str] | None:
        """The provider's count that `bound` builds upon: messages, tokens, model; None when none holds."""
        if self._counted is None:
            return None
        count, answer, tokens, counted_by = self._counted
        return (count, tokens, counted_by) if len(self.messages) > count and self.messages[count] is answer else None

    @classmethod
    def restored(
        cls,
        messages: Iterable[Message],
        refs: Sequence[str],
        *,
        level: int,
        sent: tuple[str, int],
        latest_model: str,
        authors: Mapping[str, Sequence[int]],
        counted: tuple[int, int, str] | None,
    ) -> Self:
        """One as it was when all was committed; ``authors`` and ``counted`` as those methods gave them."""
        conversation = cls(messages)
        conversation.refs = list(refs)
        conversation._digest.update("".join(refs).encode())
        conversation.level = level
        conversation.sent_path, conversation.sent_count = sent
        conversation.latest_model = latest_model
        conversation._authors = {author: list(places) for author, places in authors.items()}
        if counted is not None:
            count, tokens, counted_by = counted
            conversation._counted = (count, conversation.messages[count], tokens, counted_by)
        return conversation

    def head(self) -> list[Message]:
        """The opening: everything before the first answer."""
        if self._authors:
            return self.messages[: min(places[0] for places in self._authors.values())]
        if self._opening is not None:
            return self.messages[: self._opening]
        for index, message in enumerate(self.messages):
            if message.role == "assistant":
                return self.messages[:index]
        return list(self.messages)

    def shortened(self, model: Model, tools: Sequence[ToolSpec], room: int, last: Message) -> list[Message] | None:
        """The opening, as many of the latest whole exchanges as fit into ``room`` tokens, and ``last``.

        An exchange is an answer with the results of its tool calls. None when not even the opening fits. The
        conversation itself stays as it is.
        """
        head = self.head()
        left = room - model.prompt_bound([*head, last], tools)
        if left < 0:
            return None
        exchanges: list[list[Message]] = []
        for message in self.messages[len(head) :]:
            if message.role == "assistant":
                exchanges.append([])
            exchanges[-1].append(message)
        kept: list[Message] = []
        for exchange in reversed(exchanges):
            left -= model.prompt_bound(exchange, ())
            if left < 0:
                break
            kept = exchange + kept
        return [*head, *kept, last]


def _without_particulars(message: Message) -> Message:
    """An answer in the neutral form alone."""
    parts = [msgspec.structs.replace(part, bag={}) for part in message.parts if not isinstance(part, Thinking)]
    return msgspec.structs.replace(message, parts=parts, cache={})
