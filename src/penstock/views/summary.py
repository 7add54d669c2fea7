"""What a call will do, in one line."""

from typing import Any

import msgspec

SUMMARY_MAX_CHARS = 200
WORD_MAX_CHARS = 40
"""One word up to here says what a call is about (an id, an address); what is longer is what is written."""


def summary_of(tool: str, args: Any) -> str:
    """What will be done, in one line: the tool and its arguments, cut.

    First what it is about, then how much, then what is written; amounts in cents as people read them. It is for finding
    one's way, and never instead of the arguments.
    """
    if not isinstance(args, dict):
        args = {"": args}
    known = sorted(((name, value) for name, value in args.items() if value is not None), key=_place)
    said = ", ".join(f"{_named(name, value)} {_plain(name, value)}".strip() for name, value in known)
    words = " ".join(f"{tool.replace('_', ' ')} {said}".split())
    return words if len(words) <= SUMMARY_MAX_CHARS else words[: SUMMARY_MAX_CHARS - 1] + "…"


def _place(argument: tuple[str, Any]) -> int:
    """Arguments of one place stay in their order."""
    value = argument[1]
    if isinstance(value, str):
        return 0 if len(value) <= WORD_MAX_CHARS and len(value.split()) <= 1 else 2
    return 1 if isinstance(value, int | float) else 3


def _named(name: str, value: Any) -> str:
    """The argument's name, without what goes without saying: that it is an id, and its unit when that is said."""
    words = name.split("_")
    if _is_cents(name, value) or (words[-1] == "id" and len(words) > 1):
        words.pop()
    return " ".join(words)


def _plain(name: str, value: Any) -> str:
    if _is_cents(name, value):
        sign, cents = "-" if value < 0 else "", abs(value)
        return f"{sign}{cents // 100:,}.{cents % 100:02d}"
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _is_cents(name: str, value: Any) -> bool:
    return type(value) is int and (name == "cents" or name.endswith("_cents"))
