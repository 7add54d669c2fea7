"""Loops: the same call again and again without anything new coming back."""

from penstock.rules.progress import NUDGE_AFTER, level
from penstock.rules.verdict import PastCall as Remembered
from penstock.views.loops import Loop, PastCall, Spending, find_loops, same_groups

NOTHING = Spending([], [], [])


def calls(*said: tuple[str, str, bool, str]) -> list[PastCall]:
    """Calls by name, arguments, whether they succeeded, and result; each at the seq of ten times its index."""
    return [PastCall(index, 10 * index + 10, *one) for index, one in enumerate(said)]


def found(*said: tuple[str, str, bool, str], spending: Spending = NOTHING) -> list[Loop]:
    return find_loops(calls(*said), spending)


def test_three_equal_calls_with_the_same_result_are_a_loop() -> None:
    [loop] = found(*[("search", "a", True, "r")] * 3)
    assert (loop.name, loop.spans) == ("search", [0, 1, 2])
    assert loop.said == "search ×3 with the same arguments, nothing new came back"
    assert found(*[("search", "a", True, "r")] * 2) == []


def test_something_new_ends_it() -> None:
    again = ("search", "a", True, "r")
    assert found(again, again, ("look", "b", True, "new"), again) == []
    assert found(*[("poll", "a", True, f"r{number}") for number in range(9)]) == [], "polling that brings news"
    loops = found(again, again, again, ("look", "b", True, "new"), again, again)
    assert [loop.spans for loop in loops] == [[0, 1, 2], [0, 4, 5]]


def test_what_is_refused_or_fails_brings_nothing_new() -> None:
    [loop] = found(("pay", "a", False, ""), ("pay", "a", False, ""), ("pay", "a", False, ""))
    assert loop.spans == [0, 1, 2]
    [loop] = found(*[("find", f"q{number}", False, f"e{number}") for number in range(3)])
    assert loop.said == "find failed or was refused 3 times in a row, nothing new came back"


def test_money_and_growth_since_the_last_new_fact() -> None:
    spending = Spending([5, 15, 25, 35, 45], [100, 200, 300, 400, 500], [1, 10, 100, 1_000, 10_000])
    again = ("search", "a", True, "r")
    [loop] = found(again, again, again, again, spending=spending)
    assert loop.nano == 10 + 100 + 1_000
    assert loop.tokens_growth == 4.0
    assert loop.said.endswith("the prompt grew 4.0-fold")


def test_it_goes_by_what_the_rule_goes_by() -> None:
    """Where `rules.progress` nudges, the calls that it counted are bracketed."""
    said = [("search", "a", True, "r")] * (NUDGE_AFTER + 1)
    remembered = [Remembered(name, digest, ok, result) for name, digest, ok, result in said]
    assert level(remembered) == 70
    [loop] = found(*said)
    assert len(loop.spans) == NUDGE_AFTER + 1


def test_groups_of_equal_calls() -> None:
    one, other = ("tool", "a", "d"), ("tool", "b", "d")
    assert same_groups([one, None, other, one, ("tool", "a", "e"), other]) == [1, 0, 2, 1, 0, 2]
