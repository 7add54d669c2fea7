"""The prompts of a run's calls: one that grows from call to call is stored, and bounded, from where it grew."""

from dataclasses import dataclass

from penstock.gates.model.conversation import Conversation

KEPT = 8
"""Conversations of one run that go on side by side and are known again."""


@dataclass(slots=True, frozen=True)
class Prompt:
    """What was sent. ``size``: bytes of the whole request; ``tokens``: its input as the provider counted it, 0 = it did
    not say."""

    path: str
    refs: list[str]
    frame: str  # digest of all that is no message
    size: int
    tokens: int


class Prompts:
    """The latest prompts of one run."""

    def __init__(self) -> None:
        self._kept: list[Prompt] = []

    def continue_from(self, conversation: Conversation, frame: str) -> tuple[int, int] | None:
        """Find the prompt that has the longest beginning in common with the conversation, whose messages are committed:
        they need not be named again. When the provider has counted all of a prompt that this one begins with: its
        tokens, and the bytes of that request."""
        counted: Prompt | None = None
        for prompt in self._kept:
            common = shared(prompt.refs, conversation.refs)
            if common > conversation.sent_count:
                conversation.sent_path, conversation.sent_count = prompt.path, common
            whole = common == len(prompt.refs) and prompt.tokens and prompt.frame == frame
            if whole and (counted is None or prompt.size > counted.size):
                counted = prompt
        return None if counted is None else (counted.tokens, counted.size)

    def add(self, prompt: Prompt) -> None:
        """One more; it takes the place of those that it goes on from."""
        self._kept = [known for known in self._kept if shared(known.refs, prompt.refs) < len(known.refs)]
        self._kept = [*self._kept[-(KEPT - 1) :], prompt]


def shared(some: list[str], others: list[str]) -> int:
    """How many references two lists have in common at their beginnings."""
    if others[: len(some)] == some:
        return len(some)
    for index, (one, other) in enumerate(zip(some, others, strict=False)):
        if one != other:
            return index
    return min(len(some), len(others))
