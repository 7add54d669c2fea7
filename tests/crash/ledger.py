"""The world outside as a folder of files: what no crash of a worker, a database or a network can take back.

A line is one ``write`` to a file opened with O_APPEND and flushed with fsync, so it is there whole or not at all; a key
is taken by a hard link, of which the file system makes one or none. Each run has a file of its own.
"""

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

from penstock.ports.tools import ToolContext

Kind = Literal["call", "effect"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: a tool was entered (``call``), or the world changed (``effect``)."""

    kind: Kind
    tool: str
    run: UUID
    path: str
    attempt: int
    epoch: int
    process: int


class Ledger:
    """One process's hold on the world."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("runs", "keys", "models", "inside"):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def call(self, tool: str, tag: str, context: ToolContext) -> None:
        """Note that a tool was entered."""
        self._note("call", tool, tag, context)

    def effect(self, tool: str, tag: str, context: ToolContext) -> None:
        """Change the world, by a receiver that knows no keys."""
        self._note("effect", tool, tag, context)

    def effect_once(self, tool: str, context: ToolContext) -> bool:
        """Change the world, by a receiver that knows its keys; whether this was the first time."""
        mine = self.folder / "keys" / f".{os.getpid()}"
        mine.touch()
        with contextlib.suppress(FileExistsError):
            (self.folder / "keys" / f"{tool}:{context.key}").hardlink_to(mine)
            return True
        return False

    def keys(self) -> set[str]:
        """``tool:key`` of all effects of receivers that know keys."""
        return {path.name for path in (self.folder / "keys").iterdir() if not path.name.startswith(".")}

    def happened(self, tool: str, tag: str) -> int:
        """How often a run's tool had its effect."""
        return sum(entry.tool == tool and entry.kind == "effect" for entry in self.of(tag))

    def knows(self, tool: str, tag: str, run: UUID, path: str) -> bool:
        """Whether a call had its effect, by either kind of receiver."""
        return self.happened(tool, tag) > 0 or (self.folder / "keys" / f"{tool}:{run.hex}-{path}").exists()

    def of(self, tag: str) -> Iterator[Entry]:
        """What a run did, in order."""
        for fields in _lines(self.folder / "runs" / tag):
            yield Entry(fields[0], fields[1], UUID(fields[2]), *fields[3:])

    def model_call(self, tag: str, nano: int) -> None:
        """Note what a model call cost, in nano-dollars."""
        _append(self.folder / "models" / tag, [nano])

    def model_nano(self, tag: str) -> int:
        """What a run's model calls cost."""
        return sum(fields[0] for fields in _lines(self.folder / "models" / tag))

    @contextlib.contextmanager
    def unkeyed(self, name: str) -> Iterator[None]:
        """The block is a receiver that knows neither keys nor fences: nobody may stop this process in it for long."""
        mark = self.folder / "inside" / f"{os.getpid()}-{name}"
        mark.touch()
        try:
            yield
        finally:
            mark.unlink()

    def is_inside(self, process: int) -> bool:
        """Whether a process is in such a block."""
        return any((self.folder / "inside").glob(f"{process}-*"))

    def _note(self, kind: Kind, tool: str, tag: str, context: ToolContext) -> None:
        where = [str(context.run), context.path, context.attempt, context.fence]
        _append(self.folder / "runs" / tag, [kind, tool, *where, os.getpid()])


def _append(path: Path, fields: list[object]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        os.write(descriptor, json.dumps(fields).encode() + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _lines(path: Path) -> Iterator[list[Any]]:
    with contextlib.suppress(FileNotFoundError):
        for line in path.read_text().splitlines():
            yield json.loads(line)
