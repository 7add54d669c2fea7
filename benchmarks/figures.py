"""One measured number with its unit and its conditions, and how it is printed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(slots=True, frozen=True)
class Figure:
    """``group`` is a heading of the results; ``aim`` is what the project wants it to be, when it has said so."""

    group: str
    name: str
    value: float
    unit: str
    aim: str = ""
    note: str = ""


def quantile(samples: Sequence[float], share: float) -> float:
    """The sample below which that share of them lies (nearest rank); ``samples`` must not be empty."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def shown(value: float) -> str:
    """Three significant digits, thousands parted; whole numbers from 100 on."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    digits = 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:.{digits}f}"


def sections(figures: Iterable[Figure]) -> list[tuple[str, str]]:
    """Heading and Markdown table of each group, in the order they were measured."""
    groups: dict[str, list[Figure]] = {}
    for figure in figures:
        groups.setdefault(figure.group, []).append(figure)
    found = []
    for group, members in groups.items():
        lines = ["| what | figure | aim | how |", "| --- | ---: | --- | --- |"]
        lines += [f"| {item.name} | {shown(item.value)} {item.unit} | {item.aim} | {item.note} |" for item in members]
        found.append((f"### {group}", "\n".join(lines)))
    return found


def table(figures: Iterable[Figure]) -> str:
    """The figures as Markdown, one table for each group."""
    return "\n\n".join(f"{heading}\n\n{lines}" for heading, lines in sections(figures))


def others_took(cores: float) -> str:
    """How much of the machine was not there for what was measured: from a quarter of a core on, measure again."""
    return f"other work took {cores:.2f} cores"
