"""What the detector of spirals reaches on runs that it was not tuned on, held as floors.

``benchmarks/spirals.py`` measures the same on more runs and writes it down.
"""

import pytest
from benchmarks import spiral_cases, spiral_desk, spiral_recorded, spirals
from benchmarks.spiral_cases import HONEST_HELD, HONEST_SEEN, SEEDS_SEEN, SPIRALS_HELD, SPIRALS_SEEN

SEEDS = range(SEEDS_SEEN + 5_000, SEEDS_SEEN + 5_025)
NOT_SEEN_BY_IT = {"with crumbs", "new but useless"}
"""Kinds that it cannot see; that it does not, is told in docs/how-to/spirals.md."""


@pytest.mark.parametrize("kind", SPIRALS_HELD | SPIRALS_SEEN)
def test_spirals_are_found_within_six_calls(kind: str) -> None:
    tally = spirals.made_up({kind: (SPIRALS_HELD | SPIRALS_SEEN)[kind]}, SEEDS)[kind]
    if kind in NOT_SEEN_BY_IT:
        assert tally.nudged == 0, "the page says that this kind is not found"
        return
    assert tally.nudged == tally.limited == tally.stopped == len(SEEDS)
    assert 1 <= min(tally.delays) <= max(tally.delays) <= 6


@pytest.mark.parametrize("kind", HONEST_HELD | HONEST_SEEN)
def test_honest_long_runs_are_left_alone(kind: str) -> None:
    tally = spirals.made_up({kind: (HONEST_HELD | HONEST_SEEN)[kind]}, SEEDS)[kind]
    assert (tally.runs, tally.nudged) == (len(SEEDS), 0)


async def test_tickets_of_the_simulated_desk() -> None:
    tickets = await spiral_desk.cases(23, 60, 0.4)
    circling, honest = [[case for case in tickets if bool(case.begins) is which] for which in (True, False)]
    assert len(circling) >= 15
    assert len(honest) >= 25
    assert spirals.tally(circling).stopped == len(circling)
    assert spirals.tally(honest).nudged == 0


def test_recorded_runs_of_a_real_agent() -> None:
    found = spirals.recorded(odd=True)
    assert sum(map(len, found.values())) == 60
    assert [run for run, at in found["calls"] if at] == [69], "of 13, 69, 71, 73 and 103"
    assert [run for run, at in found["honest"] if at] == [3, 53]
    assert not any(at for _, at in found["unread"])
    cases = {case.seed: case for _, case in spiral_recorded.recorded()}
    assert [run for run, case in cases.items() if spirals.rungs_of(case)[1]] == [38, 69], "made to answer, spirals both"
    assert not any(spirals.rungs_of(case)[2] for case in cases.values()), "none would have been stopped"


def test_recorded_runs_that_it_was_never_tried_on() -> None:
    found = spiral_recorded.by_label()
    rungs = {
        what: {kind: [(case.seed, *spirals.rungs_of(case)) for case in cases] for kind, cases in kinds.items()}
        for what, kinds in found.items()
    }
    airline, coding = rungs["tau-bench airline, tasks 30 to 49"], rungs["SWE-agent"]
    assert airline["calls"] == [(3, 23, 0, 0), (76, 15, 0, 0)]
    assert len(airline["honest"]) == 78
    assert not any(one[1] for one in airline["honest"])
    assert coding["calls"] == [(2, 12, 0, 0)]
    assert len(coding["honest"]) == 13
    nudged = [one for one in coding["honest"] if one[1]]
    assert nudged == [(0, 10, 11, 0), (8, 7, 0, 0)], "two honest runs would have been nudged, one made to answer"


def test_labels_are_of_runs_that_exist_and_say_why() -> None:
    labels = spiral_recorded.labels()
    cases = {case.seed: case for _, case in spiral_recorded.recorded()}
    for run, label in labels.items():
        assert label.kind in ("calls", "words", "honest")
        assert (label.kind == "calls") == (0 < label.begins <= len(cases[run].steps))
        assert len(label.why) > 10
    assert len(labels) == 58


def test_the_interval_of_a_share() -> None:
    """Against the values in E. B. Wilson's form as R. Newcombe tabulates them, Statistics in Medicine 17 (1998)."""
    low, high = spirals.wilson(81, 263)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)
    low, high = spirals.wilson(0, 20)
    assert (round(low, 4), round(high, 4)) == (0.0, 0.1611)
    assert spirals.wilson(0, 0) == (0.0, 1.0)


def test_a_made_up_run_is_the_same_each_time() -> None:
    for kind, maker in (SPIRALS_HELD | HONEST_HELD).items():
        assert list(spiral_cases.make(kind, maker, 7).calls()) == list(spiral_cases.make(kind, maker, 7).calls())
