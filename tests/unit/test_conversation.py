"""A conversation: append-only, stored once, counted once, shortened by whole exchanges."""

from collections.abc import Sequence

import pytest

from penstock.events import Amount
from penstock.events.messages import Message, Text, ToolCall, ToolResult, decode_message, say
from penstock.gates.model.conversation import Conversation
from penstock.ports.model import ToolSpec
from penstock.testing import ScriptedModel

model = ScriptedModel(["-"])
TOOLS = [ToolSpec("look", "Looks.", {"type": "object"})]


class Store:
    """What a run's log does with payloads."""

    def __init__(self) -> None:
        self.stored: list[bytes] = []

    def payload(self, data: bytes) -> str:
        self.stored.append(data)
        return f"ref-{hash(data)}"


def exchange(number: int) -> list[Message]:
    """An answer that calls a tool, and the result."""
    call = ToolCall(f"c{number}", "look", "{}")
    return [Message("assistant", [call]), Message("tool", [ToolResult(call.id, "look", f"result {number}")])]


def long(count: int) -> Conversation:
    talk = Conversation([say("system", "Be brief."), say("user", "Well?")])
    for number in range(count):
        talk.add(*exchange(number))
    return talk


def test_each_message_is_stored_once() -> None:
    talk, store = long(2), Store()
    talk.commit(store)  # type: ignore[arg-type]
    talk.add(say("user", "More."))
    talk.commit(store)  # type: ignore[arg-type]
    talk.commit(store)  # type: ignore[arg-type]
    assert [decode_message(data) for data in store.stored] == talk.messages
    assert len(talk.refs) == len(talk.messages)


def test_the_digest_tells_conversations_and_what_is_asked_of_them_apart() -> None:
    def digest(talk: Conversation, extra: bytes = b"x") -> str:
        talk.commit(Store())  # type: ignore[arg-type]
        return talk.digest(extra)

    one = digest(long(2))
    assert digest(long(2)) == one
    assert digest(long(2), b"y") != one
    assert digest(long(3)) != one
    other = long(2)
    other.messages[1] = say("user", "Well!")
    assert digest(other) != one
    grown = long(1)
    grown.commit(Store())  # type: ignore[arg-type]
    grown.add(*exchange(1))
    assert digest(grown) == one, "it does not matter when what was committed"


def test_an_answer_whose_payload_is_known_is_not_stored_again() -> None:
    talk, store = long(0), Store()
    talk.commit(store)  # type: ignore[arg-type]
    answer = say("assistant", "So.")
    talk.add_known(answer, "ref-of-the-answer")
    talk.commit(store)  # type: ignore[arg-type]
    assert len(store.stored) == 2
    assert talk.refs[-1] == "ref-of-the-answer"
    late = long(0)
    late.add_known(answer, "ref-of-the-answer")
    late.commit(store)  # type: ignore[arg-type]
    assert len(store.stored) == 5, "what comes before it is not committed yet, so all are, in order"


def test_what_the_provider_has_counted_is_not_bounded_by_bytes_again() -> None:
    talk = long(3)
    by_bytes = talk.bound(model, TOOLS)
    assert by_bytes == model.prompt_bound(talk.messages, TOOLS)
    answer = say("assistant", "So.")
    talk.learn(Amount(20, 7), answer)
    assert talk.bound(model, TOOLS) == by_bytes, "the answer is not in it yet"
    talk.add(answer)
    assert 27 <= talk.bound(model, TOOLS) < by_bytes
    bound = talk.bound(model, TOOLS)
    more = [say("user", "And now something longer, which nobody has counted yet.")]
    talk.add(*more)
    assert talk.bound(model, TOOLS) == bound + model.prompt_bound(more, ())


def test_the_opening_is_all_before_the_first_answer() -> None:
    assert [message.role for message in long(2).head()] == ["system", "user"]
    assert len(long(0).head()) == 2


@pytest.mark.parametrize("room", range(0, 260, 7))
def test_a_shortened_conversation_fits_and_keeps_whole_exchanges(room: int) -> None:
    talk, last = long(6), say("note", "Answer now.")
    short = talk.shortened(model, TOOLS, room, last)
    least = model.prompt_bound([*talk.head(), last], TOOLS)
    if room < least:
        assert short is None
        return
    assert short is not None
    assert model.prompt_bound(short, TOOLS) <= room
    assert short[:2] == talk.head()
    assert short[-1] is last
    kept: Sequence[Message] = short[2:-1]
    assert list(kept) == talk.messages[len(talk.messages) - len(kept) :], "the latest ones"
    assert len(kept) % 2 == 0
    calls = {part.id for message in kept for part in message.parts if isinstance(part, ToolCall)}
    results = {part.id for message in kept for part in message.parts if isinstance(part, ToolResult)}
    assert calls == results, "every call has its result"
    assert len(talk.messages) == 14, "the conversation itself stays as it is"


def test_shortening_takes_as_much_as_fits() -> None:
    talk, last = long(6), Message("note", [Text("Answer now.")])
    assert talk.shortened(model, (), 10_000, last) == [*talk.messages, last]
