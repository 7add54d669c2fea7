"""The last figures of every group: ``results.json`` keeps them, ``RESULTS.md`` shows them.

A call of the benchmark replaces the groups it measured and leaves the others, so each group carries its own date,
commit and machine, and what is shown says where they differ.
"""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, sections

MARKS = ("<!-- figures: written by make bench -->", "<!-- end of figures -->")
BUSY_LOAD = 0.5
"""Run queue of the minute before, from which other work took part: see README.md."""


@dataclass(slots=True, frozen=True)
class Measured:
    """One group as it was last measured.

    Attributes:
        measured: the day, as YYYY-MM-DD in UTC.
        commit: of the checkout, with "+" when its code was changed; "" when it is not known.
        seconds: that it took; None when it is not known.
        machine: what tells one machine from another.
        conditions: what else was there: versions, the disk.
        load: run queue of the machine in the minute before the call; None when it is not known.
    """

    measured: str
    commit: str
    seconds: float | None
    machine: str
    conditions: str
    load: float | None
    figures: list[Figure]


def read(path: Path) -> dict[str, Measured]:
    """The stored groups by name; none when there is no such file."""
    if not path.exists():
        return {}
    plain: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return {
        name: Measured(**{**group, "figures": [Figure(**figure) for figure in group["figures"]]})
        for name, group in plain["groups"].items()
    }


def merged(stored: Mapping[str, Measured], new: Mapping[str, Measured], names: Sequence[str]) -> dict[str, Measured]:
    """The new groups over the stored ones, in the order of ``names``; what is not among them is gone."""
    return {name: group for name in names if (group := new.get(name, stored.get(name))) is not None}


def rendered(groups: Mapping[str, Measured], names: Sequence[str]) -> str:
    """All groups as Markdown, in the order of ``names``; what differs from most of them says so."""
    shown = [groups[name] for name in names if name in groups]
    missing = [f"`{name}`" for name in names if name not in groups]
    parts = []
    # The one that most agree with, so that as few as may be need a mark.
    commits = [one.commit for one in shown]
    usual = max(shown, key=lambda one: (commits.count(one.commit), one.measured), default=None)
    if usual is not None:
        parts.append(
            f"Measured on {usual.measured} at {_commit(usual)}: {usual.machine}; {usual.conditions}. "
            "A group that was measured at another commit, elsewhere, or beside other work says so."
        )
        for one in shown:
            mark = _mark(one, usual)
            for heading, lines in sections(one.figures):
                parts.append("\n\n".join([heading, *([mark] if mark else []), lines]))
    if missing:
        parts.append(f"Not measured yet: {', '.join(missing)}.")
    return "\n\n".join(parts)


def write(folder: Path, groups: Mapping[str, Measured], names: Sequence[str]) -> None:
    """Put the groups into ``results.json``, and between the marks of ``RESULTS.md``; what people wrote there stays.

    Raises:
        ValueError: RESULTS.md lacks a mark.
    """
    page = folder / "RESULTS.md"
    text = between_marks(page.read_text(encoding="utf-8"), rendered(groups, names))
    plain = {"groups": {name: asdict(group) for name, group in groups.items()}}
    (folder / "results.json").write_text(json.dumps(plain, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    page.write_text(text, encoding="utf-8")


def between_marks(page: str, figures: str) -> str:
    """The page with other figures.

    Raises:
        ValueError: it lacks a mark.
    """
    begin, end = MARKS
    before, opened, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not opened or not closed:
        raise ValueError(f"RESULTS.md lacks the mark {end if opened else begin}")
    return f"{before}{begin}\n\n{figures}\n\n{end}{after}"


def commit_of(root: Path) -> str:
    """The checkout's commit, with "+" when what is measured differs from it; "" outside a checkout."""
    try:
        head = _git(root, "rev-parse", "--short=7", "HEAD")
        changed = _git(root, "status", "--porcelain", "--", "src", "benchmarks/*.py", "pyproject.toml", "requirements")
    except (OSError, subprocess.CalledProcessError):
        return ""
    return head + ("+" if changed else "")


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "--no-optional-locks", *arguments], cwd=root, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def _commit(one: Measured) -> str:
    if not one.commit:
        return "a commit that was not noted"
    return f"commit {one.commit.removesuffix('+')}{' with changes' if one.commit.endswith('+') else ''}"


def _mark(one: Measured, usual: Measured) -> str:
    """What of its circumstances differs from the others'; "" when nothing does."""
    words = []
    if one.commit != usual.commit:
        words.append(f"measured on {one.measured} at {_commit(one)}")
    if one.machine != usual.machine:
        words.append(f"on {one.machine}")
    if one.load is not None and one.load > BUSY_LOAD:
        words.append(f"the machine was busy (load {one.load:.1f} before the start)")
    return f"*{'; '.join(words)}*" if words else ""
