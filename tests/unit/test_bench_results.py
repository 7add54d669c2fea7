"""The benchmark's stored figures: merging, marking, rendering; and that the page shows what is stored."""

import dataclasses
import json
import subprocess
from pathlib import Path

import pytest
from benchmarks import results
from benchmarks.figures import Figure
from benchmarks.groups import GROUPS, HERE, Group, chosen
from benchmarks.results import MARKS, Measured, between_marks, commit_of, merged, read, rendered, write

NAMES = ("first", "second", "third")


def measured(value: float, *, commit: str = "aaaaaaa", group: str = "Speed") -> Measured:
    return Measured(
        measured="2026-01-02",
        commit=commit,
        seconds=3.0,
        machine="a machine",
        conditions="PostgreSQL 18",
        load=0.1,
        figures=[Figure(group, "quick", value, "runs/s", "10", "as it is")],
    )


def heading(page: str, name: str) -> str:
    """What stands between a heading and its table."""
    return page.partition(f"### {name}\n")[2].partition("| what |")[0].strip()


def test_a_group_measured_again_replaces_its_figures_and_leaves_the_others() -> None:
    stored = {"first": measured(1), "second": measured(2)}
    kept = merged(stored, {"second": measured(5)}, NAMES)
    assert [one.figures[0].value for one in kept.values()] == [1, 5]


def test_groups_are_in_the_list_s_order_and_one_that_is_no_more_goes() -> None:
    kept = merged({"third": measured(3), "gone": measured(9)}, {"first": measured(1)}, NAMES)
    assert list(kept) == ["first", "third"]


def test_only_what_differs_is_marked() -> None:
    groups = {
        "first": measured(1, group="A"),
        "second": measured(2, group="B", commit="bbbbbbb+"),
        "third": measured(3, group="C"),
    }
    page = rendered(groups, NAMES)
    assert page.startswith("Measured on 2026-01-02 at commit aaaaaaa: a machine; PostgreSQL 18.")
    assert heading(page, "A") == heading(page, "C") == ""
    assert heading(page, "B") == "*measured on 2026-01-02 at commit bbbbbbb with changes*"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"machine": "another machine"}, "on another machine"),
        ({"load": 3.21}, "the machine was busy (load 3.2 before the start)"),
        ({"commit": ""}, "measured on 2026-01-02 at a commit that was not noted"),
        ({"load": None}, ""),
    ],
)
def test_circumstances_that_differ_are_said(change: dict[str, str], words: str) -> None:
    odd = dataclasses.replace(measured(2, group="B"), **change)  # type: ignore[arg-type]  # one field each
    page = rendered({"first": measured(1, group="A"), "second": odd, "third": measured(3, group="C")}, NAMES)
    assert heading(page, "B") == (f"*{words}*" if words else "")


def test_every_heading_of_a_group_has_its_mark() -> None:
    two = measured(1, group="B", commit="bbbbbbb")
    two.figures.append(Figure("C", "quick", 1, "runs/s"))
    page = rendered({"first": measured(1), "second": two, "third": measured(1)}, NAMES)
    assert heading(page, "B") == heading(page, "C") != ""


def test_what_was_never_measured_is_named() -> None:
    assert rendered({"second": measured(1)}, NAMES).endswith("Not measured yet: `first`, `third`.")
    assert rendered({}, NAMES) == "Not measured yet: `first`, `second`, `third`."
    assert "Not measured" not in rendered(dict.fromkeys(NAMES, measured(1)), NAMES)


def test_what_is_written_is_read_again_and_words_around_the_marks_stay(tmp_path: Path) -> None:
    page = tmp_path / "RESULTS.md"
    page.write_text(f"before\n{MARKS[0]}\nold\n{MARKS[1]}\nafter\n", encoding="utf-8")
    groups = {"first": measured(1.25), "second": dataclasses.replace(measured(2), load=None, seconds=None)}
    for _ in range(2):
        write(tmp_path, groups, NAMES)
        assert read(tmp_path / "results.json") == groups
        text = page.read_text(encoding="utf-8")
        assert text == f"before\n{MARKS[0]}\n\n{rendered(groups, NAMES)}\n\n{MARKS[1]}\nafter\n"


@pytest.mark.parametrize("page", ["", f"only {MARKS[0]}", f"only {MARKS[1]}", f"{MARKS[1]} turned {MARKS[0]}"])
def test_a_page_without_marks_is_left_alone(page: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lacks the mark"):
        between_marks(page, "figures")
    (tmp_path / "RESULTS.md").write_text(page, encoding="utf-8")
    with pytest.raises(ValueError, match="lacks the mark"):
        write(tmp_path, {"first": measured(1)}, NAMES)
    assert not (tmp_path / "results.json").exists()


def test_nothing_is_stored_where_nothing_was_measured(tmp_path: Path) -> None:
    assert read(tmp_path / "results.json") == {}


def test_a_commit_is_marked_when_the_code_was_changed(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        who = ("-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True)

    assert commit_of(tmp_path) == ""
    git("init")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "code.py").write_text("1")
    git("add", ".")
    git("commit", "-m", "one")
    (tmp_path / "notes").write_text("that nobody measures")
    head = commit_of(tmp_path)
    assert len(head) == 7
    (tmp_path / "src" / "code.py").write_text("2")
    assert commit_of(tmp_path) == f"{head}+"


def test_a_named_group_brings_what_it_needs() -> None:
    groups = (Group("a"), Group("b", needs=("a",)), Group("c", needs=("b",)), Group("d", scale=True))
    assert [one.name for one in chosen(["c"], scale=False, groups=groups)] == ["a", "b", "c"]
    assert [one.name for one in chosen([], scale=False, groups=groups)] == ["a", "b", "c"]
    assert [one.name for one in chosen([], scale=True, groups=groups)] == ["d"]
    assert [one.name for one in chosen(["d", "a"], scale=False, groups=groups)] == ["a", "d"]


def test_each_group_is_a_module_that_says_what_it_measures() -> None:
    names = [group.name for group in GROUPS]
    assert len(set(names)) == len(names)
    for place, group in enumerate(GROUPS):
        assert group.words(), group.name
        assert "async def measure(bench: Bench) -> list[Figure]:" in (HERE / f"{group.name}.py").read_text()
        assert set(group.needs) <= set(names[:place]), f"{group.name} comes before what it needs"


def test_the_page_shows_what_is_stored() -> None:
    page = (HERE / "RESULTS.md").read_text(encoding="utf-8")
    names = [group.name for group in GROUPS]
    groups = read(HERE / "results.json")
    assert groups
    assert between_marks(page, rendered(groups, names)) == page, "the figures were edited by hand"
    assert set(groups) <= set(names)
    text = (HERE / "results.json").read_text(encoding="utf-8")
    assert list(json.loads(text)["groups"]) == [name for name in names if name in groups]


def test_a_cell_cannot_break_the_table() -> None:
    for group in results.read(HERE / "results.json").values():
        for figure in group.figures:
            assert not {"|", "\n"} & set("".join((figure.name, figure.unit, figure.aim, figure.note)))
