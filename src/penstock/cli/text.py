"""Recorded text on a terminal: whatever it holds, it can neither move the cursor nor pretend to be ours."""

import json
import unicodedata
from typing import Any

_JOINERS = "\u200c\u200d"  # parts of ordinary words and pictures in many scripts
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def safe(text: str, *, lines: bool = False) -> str:
    """The text with control characters, terminal escapes, bidirectional marks and lone surrogates made visible.

    With ``lines`` line breaks and tabs stay; otherwise the result is one line.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_visible(character, lines) for character in text)


def _visible(character: str, lines: bool) -> str:
    if character in "\n\t":
        return character if lines else ("⏎ " if character == "\n" else " ")
    if unicodedata.category(character) not in _HIDDEN or character in _JOINERS:
        return character
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def brief(value: Any, width: int) -> str:
    """A recorded value on one line of at most ``width`` characters."""
    text = value if isinstance(value, str) else as_json_text(value)
    # Cut before it is made safe, so that a huge value costs nothing, and after it, for escapes are longer.
    line = safe(text[: width + 1])
    return line if len(line) <= width else line[: max(1, width - 1)] + "…"


def whole(value: Any) -> str:
    """A recorded value in full, over several lines."""
    text = value if isinstance(value, str) else as_json_text(value, indent=2)
    return safe(text, lines=True)


def as_json_text(value: Any, indent: int | None = None) -> str:
    """JSON for people: characters as they are."""
    separators = None if indent else (", ", ": ")
    return json.dumps(value, ensure_ascii=False, indent=indent, separators=separators, default=str)


def plural(count: int, noun: str) -> str:
    """``1 run``, ``2 runs``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
