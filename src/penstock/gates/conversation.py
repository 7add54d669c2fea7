"""A conversation as the model gate sees it: append-only, each message stored and counted once."""

import hashlib
from collections.abc import Iterable, Sequence

from penstock.events import Amount
from penstock.events.messages import Message, encode_message
from penstock.journal.log import RunLog
from penstock.ports.model import Model, ToolSpec

_ANSWER_FRAME = Message("assistant", [])
"""What surrounds an answer when it is sent back; its own tokens were counted when it came."""


class Conversation:
    """Messages in order, with their commitments, a running digest, and a bound on their tokens."""

    def __init__(self, messages: Iterable[Message] = ()) -> None:
        self.messages: list[Message] = list(messages)
        self.refs: list[str] = []
        self.level = 0  # the highest budget note that was added
        self.sent_path = ""  # the last call that sent this conversation
        self.sent_count = 0
        self._digest = hashlib.sha256()
        self._counted: tuple[int, Message, int] | None = None

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

    def digest(self, extra: bytes) -> str:
        """Of all committed messages and ``extra``; 32 hex digits."""
        whole = self._digest.copy()
        whole.update(extra)
        return whole.hexdigest()[:32]

    def learn(self, used: Amount, answer: Message) -> None:
        """The provider counted all messages so far, and its ``answer``, which is about to be added."""
        self._counted = (len(self.messages), answer, used.tokens_in + used.tokens_out)

    def bound(self, model: Model, tools: Sequence[ToolSpec]) -> int:
        """Input tokens the conversation cannot exceed: the provider's own count for what it has seen, and the model's
        bound (UTF-8 bytes) for what is new."""
        if self._counted is not None:
            count, answer, tokens = self._counted
            if len(self.messages) > count and self.messages[count] is answer:
                return tokens + model.prompt_bound([_ANSWER_FRAME, *self.messages[count + 1 :]], ())
        return model.prompt_bound(self.messages, tools)

    def head(self) -> list[Message]:
        """The opening: everything before the first answer."""
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
