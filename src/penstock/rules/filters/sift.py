"""Filters at work on a text or a plain JSON value: what is released in its stead, and what was found."""

import sys
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import msgspec

from penstock.kernel.canonical import stable_json
from penstock.ports.classifiers import Finding
from penstock.rules.filters.filters import STRICTNESS, Place
from penstock.rules.filters.finding import apart

Tokens = Callable[[str, str], str]
"""Given a kind and a value: the token that stands for it. The same value has the same token."""

NUMBER_MIN = 1_000_000
"""Numbers from here on are looked at as text: a card's number may come as a number."""
NAME_MAX_CHARS = 40
"""Of a field's name that is read as what its value is."""


@dataclass(slots=True)
class Sifted:
    """What came of filtering. ``counts``: by kind and action. ``tokens``: the values that tokens stand for."""

    value: Any = None
    counts: dict[tuple[str, str], int] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def blocked(self) -> str:
        """What is not to be released at all, in words: kinds and how often; '' = nothing."""
        kinds = [f"{kind} ({count})" for (kind, action), count in sorted(self.counts.items()) if action == "block"]
        return ", ".join(kinds)

    @property
    def is_changed(self) -> bool:
        """Whether something else than what came in is released."""
        return any(action != "flag" for _, action in self.counts)

    def add(self, other: "Sifted") -> None:
        """What came of another text besides."""
        for (kind, action), count in other.counts.items():
            self.counts[kind, action] = self.counts.get((kind, action), 0) + count
        self.tokens |= other.tokens

    def count(self, kind: str, action: str) -> None:
        """One more."""
        self.counts[kind, action] = self.counts.get((kind, action), 0) + 1


def find(place: Place, text: str) -> list[Finding]:
    """What the place's own detectors find, apart from each other."""
    if not place.finders or len(text) < 4:
        return []
    plain = text if text.isascii() else text.translate(_plain_digits())
    found = [finding for finder in place.finders for finding in finder(plain) if finding.score >= place.score_min]
    if len(found) < 2:
        return found
    return apart(found, {kind: STRICTNESS[action] for kind, action in place.actions.items()})


def sift_text(place: Place, text: str, tokens: Tokens | None, into: Sifted, name: str = "") -> str:
    """The text as it may be released. ``name``: what the field is called that holds it."""
    lead = f"{name}: " if name else ""
    found = find(place, lead + text)
    if lead:
        size = len(lead)
        found = [Finding(max(one.start - size, 0), one.end - size, one.kind) for one in found if one.end > size]
    return replaced(text, found, place.actions, tokens, into) if found else text


def replaced(
    text: str, found: Iterable[Finding], actions: Mapping[str, Any], tokens: Tokens | None, into: Sifted
) -> str:
    """The text with something else in the place of what was found."""
    parts: list[str] = []
    at = 0
    for finding in found:
        action = actions[finding.kind]
        into.count(finding.kind, action)
        if action == "flag":
            continue
        value = text[finding.start : finding.end]
        stand_in = f"[{finding.kind}]"
        if action == "tokenise" and tokens is not None:
            stand_in = tokens(finding.kind, value)
            into.tokens[stand_in] = value
        parts += (text[at : finding.start], stand_in)
        at = finding.end
    return "".join((*parts, text[at:]))


def sift_value(place: Place, value: Any, tokens: Tokens | None, into: Sifted, name: str = "") -> Any:
    """A plain JSON value as it may be released: its texts, its long numbers, and the names of its fields."""
    if isinstance(value, str):
        return sift_text(place, value, tokens, into, name)
    if type(value) is int and abs(value) >= NUMBER_MIN:
        text = str(value)
        released = sift_text(place, text, tokens, into, name)
        return value if released == text else released
    if isinstance(value, list):
        return [sift_value(place, item, tokens, into, name) for item in value]
    if isinstance(value, dict):
        return {
            sift_text(place, key, tokens, into): sift_value(
                place, item, tokens, into, _words(key) if len(key) <= NAME_MAX_CHARS else ""
            )
            for key, item in value.items()
        }
    return value


def sift_arguments(place: Place, args: str, tokens: Tokens | None, into: Sifted) -> str:
    """The arguments of a call, JSON as a model wrote it: JSON as long as it was that, and word for word the same when
    nothing is to be changed."""
    if not place.finders:
        return args
    found = Sifted()
    try:
        value = msgspec.json.decode(args)
        released = sift_value(place, value, tokens, found)
        text = args if released == value else stable_json(released).decode()
    except (msgspec.DecodeError, UnicodeError, RecursionError, TypeError, ValueError):
        found = Sifted()
        text = sift_text(place, args, tokens, found)
    into.add(found)
    return text


def _words(name: str) -> str:
    return name.replace("_", " ")


@lru_cache(maxsize=1)
def _plain_digits() -> dict[int, str]:
    """Digits of all scripts as ASCII has them, and the spaces and dashes that look like those between them."""
    plain = {
        code: str(unicodedata.decimal(chr(code)))
        for code in range(128, sys.maxunicode + 1)
        if unicodedata.category(chr(code)) == "Nd"
    }
    spaces = dict.fromkeys((0xA0, 0x2007, 0x2009, 0x202F, 0x3000, 0x200B, 0x2060), " ")
    dashes = dict.fromkeys(range(0x2010, 0x2016), "-")
    return plain | spaces | dashes | {0x2212: "-", 0xFF0B: "+", 0xFF20: "@"}
