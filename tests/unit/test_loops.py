"""Loops: calls in vain, drawn together as the rule judges them."""

from tests.unit.test_tape import event

from penstock.events import Amount, Event, ModelIntent, ModelOutcome, ToolIntent, ToolOutcome
from penstock.rules.past import PastCall
from penstock.rules.spiral_detector import WINDOW, Detector
from penstock.rules.spirals import DEFAULT
from penstock.views.loops import Loop, Stretches, find_loops, same_groups, worst_circle

Said = tuple[str, str, bool, str]


def events(*said: Said) -> list[Event]:
    """A model call and a tool call for each: name, arguments, whether it succeeded, result.

    The prompt has 100 tokens more, and costs ten times the money, each time.
    """
    made: list[Event] = []
    for number, (name, digest, ok, result) in enumerate(said):
        used = Amount(100 * (number + 1), 0, 10 ** min(number, 9))
        path = str(2 * number)
        made.append(event(ModelIntent, path, model="m", digest="d"))
        made.append(event(ModelOutcome, path, used=used))
        path = str(2 * number + 1)
        made.append(event(ToolIntent, path, tool=name, digest=digest, effect="read"))
        payloads = {"result": [result]} if result else {}
        made.append(event(ToolOutcome, path, status="ok" if ok else "error", payloads=payloads))
    return made


def found(*said: Said) -> list[Loop]:
    stretches = Stretches()
    for one in events(*said):
        stretches.take(one)
    return find_loops(stretches.all(), {str(2 * number + 1): number for number in range(len(said))})


def test_three_equal_calls_with_the_same_result_are_a_loop() -> None:
    [loop] = found(*[("search", "a", True, "r")] * 3)
    assert (loop.name, loop.spans) == ("search", [0, 1, 2])
    assert loop.said.startswith("search ×3 with the same arguments, nothing new came back")
    assert found(*[("search", "a", True, "r")] * 2) == []


def test_something_new_ends_it() -> None:
    again = ("search", "a", True, "r")
    assert found(again, again, ("look", "b", True, "new"), again) == []
    assert found(*[("poll", "a", True, f"r{number}") for number in range(9)]) == [], "polling that brings news"
    loops = found(again, again, again, ("look", "b", True, "new"), again, again)
    assert [loop.spans for loop in loops] == [[0, 1, 2], [2, 4, 5]]


def test_what_is_refused_or_fails_brings_nothing_new() -> None:
    [loop] = found(*[("pay", "a", False, "")] * 3)
    assert loop.spans == [0, 1, 2]
    [loop] = found(*[("find", f"q{number}", False, f"e{number}") for number in range(3)])
    assert loop.said.startswith("find failed or was refused 3 times in a row, nothing new came back")


def test_what_other_questions_told_again() -> None:
    known = ("look", "a", True, "r")
    [loop] = found(known, *[("search", f"q{number}", True, "r") for number in range(3)])
    assert (loop.spans, loop.said[:33]) == ([1, 2, 3], "search ×3 with other arguments, n")
    [loop] = found(known, *[(f"look{number}", f"q{number}", True, "r") for number in range(4)])
    assert (loop.spans, loop.said[:26]) == ([1, 2, 3, 4], "4 calls of several tools, ")


def test_money_and_growth_since_the_last_new_fact() -> None:
    again = ("search", "a", True, "r")
    [loop] = found(("look", "b", True, "new"), again, again, again, again)
    assert loop.spans == [1, 2, 3, 4]
    assert loop.nano == 100 + 1_000 + 10_000
    assert loop.tokens_growth == 2.5
    assert loop.said.endswith("the prompt grew 2.5-fold")


def test_a_loop_longer_than_the_window_is_shown_whole() -> None:
    [loop] = found(*[("search", "a", True, "r")] * (5 * WINDOW))
    assert loop.spans == list(range(5 * WINDOW))


def test_it_goes_by_what_the_rule_goes_by() -> None:
    """Where the rule nudges, the calls that it counted are bracketed, and `why` names them."""
    said = [("search", "a", True, "r")] * (int(DEFAULT.nudge) + 1)
    detector = Detector(
        PastCall(name, digest, ok, result, turn=turn) for turn, (name, digest, ok, result) in enumerate(said)
    )
    assert detector.stretch.score >= DEFAULT.nudge
    [loop] = found(*said)
    assert len(loop.spans) == len(said)
    words = worst_circle(events(*said))
    assert words.startswith("4 calls since the last new fact, 4 with the arguments of an earlier one"), words
    assert worst_circle(events(*said[:3])) == ""


def test_groups_of_equal_calls() -> None:
    one, other = ("tool", "a", "d"), ("tool", "b", "d")
    assert same_groups([one, None, other, one, ("tool", "a", "e"), other]) == [1, 0, 2, 1, 0, 2]
