"""The comparison of what a page shows with what was printed sees what differs."""

import pytest
from tests.docs.shown import Ids, mismatch

RUN = "01a1fe22-49af-79f3-9b93-7834f9292998"
REAL = "01a1ff00-1111-7222-8333-444455556666"


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        (["same"], ["same"]),
        ([f"run {RUN}"], [f"run {REAL}"]),
        (["took 186 ms"], ["took 1.2 s"]),
        (["in 23 h 59 min"], ["in 24 h"]),
        (["at 12:46:28 on 2026-11-21"], ["at 00:00:01 on 2027-01-01"]),
        (["a  wide   table"], ["a wide table"]),
        (["from … to here"], ["from nowhere to here"]),
        (["first", "...", "last"], ["first", "a", "b", "last"]),
        (["..."], []),
        (["first", "..."], ["first", "more"]),
    ],
)
def test_what_fits(shown: list[str], printed: list[str]) -> None:
    assert mismatch(shown, printed, Ids()) is None


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        (["same"], ["other"]),
        (["one"], ["one", "two"]),
        (["one", "two"], ["one"]),
        (["5 calls"], ["6 calls"]),
        (["exit 1"], ["exit 2"]),
        (["$0.0100"], ["$0.0200"]),
        ([f"run {RUN}"], ["run of somebody"]),
        (["first", "...", "last"], ["first", "a", "b"]),
        ([f"{RUN} then {RUN}"], [f"{REAL} then {RUN}"]),
    ],
)
def test_what_does_not(shown: list[str], printed: list[str]) -> None:
    assert mismatch(shown, printed, Ids()) is not None


def test_an_id_stands_for_one_real_id() -> None:
    ids = Ids()
    assert mismatch([f"run {RUN}"], [f"run {REAL}"], ids) is None
    assert ids.in_command(f"penstock runs show {RUN}") == f"penstock runs show {REAL}"
    assert ids.in_command(f"penstock runs show {RUN[:13]}") == f"penstock runs show {REAL[:13]}"
    assert mismatch([f"of {RUN}"], [f"of {REAL}"], ids) is None
    assert mismatch([f"of {RUN}"], [f"of {RUN}"], ids) is not None
