"""The critical path: it tiles the whole time, and goes by what was waited for."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from penstock.views.critical_path import (
    NO_SPAN,
    PARTS,
    Stretch,
    Timeline,
    critical_path,
    shares,
    shortened,
)


def tiles(path: list[Stretch], total: int) -> None:
    """Without a gap, an overlap or an empty stretch, from 0 to the total."""
    assert [stretch for stretch in path if stretch.duration <= 0] == []
    assert all(one.start + one.duration == other.start for one, other in pairwise(path))
    if total:
        assert path[0].start == 0
        assert path[-1].start + path[-1].duration == total
    else:
        assert path == []


@st.composite
def timelines(draw: st.DrawFn) -> Timeline:
    """Any spans whatever, also such as no run makes: overlapping in a branch, ending after the end, in empty groups."""
    total = draw(st.integers(0, 1_000))
    count = draw(st.integers(0, 12))
    moment = st.integers(0, 1_100)
    line = Timeline(total, [], [], [], [], [], {}, [])
    for index in range(count):
        parent = draw(st.integers(-1, index - 1))
        begun, over = sorted((draw(moment), draw(moment)))
        line.parent.append(parent)  # type: ignore[attr-defined]
        line.branch.append((parent + 2) * 4 + draw(st.integers(0, 2)))  # type: ignore[attr-defined]
        line.start.append(begun)  # type: ignore[attr-defined]
        line.end.append(over)  # type: ignore[attr-defined]
        line.part.append(draw(st.sampled_from(("", *PARTS[1:]))))  # type: ignore[attr-defined]
        if draw(st.booleans()):
            at = sorted(draw(st.lists(st.integers(begun, max(begun, over)), max_size=3)))
            cuts = [(moment, draw(st.sampled_from(PARTS))) for moment in at]
            if cuts:
                line.cuts[index] = cuts  # type: ignore[index]
    edges = sorted(draw(st.sets(st.integers(0, 1_000), max_size=6)))
    line.idle = list(zip(edges[::2], edges[1::2], strict=False))
    return line


@given(timelines())
def test_the_parts_come_to_the_whole(line: Timeline) -> None:
    path = critical_path(line)
    tiles(path, line.total)
    assert {stretch.part for stretch in path} <= set(PARTS)
    if line.total:
        assert abs(sum(shares(path, line.total).values()) - 1) < 1e-9


@given(timelines(), st.integers(2, 8))
def test_shortened_it_comes_to_the_same_whole(line: Timeline, most: int) -> None:
    path = critical_path(line)
    short = shortened(path, most)
    tiles(short, line.total)
    assert len(short) <= max(most, 2) + 1
    if len(path) > most:
        longest = max(path, key=lambda stretch: stretch.duration)
        assert longest in short


def path_of(total: int, *spans: tuple[int, int, int, int, str], **fields: object) -> list[tuple[int, str, int, int]]:
    """The path through spans given as parent, branch, start, end, part."""
    columns = list(zip(*spans, strict=True)) if spans else [()] * 5
    line = Timeline(total, *columns, **fields)  # type: ignore[arg-type]
    path = critical_path(line)
    tiles(path, total)
    return [(stretch.span, stretch.part, stretch.start, stretch.duration) for stretch in path]


def test_calls_one_after_the_other_and_the_engine_between() -> None:
    assert path_of(100, (-1, 0, 10, 40, "model"), (-1, 0, 45, 95, "tool"), idle=[(0, 8)]) == [
        (NO_SPAN, "queue", 0, 8),
        (NO_SPAN, "engine", 8, 2),
        (0, "model", 10, 30),
        (NO_SPAN, "engine", 40, 5),
        (1, "tool", 45, 50),
        (NO_SPAN, "engine", 95, 5),
    ]


def test_of_branches_the_longest_chain_counts() -> None:
    """Branch 1 ends last: its two calls are the path, though one of branch 0 overlaps and ends between them."""
    assert path_of(
        100,
        (-1, 0, 0, 90, ""),
        (0, 1, 0, 33, "tool"),
        (0, 2, 0, 30, "tool"),
        (0, 2, 35, 90, "model"),
        (-1, 0, 90, 100, "model"),
    ) == [
        (2, "tool", 0, 30),
        (NO_SPAN, "engine", 30, 5),
        (3, "model", 35, 55),
        (4, "model", 90, 10),
    ]


def test_a_branch_that_had_to_wait_for_a_place_goes_on_from_what_made_it() -> None:
    """Two at a time: the third branch began when the first had ended."""
    assert path_of(
        90,
        (-1, 0, 0, 90, ""),
        (0, 1, 0, 40, "tool"),
        (0, 2, 0, 60, "tool"),
        (0, 3, 40, 90, "tool"),
    ) == [(1, "tool", 0, 40), (3, "tool", 40, 50)]


def test_one_call_may_count_as_several_things() -> None:
    cuts = {0: [(10, "approval"), (70, "engine"), (71, "tool")]}
    assert path_of(100, (-1, 0, 10, 90, "tool"), cuts=cuts, idle=[(12, 70)]) == [
        (NO_SPAN, "engine", 0, 10),
        (0, "approval", 10, 60),
        (0, "engine", 70, 1),
        (0, "tool", 71, 19),
        (NO_SPAN, "engine", 90, 10),
    ]


def test_what_has_not_ended_ends_now() -> None:
    assert path_of(50, (-1, 0, 20, 50, "wait")) == [(NO_SPAN, "engine", 0, 20), (0, "wait", 20, 30)]
    assert path_of(0) == []
