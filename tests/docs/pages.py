"""The pages of the documentation as their examples: fenced blocks in order, with what their first line says of them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GENERATED = ROOT / "docs" / "reference"
PAGES = sorted(
    [ROOT / "README.md", *(path for path in (ROOT / "docs").rglob("*.md") if path.parent != GENERATED)],
)

_FENCE = re.compile(r"^( *)```(\S*) *(.*)$")


@dataclass(slots=True, frozen=True)
class Block:
    """One fenced block. ``about`` holds the ``name=value`` words after its language."""

    page: Path
    line: int  # of its first line of text, from 1
    language: str
    text: str
    about: dict[str, str] = field(default_factory=dict)

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    """The page's blocks in order."""
    return list(_blocks(page, page.read_text(encoding="utf-8").splitlines()))


def _blocks(page: Path, lines: list[str]) -> Iterator[Block]:
    numbered = iter(enumerate(lines, 1))
    for number, line in numbered:
        opening = _FENCE.match(line)
        if opening is None:
            continue
        indent, language, words = opening.groups()
        text = []
        for _, inner in numbered:
            if inner.strip() == "```":
                break
            text.append(inner.removeprefix(indent))
        else:
            raise ValueError(f"{page}:{number}: the block is not closed")
        about = dict(word.split("=", 1) for word in words.split())
        yield Block(page, number + 1, language, "\n".join(text) + "\n", about)


def commands_of(block: Block) -> Iterator[tuple[str, list[str]]]:
    """The commands of a block, each with the lines that are shown below it."""
    command: str | None = None
    shown: list[str] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            if command is not None:
                yield command, shown
            command, shown = line.removeprefix("$ "), []
        elif line.startswith("> ") and command is not None and command.endswith("\\"):
            command += "\n" + line.removeprefix("> ")
        else:
            assert command is not None, f"{block.place}: begin with a command"
            shown.append(line)
    if command is not None:
        yield command, shown
