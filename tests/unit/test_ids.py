"""Identifiers are time-ordered, and derived ones are always the same."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from penstock.kernel.ids import derived_id, first_id_at, id_time_us, new_id


class FixedClock:
    """A clock that stands."""

    def __init__(self, us: int) -> None:
        self.us = us

    def now_us(self) -> int:
        return self.us

    def boot_ns(self) -> int:
        return self.us * 1000

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nobody sleeps here")


TIMES = st.integers(0, (1 << 48) * 1000 - 1)


@given(TIMES)
def test_an_identifier_tells_its_time_to_the_millisecond(us: int) -> None:
    made = new_id(FixedClock(us))
    assert id_time_us(made) == us // 1000 * 1000
    assert (made.version, made.variant) == (7, "specified in RFC 4122")


@given(TIMES, TIMES)
def test_later_ones_sort_after_earlier_ones(one: int, two: int) -> None:
    first, second = new_id(FixedClock(one)), new_id(FixedClock(two))
    if one // 1000 != two // 1000:
        assert (first < second) == (one < two)
        assert (str(first) < str(second)) == (one < two)
    else:
        assert first != second


def test_identifiers_of_one_moment_differ() -> None:
    clock = FixedClock(1_800_000_000_000_000)
    assert len({new_id(clock) for _ in range(10_000)}) == 10_000


@given(TIMES, st.text(max_size=20), st.text(max_size=20))
def test_a_derived_identifier_depends_on_parent_and_path_alone(us: int, one: str, two: str) -> None:
    parent = new_id(FixedClock(us))
    other = new_id(FixedClock(us))
    assert derived_id(parent, one) == derived_id(parent, one)
    assert (derived_id(parent, one) == derived_id(parent, two)) == (one == two)
    assert derived_id(parent, one) != derived_id(other, one)
    assert id_time_us(derived_id(parent, one)) == id_time_us(parent), "a family stays together in an index"


def test_the_form_of_derived_identifiers_does_not_change() -> None:
    """A run resumed in a year must find the children it made: this value may never change."""
    parent = UUID("0190abcd-0000-7000-8000-000000000001")
    assert str(derived_id(parent, "child:3")) == "0190abcd-0000-7851-beb8-40c852d0c7b2"


def test_ids_of_a_stretch_of_time_lie_between_two_first_ones() -> None:
    at = 1_760_000_000_123_000
    made = UUID(int=(at // 1000 << 80) | (7 << 76) | (2 << 62) | 5)
    assert first_id_at(at) <= made < first_id_at(at + 1000)
    assert first_id_at(at + 1) == first_id_at(at + 1000), "rounded up: what was made before is not in"
    assert first_id_at(-5).int == 0
    assert first_id_at(2**62) > made
