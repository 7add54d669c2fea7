"""The tickets: real questions of bank customers, from the package or from a file of the user's."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from penstock.adapters.simulated import banking77
from penstock.kernel.errors import InputInvalid, UsageError
from penstock.kernel.randomness import seeded

TEXT_MAX_CHARS = 20_000
FILE_MAX_BYTES = 64 * 1024 * 1024
_COLUMNS = ("text", "category")
_HINT = 'write a CSV file in UTF-8 whose first line is "text,category" or "text"; quote texts that contain commas'


@dataclass(frozen=True, slots=True)
class Ticket:
    """One customer's question; ``category`` is its label, empty when there is none."""

    number: int
    text: str
    category: str = ""


def packaged_tickets(count: int, seed: int) -> list[Ticket]:
    """``count`` tickets of the package's own, drawn by ``seed`` without repetition.

    Raises:
        UsageError: fewer than one, or more than there are.
    """
    pool = banking77("tickets")
    if not 1 <= count <= len(pool):
        raise UsageError(
            f"{count} tickets were asked for; the package has {len(pool)}",
            hint=f"ask for 1 to {len(pool)}, or bring your own with --tickets-file",
        )
    drawn = seeded("demo-tickets", seed).sample(pool, count)
    return [Ticket(number, question.text, question.category) for number, question in enumerate(drawn)]


def read_tickets(path: Path, count: int | None = None) -> list[Ticket]:
    """The tickets of a CSV file, in its order; the first ``count`` when given. Rows after those are checked as well.

    Raises:
        InputInvalid: the file cannot be read, has other columns, a bad row or no rows; the message names the line.
    """
    if count is not None and count < 1:
        raise UsageError(f"{count} tickets were asked for", hint="ask for at least one")
    rows = csv.reader(io.StringIO(_read_text(path), newline=""), strict=True)
    tickets: list[Ticket] = []
    line = 1
    try:
        columns = _columns(path, next(rows, None))
        line = rows.line_num + 1
        for row in rows:
            if row:
                tickets.append(_ticket(path, line, len(tickets), columns, row))
            line = rows.line_num + 1
    except csv.Error as error:
        raise _invalid(path, line, f"this is not CSV: {error}") from error
    if not tickets:
        raise _invalid(path, line, "there are no tickets")
    return tickets[:count]


def _read_text(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > FILE_MAX_BYTES:
            raise InputInvalid(
                f"{path} has {size:,} bytes; the bound is {FILE_MAX_BYTES:,}", hint="split the file into smaller ones"
            )
        data = path.read_bytes()
    except OSError as error:
        raise InputInvalid(f"{path} cannot be read: {error.strerror or error}", hint="check the path") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _invalid(path, line, f"byte {data[error.start]:#04x} is not UTF-8") from error


def _columns(path: Path, header: list[str] | None) -> dict[str, int]:
    if header is None:
        raise _invalid(path, 1, "the file is empty")
    names = [name.strip() for name in header]
    for name in names:
        if name not in _COLUMNS:
            raise _invalid(path, 1, f"there is a column {name[:40]!r}; the columns are text and, if known, category")
    if len(set(names)) < len(names):
        raise _invalid(path, 1, "a column stands there twice")
    if "text" not in names:
        raise _invalid(path, 1, "there is no column named text")
    return {name: index for index, name in enumerate(names)}


def _ticket(path: Path, line: int, number: int, columns: dict[str, int], row: list[str]) -> Ticket:
    if len(row) != len(columns):
        raise _invalid(path, line, f"there are {len(row)} fields; the first line promises {len(columns)}")
    text = row[columns["text"]].strip()
    category = row[columns["category"]].strip() if "category" in columns else ""
    if not text:
        raise _invalid(path, line, "the text is empty")
    if len(text) > TEXT_MAX_CHARS:
        raise _invalid(path, line, f"the text has {len(text):,} characters; the bound is {TEXT_MAX_CHARS:,}")
    if "\x00" in text or "\x00" in category:
        raise _invalid(path, line, "there is a NUL character")
    if len(category) > 100:
        raise _invalid(path, line, f"the category has {len(category)} characters; the bound is 100")
    return Ticket(number, text, category)


def _invalid(path: Path, line: int, what: str) -> InputInvalid:
    return InputInvalid(f"{path}, line {line}: {what}", hint=_HINT, path=str(path), line=line)
