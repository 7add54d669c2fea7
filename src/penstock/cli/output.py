"""What commands print: one JSON document, or text for people."""

import dataclasses
import json
import shutil
import sys
from base64 import b64encode
from collections.abc import Sequence
from enum import Enum
from typing import Any

import msgspec

from penstock.cli.standard_output import silence
from penstock.cli.text import safe
from penstock.kernel.errors import PenstockError

PLAIN_WIDTH = 200
"""Columns of a drawing that does not go to a terminal."""


def print_json(value: Any) -> None:
    """Write one JSON document, on one line, to standard output. Escapes everything beyond ASCII."""
    _write(json.dumps(plain(value)) + "\n")


def say(text: str) -> None:
    """Write lines for people to standard output; text from records must be made `safe` before."""
    _write(text + "\n")


def _write(text: str) -> None:
    """Write to standard output at once.

    Raises:
        PenstockError: it is a file on a full disk, or the like.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        silence()
        raise PenstockError(
            f"standard output cannot be written: {error.strerror}",
            hint="what was asked for may have been done: look before you ask again",
        ) from error


def note(text: str) -> None:
    """Write a line about what is going on to standard error."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def plain(value: Any) -> Any:
    """The JSON value of events, rows and views: all fields, also those that have their defaults."""
    if isinstance(value, msgspec.Struct):
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return b64encode(value).decode()
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def width() -> int:
    """Columns there are."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else PLAIN_WIDTH


def columns(head: Sequence[str], rows: Sequence[Sequence[str]], drop: Sequence[str] = ()) -> str:
    """A table without lines. Where the terminal is too narrow the columns named in ``drop`` go, in that order."""
    from rich.cells import cell_len

    shown = list(range(len(head)))
    table = [list(head), *([safe(cell) for cell in row] for row in rows)]
    widths = [max(cell_len(row[index]) for row in table) for index in range(len(head))]
    for name in drop:
        if sum(widths[index] + 2 for index in shown) - 2 <= width():
            break
        shown.remove(head.index(name))
    lines = []
    for row in table:
        cells = [row[index] + " " * (widths[index] - cell_len(row[index])) for index in shown]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
