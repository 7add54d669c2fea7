"""What passes the gateway, whatever pieces it comes in: the same as the whole, and no card of the data set."""

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from penstock.integrations.gateway.again import AGAIN
from penstock.integrations.gateway.again.collector import Collector
from penstock.integrations.gateway.filtering import Wire
from penstock.integrations.gateway.filtering.memory import Memory
from penstock.integrations.gateway.filtering.texts import Sifting, request
from penstock.integrations.gateway.shapes import CHAT, MESSAGES, RESPONSES, Shape
from penstock.ports.classifiers import Finding
from penstock.rules.filters.filters import Filters, Place, leaving
from penstock.rules.filters.sift import Sifted, sift_value

ANSWERS = leaving({"all": "redact"}).places["output"]
IDLE = leaving({}).places["output"]
REQUESTS = Filters(input={"all": "redact"}).places["input"]
SHAPES: list[Shape] = [CHAT, RESPONSES, MESSAGES]
VALUES = {f"tok_email_{letter * 16}": f'"{letter}\\\n"@acme.example' for letter in "abcd"}


def card_texts() -> list[tuple[str, str]]:
    """Texts with a card number in them, and the number."""
    import gzip

    found = []
    data = Path(__file__).parent.parent / "data" / "presidio_research" / "synth_dataset_v2.jsonl.gz"
    with gzip.open(data, "rt", encoding="utf-8") as rows:
        for row in map(json.loads, rows):
            spans = [(start, end) for kind, start, end in row["spans"] if kind == "CREDIT_CARD"]
            found += [(row["text"], row["text"][start:end]) for start, end in spans]
    return found


CARDS = card_texts()


def cut(text: str) -> list[str]:
    """In two pieces."""
    return [text[:9], text[9:]]


def answer(shape: Shape, text: str, arguments: str) -> dict[str, Any]:
    """A whole answer that says the text and makes a call."""
    if shape is CHAT:
        call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": arguments}}
        said = {"role": "assistant", "content": text, "tool_calls": [call]}
        choice = {"index": 0, "message": said, "finish_reason": "tool_calls"}
        usage = {"prompt_tokens": 4111111, "completion_tokens": 2, "total_tokens": 3}
        return {"id": "c", "object": "chat.completion", "model": "m", "choices": [choice], "usage": usage}
    if shape is RESPONSES:
        part = {"type": "output_text", "text": text, "annotations": []}
        item = {"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": [part]}
        call = {"type": "function_call", "id": "f", "call_id": "c", "name": "f", "arguments": arguments}
        thought = {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": text}]}
        output = [thought, item, {**call, "status": "completed"}]
        return {"id": "r", "object": "response", "status": "completed", "output": output, "usage": {"input_tokens": 4}}
    blocks = [
        {"type": "text", "text": text},
        {"type": "tool_use", "id": "t", "name": "f", "input": json.loads(arguments)},
    ]
    head = {"id": "m", "type": "message", "role": "assistant", "model": "m", "stop_sequence": None}
    return {**head, "content": blocks, "stop_reason": "tool_use", "usage": {"input_tokens": 4, "output_tokens": 2}}


def in_pieces(shape: Shape, whole: dict[str, Any], chance: random.Random) -> Iterator[dict[str, Any]]:
    """The answer's events, with its texts in pieces of any size."""
    number = 0
    for event in AGAIN[shape.name].split(whole, usage=True):
        for piece in _pieces(event, chance):
            yield {**piece, "sequence_number": number} if "sequence_number" in event else piece
            number += 1


def _pieces(event: dict[str, Any], chance: random.Random) -> Iterator[dict[str, Any]]:
    """An event as several, when it adds to a text."""
    text = _added(event)
    if len(text) < 2:
        yield event
        return
    held, at = json.dumps(event), 0
    while at < len(text):
        size = chance.choice((1, 1, 2, 3, 5, 20, 200))
        yield json.loads(held.replace(json.dumps(text), json.dumps(text[at : at + size])))
        at += size


def _added(event: dict[str, Any]) -> str:
    if isinstance(event.get("delta"), str):
        return str(event["delta"])
    delta = event.get("delta") or (event.get("choices") or [{}])[0].get("delta") or {}
    calls = delta.get("tool_calls") or [{"function": {"arguments": ""}}]
    found = [delta.get(name) for name in ("content", "text", "thinking", "partial_json")]
    return next((text for text in (*found, calls[0]["function"]["arguments"]) if text), "")


def through(wire: Wire, shape: Shape, events: Iterator[dict[str, Any]], collector: Collector) -> list[dict[str, Any]]:
    """What the client gets of a stream."""
    told = b"".join(
        wire.take(b"passed", data, collector)
        for data in [*(msgspec.json.encode(event) for event in events), *([b"[DONE]"] if shape is CHAT else [])]
    )
    return [json.loads(data) for data in re.findall(rb"^data: (\{.*)$", told, re.MULTILINE)]


def words_of(shape: Shape, events: list[dict[str, Any]], place: int = 0) -> str:
    """What the pieces of the answer's text come to."""
    if shape is CHAT:
        return "".join(one["choices"][0]["delta"].get("content") or "" for one in events if one["choices"])
    if shape is MESSAGES:
        return "".join(one["delta"].get("text", "") for one in events if "delta" in one)
    return "".join(
        one["delta"] for one in events if str(one["type"]).endswith("text.delta") and one["output_index"] == place
    )


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
@pytest.mark.parametrize("seed", range(10))
def test_a_stream_comes_to_the_same_as_the_whole_and_no_card_goes_through(shape: Shape, seed: int) -> None:
    chance = random.Random(seed)
    for text, card in chance.sample(CARDS, 8):
        other, number = chance.choice(CARDS)
        digits = re.sub(r"\D", "", number)
        as_number = int(digits) if digits[0] != "0" else digits  # which a number would lose
        arguments = json.dumps({"note": other, "card": [as_number], "more": {"n": 7}}, separators=(",", ":"))
        whole = answer(shape, text, arguments)
        said = json.dumps(whole)
        released = json.loads(Wire(shape, ANSWERS, {}).released(said.encode()) or b"")
        collector = Collector()
        wire = Wire(shape, ANSWERS, {})
        events = through(wire, shape, in_pieces(shape, whole, chance), collector)
        assert not wire.blocked
        assert comparable(AGAIN[shape.name].join(events)) == comparable(released)
        assert collector.events is not None
        assert comparable(AGAIN[shape.name].join([json.loads(data) for data in collector.events])) == comparable(
            released
        )
        for passed in (json.dumps(released), json.dumps(events), words_of(shape, events)):
            assert card not in passed
            assert number not in passed
            assert digits not in passed
        assert released.get("usage") == whole.get("usage")
        if shape is CHAT:
            ends = [bool(event["choices"] and event["choices"][0]["finish_reason"]) for event in events]
            assert ends == [False] * (len(events) - 2) + [True, False], "nothing is said after the end"
        if shape is RESPONSES:
            assert words_of(shape, events, 0) == released["output"][0]["summary"][0]["text"]
            assert words_of(shape, events, 1) == released["output"][1]["content"][0]["text"]
            assert [event["sequence_number"] for event in events] == list(range(len(events)))


def comparable(whole: Any) -> Any:
    """Arguments by what they say."""
    if isinstance(whole, dict):
        return {name: json.loads(value) if name == "arguments" else comparable(value) for name, value in whole.items()}
    return [comparable(value) for value in whole] if isinstance(whole, list) else whole


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
@pytest.mark.parametrize("seed", range(10))
def test_values_take_the_place_of_their_tokens_wherever_those_are_cut(shape: Shape, seed: int) -> None:
    chance = random.Random(seed)
    strange = ["tok_email_" + "e" * 16, "tok", "to", "tok_", "tok_email_" + "a" * 15, "x", " ", "t"]
    parts = [chance.choice([*VALUES, *strange]) for _ in range(40)]
    text = " ".join(parts)
    expected = " ".join(VALUES.get(part, part) for part in parts)
    whole = answer(shape, text, json.dumps({"to": text}))
    wire = Wire(shape, IDLE, VALUES)
    events = through(wire, shape, in_pieces(shape, whole, chance), Collector())
    restored = json.loads(wire.told(json.dumps(whole).encode()))
    assert words_of(shape, events, 1) == expected
    assert comparable(AGAIN[shape.name].join(events)) == comparable(restored)
    assert json.dumps(expected)[1:-1] in json.dumps(restored)


@pytest.mark.parametrize("seed", range(10))
def test_no_card_goes_through_a_request_or_an_input_whatever_it_is_in(seed: int) -> None:
    chance = random.Random(seed)
    for text, card in chance.sample(CARDS, 30):
        value: Any = text
        for _ in range(chance.randint(0, 4)):
            value = chance.choice(([value, 7], {"content": value, "type": "text"}, {"parts": [{"text": value}]}))
        body = {"model": "m", "messages": [{"role": "user", "content": value}], "system": text, "n": 1}
        sifting = Sifting(REQUESTS)
        assert card not in json.dumps(request(body, sifting))
        assert sifting.sifted.counts["card", "redact"] >= 2
        assert card not in json.dumps(sift_value(REQUESTS, value, None, Sifted()))


@pytest.mark.parametrize("piece", cut("4111 1111 1111 1111"))
def test_pieces_of_what_is_not_known_are_left_out_where_answers_are_filtered(piece: str) -> None:
    unknown: list[tuple[Shape, dict[str, Any]]] = [
        (CHAT, {"choices": [{"index": 0, "delta": {"x_thought": piece}, "finish_reason": None}]}),
        (RESPONSES, {"type": "response.x_thought.delta", "delta": piece, "sequence_number": 1}),
        (MESSAGES, {"type": "content_block_delta", "index": 0, "delta": {"type": "x_delta", "x_thought": piece}}),
    ]
    for shape, event in unknown:
        data = msgspec.json.encode(event)
        assert piece.encode() not in Wire(shape, ANSWERS, {}).take(b"passed", data, None)
        assert piece.encode() in Wire(shape, IDLE, VALUES).take(b"passed", data, None)


def test_what_was_filtered_before_is_known_again_within_its_bound() -> None:
    looked: list[str] = []

    def looks(text: str) -> list[Finding]:
        looked.append(text)
        at = text.find("@")
        return [Finding(at - 3, at + 4, "email", 1.0)] if at > 0 else []

    place = Place({"email": "tokenise"}, [looks], 0.5)
    memory, texts = Memory(12_000), [f"number {number:03} to ada@acm{'.' * 60}" for number in range(6)]

    def ask(key: bytes, count: int) -> Sifting:
        sifting = Sifting(place, key, memory)
        messages = [{"role": "user", "content": text} for text in texts[:count]]
        passed = request({"messages": messages}, sifting)["messages"]
        assert [message["content"][14:24] for message in passed] == ["tok_email_"] * count
        return sifting

    first = ask(b"k" * 32, 5)
    again = ask(b"k" * 32, 6)
    assert looked == texts
    assert again.sifted.counts == {("email", "tokenise"): 6}
    assert first.sifted.tokens.items() <= again.sifted.tokens.items()
    assert not ask(b"o" * 32, 6).sifted.tokens.keys() & again.sifted.tokens.keys(), "another customer's"
    for number in range(100):
        request({"system": f"filler {number} " + "." * 3000 + "a@b"}, Sifting(place, b"k" * 32, memory))
    looked.clear()
    ask(b"k" * 32, 6)
    assert looked == texts, "forgotten"
    assert memory._size <= 12_000
