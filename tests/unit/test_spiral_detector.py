"""The detector of spirals: what brings something new, what is in vain, and how that adds up."""

import json
from typing import Any

import pytest

from penstock.kernel.canonical import digest
from penstock.rules.past import PastCall
from penstock.rules.sketch import facts_of, shape_of, words_of
from penstock.rules.spiral_detector import (
    EXTRA,
    FIRST_PAUSE_US,
    LONG_PAUSE_US,
    TURN_MOST,
    WINDOW,
    WINDOW_MOST,
    Detector,
    Reading,
)

KEY = b"key"
LONG_TEXT = "we have looked at your order and found that it left our house on monday"


def call(name: str, args: Any, result: Any = None, **more: Any) -> PastCall:
    """A call as the gates sketch it; ``result`` None = it failed."""
    data = b"" if result is None else json.dumps(result).encode()
    return PastCall(
        name,
        digest(args),
        result is not None,
        result=digest(result) if data else "",
        shape=shape_of(args, KEY),
        facts=facts_of(data, KEY),
        **more,
    )


def fed(*calls: PastCall) -> Detector:
    for turn, one in enumerate(calls, 1):
        one.turn = one.turn or turn
        one.path = one.path or str(turn)
    return Detector(calls)


def score(*calls: PastCall) -> float:
    return fed(*calls).stretch.score


RECORD = {"id": 7, "name": "Ann", "city": "Bonn", "open": True, "sum": 120}
LOOK = call("look", {"id": 7}, RECORD)


def test_the_same_call_with_the_same_result_is_in_vain() -> None:
    detector = fed(*[call("look", {"id": 7}, RECORD) for _ in range(4)])
    assert detector.stretch.reading() == Reading(
        3.0, 3, (("same", 3),), (), frozenset({"look"}), ("2", "3", "4"), 1.0, 0
    )


@pytest.mark.parametrize(
    ("last", "in_vain"),
    [
        (call("look", {"id": 8}, {**RECORD, "id": 8, "name": "Bo"}), False),
        (call("look", {"id": 7}, {**RECORD, "sum": 121}), False),  # any new fact will do for the same question
        (call("look", {"id": 7}, {**RECORD, "request_id": "x", "fetched_at": "2026-01-01"}), True),
        (call("look", {"id": 7}, json.dumps(RECORD)), True),  # the same as text
        (call("read", {"field": "city"}, {"city": "Bonn"}), True),
        (call("read", {"field": "street"}, {"city": "Bonn", "street": "Am Hof"}), False),
        (call("look", {"id": 9}, {**RECORD, "sum": 121}), True),  # one fact of five, to another question
        (call("look", {"id": 9}), True),
        (call("look", {"id": 9}, write=True, refused=True), True),
        (call("note", {"id": 7, "text": "seen"}, "ok", write=True), False),
    ],
)
def test_what_brings_something_new(last: PastCall, in_vain: bool) -> None:
    assert score(call("look", {"id": 7}, RECORD), last) == float(in_vain)


def test_a_write_is_new_until_it_is_made_again_or_reworded() -> None:
    first = call("send", {"to": "a", "text": LONG_TEXT}, "ok", write=True)
    others = [
        ({"to": "b", "text": LONG_TEXT}, 0.0),
        ({"to": "a", "text": LONG_TEXT.replace("monday", "tuesday")}, 1.0),
        ({"to": "a", "text": LONG_TEXT + " 3 parcels"}, 0.0),  # another number is another message
        ({"to": "a", "text": "your refund is on its way and should be with you within five days"}, 0.0),
        ({"to": "a", "text": LONG_TEXT}, 1.0),
    ]
    for args, expected in others:
        assert score(first, call("send", args, "ok", write=True)) == expected, args


def test_a_larger_result_that_adds_little_is_in_vain() -> None:
    rows = [{"id": n, "sum": 31 * n, "name": f"n{n}"} for n in range(40)]
    calls = [call("rows", {"limit": n}, rows[:n]) for n in range(20, 26)]
    assert score(*calls) == 5.0
    assert score(call("rows", {"limit": 20}, rows[:20]), call("rows", {"limit": 40}, rows)) == 0.0


def test_news_begin_the_score_anew_and_end_the_stretch() -> None:
    detector = fed(*[call("look", {"id": 7}, RECORD) for _ in range(4)])
    ended = detector.take(call("look", {"id": 1}, {"other": "thing"}, turn=9))
    assert ended is not None
    assert len(ended.calls) == 3
    assert detector.stretch.score == 0
    assert detector.take(call("look", {"id": 1}, {"other": "thing"}, turn=10)) is None


def test_calls_at_once_count_as_one_turn() -> None:
    calls = [call("look", {"id": 7}, RECORD, turn=1) for _ in range(9)]
    assert score(*calls) == TURN_MOST
    assert len(fed(*calls).stretch.calls) == 8


def test_what_speaks_for_a_spiral_besides() -> None:
    one, other = {"id": 1}, {"id": 2}
    turns = [call("look", one, {"a": 1}), call("look", other, {"b": 2})]
    turns += [call("look", args, result) for _ in range(2) for args, result in ((one, {"a": 1}), (other, {"b": 2}))]
    assert fed(*turns).stretch.reading().extras == ("two calls in turn",)
    said = [call("look", {"id": 7}, RECORD, said=words_of(f"Try {n}  AGAIN", KEY)) for n in range(3)]
    assert fed(*said).stretch.reading().extras == ("the model said the same words again",)
    grown = [call("look", {"id": 7}, RECORD, prompt=100 * n, nano=n) for n in range(2, 5)]
    reading = fed(*grown).stretch.reading()
    assert (reading.extras, reading.growth, reading.nano) == (("the prompt grew by half",), 2.0, 2)
    assert reading.score == 2 + EXTRA


def status(at: float, busy: float = 0.0, **more: Any) -> PastCall:
    return call("status", {"job": 1}, {"state": "running"}, at=round(at * 1e6), busy=round(busy * 1e6), **more)


def test_pauses_that_grow_or_are_long_are_patience() -> None:
    assert score(*[status(1 + at) for at in (0, 3, 7, 13, 22, 40)]) == 0
    assert score(*[status(1 + at) for at in range(0, 6 * 30, 30)]) == 0
    assert score(*[status(1 + at) for at in range(0, 6 * 10, 10)]) == 4, "the first pause alone shows patience"
    assert score(*[status(1 + at, at) for at in (0, 3, 7, 13, 22, 40)]) == 5, "what the model takes is no pause"
    refused = [call("status", {}, refused=True, at=1 + round(at * 1e6)) for at in (0, 3, 7, 13, 22)]
    assert score(*refused) == 5
    assert (FIRST_PAUSE_US, LONG_PAUSE_US) == (2_000_000, 30_000_000)


def test_what_its_author_calls_repeatable_may_be_asked_again_in_the_same_words_alone() -> None:
    assert score(*[call("poll", {}, {"state": "running"}, repeatable=True) for _ in range(9)]) == 0
    assert score(*[call("think", {"of": n}, "", repeatable=True) for n in range(9)]) == 8


def test_a_message_calms_until_a_call_comes_back_as_before() -> None:
    def refused(words: str, **more: Any) -> PastCall:
        return call("book", {"n": words}, failure=words, **more)

    before = [refused("full"), refused("full"), refused("closed")]
    detector = fed(*before)
    detector.hear()
    assert detector.stretch.score == 0
    assert score(*before, refused("full", heard=True)) == 4
    assert score(*before, refused("late", heard=True)) == 1
    assert score(*before, call("look", {"id": 7}, RECORD, heard=True)) == 0
    assert score(*before, call("look", {"id": 7}, RECORD, heard=True), refused("full")) == 1


def test_it_holds_a_window_and_goes_on_alike_from_it() -> None:
    """A holder that takes over from a snapshot knows the window alone, and comes to the same score."""
    detector = Detector()
    for number in range(1, 7 * WINDOW):
        result = RECORD if number % 61 else {"news": f"{number}", "of": f"{number / 7}"}
        detector.take(call("look", {"id": number % 5}, result, turn=number, path=str(number)))
        assert len(detector.past) <= 2 * WINDOW
        if number % 7 == 0:
            again = Detector(list(detector.past))
            assert again.stretch.score == detector.stretch.score
            assert [one.call.path for one in again.stretch.calls] == [one.call.path for one in detector.stretch.calls]


@pytest.mark.parametrize("wide", [3, 20, 60, 110])
def test_answers_that_ask_for_many_calls_at_once_are_looked_back_upon_too(wide: int) -> None:
    detector = Detector()
    for turn in range(1, 60):
        for page in range(wide):
            detector.take(call("look", {"page": page}, {"page": page, "of": "a book"}, turn=turn))
        assert len(detector.past) <= 2 * WINDOW_MOST + WINDOW
        assert turn < 7 or detector.stretch.score >= 9
        again = Detector(list(detector.past))
        assert again.stretch.score == detector.stretch.score


def test_a_damaged_sketch_is_no_sketch() -> None:
    damaged = [PastCall("look", str(n), True, f"r{n}", shape="?", facts="AAA", turn=n) for n in range(3)]
    assert Detector(damaged).stretch.score == 0


def test_without_a_key_nothing_is_sketched() -> None:
    assert (shape_of({"a": 1}, b""), facts_of(b"1", b""), words_of("x", b"")) == ("", "", "")
    assert shape_of({"a": 1, "b": 2}, b"k") != shape_of({"a": 1, "b": 2}, b"l")


@pytest.mark.parametrize("data", [b"", b"{", b'"' + b"x" * 300_000 + b'"', b"\xff"])
def test_a_result_that_cannot_be_read_is_compared_by_its_commitment_alone(data: bytes) -> None:
    assert facts_of(data, KEY) == ""


def test_prose_is_compared_by_sentences_whatever_the_time_it_was_said() -> None:
    one = facts_of(b'"As of 2026-01-01T10:00:00Z all is well here. Nothing else is known about this matter."', KEY)
    other = facts_of(b'"As of 2026-01-01T11:30:00Z all is well here. Nothing else is known about this matter."', KEY)
    assert one == other != ""
