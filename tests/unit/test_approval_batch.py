"""Bounds on arguments, as people write them for a batch: what they match, and what is none."""

from typing import Any

import pytest

from penstock.kernel.errors import AnswerInvalid
from penstock.runs.approving.batch import parse_bound


@pytest.mark.parametrize(
    ("text", "args", "holds"),
    [
        ("cents<=500", {"cents": 500}, True),
        ("cents<=500", {"cents": 501}, False),
        ("cents < 500", {"cents": 499.5}, True),
        ("cents>=1", {"cents": 0}, False),
        ("cents<=500", {}, False),
        ("cents<=500", {"cents": "5"}, False),
        ("cents<=500", {"cents": True}, False),
        ("cents<=500", {"cents": None}, False),
        ("cents<=500", {"cents": float("nan")}, False),
        ("cents=500", {"cents": 500.0}, True),
        ("done=true", {"done": True}, True),
        ("done=true", {"done": 1}, False),
        ("country=NO", {"country": "NO"}, True),
        ("country=NO", {"country": "no"}, False),
        ('country="5"', {"country": "5"}, True),
        ("country=5", {"country": "5"}, False),
        ("to.country=NO", {"to": {"country": "NO"}}, True),
        ("to.country=NO", {"to": "NO"}, False),
        ("cents<=500", [500], False),
    ],
)
def test_what_a_bound_matches(text: str, args: Any, holds: bool) -> None:
    assert parse_bound(text).holds(args) is holds


@pytest.mark.parametrize("text", ["", "cents", "<=5", "cents!=5", "cents<=many", "cents<=NaN", "a..b=1", "1a=1"])
def test_what_is_no_bound(text: str) -> None:
    with pytest.raises(AnswerInvalid):
        parse_bound(text)
