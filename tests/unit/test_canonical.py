"""The two byte forms of a JSON value, and what neither can carry."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.kernel.canonical import (
    MAX_DEPTH,
    MAX_SAFE_INTEGER,
    canonical_digest,
    canonical_json,
    check_plain,
    check_size,
    digest,
    stable_json,
)
from penstock.kernel.errors import InputInvalid, InputTooLarge

TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=20)
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@given(PLAIN)
def test_both_forms_give_the_value_back(value: Any) -> None:
    check_plain(value)
    assert json.loads(stable_json(value)) == value
    # RFC 8785 knows only doubles: a large one may come out without a point.
    assert json.loads(canonical_json(value), parse_int=float) == value


@given(st.dictionaries(TEXT, PLAIN, max_size=6), st.randoms())
def test_the_order_of_keys_makes_no_difference(value: dict[str, Any], random: Any) -> None:
    items = list(value.items())
    random.shuffle(items)
    shuffled = dict(items)
    assert stable_json(shuffled) == stable_json(value)
    assert canonical_json(shuffled) == canonical_json(value)
    assert digest(shuffled) == digest(value)
    assert canonical_digest(shuffled) == canonical_digest(value)


@pytest.mark.parametrize(
    ("value", "form"),
    [
        # RFC 8785, sections 3.2.2 and 3.2.3, and its appendix B
        (
            {
                "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
                "string": '€$\x0f\nA\'B"\\\\"/',
                "literals": [None, True, False],
            },
            (
                '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
                '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
            ),
        ),
        (
            {"\u20ac": 5, "\r": 1, "\ufb33": 7, "1": 2, "\U0001f600": 6, "\x80": 3, "\xf6": 4},
            '{"\\r":1,"1":2,"\x80":3,"\xf6":4,"\u20ac":5,"\U0001f600":6,"\ufb33":7}',
        ),
        (-0.0, "0"),
        (9007199254740991, "9007199254740991"),
        (1e21, "1e+21"),
        (5e-324, "5e-324"),
    ],
)
def test_the_canonical_form_is_rfc_8785(value: Any, form: str) -> None:
    assert canonical_json(value) == form.encode()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"a": ["x", "b\x00c"]}, r"value\.a\[1\] contains a NUL"),
        ({"\x00": 1}, "value contains a NUL"),
        ("\ud800", "lone surrogate at character 0"),
        ("ok\udfff", "lone surrogate at character 2"),
        (float("nan"), "is nan"),
        ({"a": float("inf")}, r"value\.a is inf"),
        (MAX_SAFE_INTEGER + 1, "beyond 2"),
        (-MAX_SAFE_INTEGER - 1, "beyond 2"),
        ({1: 2}, "the key 1, which is not a string"),
        ({"a": {1, 2}}, "is a set"),
        (b"bytes", "is a bytes"),
        (nested(MAX_DEPTH + 1), "nested deeper"),
    ],
)
def test_what_json_cannot_carry_is_refused_with_its_place(value: Any, words: str) -> None:
    with pytest.raises(InputInvalid, match=words):
        check_plain(value)
    with pytest.raises(InputInvalid, match=words):
        canonical_json(value)


def test_the_deepest_nesting_allowed() -> None:
    check_plain(nested(MAX_DEPTH))


def test_true_and_one_and_one_point_nought_are_told_apart() -> None:
    assert len({digest(value) for value in (True, 1, 1.5, "1", None, [1], {"1": 1})}) == 7


def test_a_size_over_its_bound_names_the_setting() -> None:
    assert check_size(b"abc", 3, "an input", "input_max_bytes") == b"abc"
    with pytest.raises(InputTooLarge, match="PENSTOCK_INPUT_MAX_BYTES"):
        check_size(b"abcd", 3, "an input", "input_max_bytes")
