"""Recorded text on a terminal is text."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.cli.text import brief, plural, safe, whole


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("Grüße, 世界 👩‍👩‍👧", "Grüße, 世界 👩‍👩‍👧"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\x00b\x7f", "a\\x00b\\x7f"),
        ("one\ntwo\tthree\r", "one⏎ two three\\x0d"),
        ("\x9b2J", "\\x9b2J"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_what_could_act_is_made_visible(text: str, shown: str) -> None:
    assert safe(text) == shown


@given(st.text(st.characters(codec=None)))
def test_nothing_that_acts_is_left(text: str) -> None:
    allowed = {"\u200c", "\u200d"}
    for lines in (False, True):
        kept = {"\n", "\t"} if lines else set()
        for character in set(safe(text, lines=lines)) - allowed - kept:
            assert unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Zl", "Zp"}


@given(st.text(), st.integers(4, 200))
def test_brief_is_one_line_within_its_width(text: str, width: int) -> None:
    line = brief(text, width)
    assert "\n" not in line
    assert len(line) <= width


def test_values_are_shown_as_json() -> None:
    assert brief({"b": 1, "a": "ä"}, 50) == '{"b": 1, "a": "ä"}'
    assert brief("x" * 100, 10) == "x" * 9 + "…"
    assert whole({"a": "\x1b"}) == '{\n  "a": "\\u001b"\n}'
    assert whole("one\ntwo\x1b") == "one\ntwo\\x1b"


def test_plural() -> None:
    assert (plural(1, "run"), plural(0, "run"), plural(1200, "run")) == ("1 run", "0 runs", "1,200 runs")
