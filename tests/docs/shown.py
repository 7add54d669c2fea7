"""What a page shows against what was really printed.

Ids, times and durations differ from run to run: an id of the page stands for the real one from where it is first shown,
also in later commands; other such places only have to be of the same kind. ``…`` stands for anything within a line, a
line ``...`` for any number of lines.
"""

import re
from collections.abc import Sequence

_ID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{12,64}|(?=[0-9a-f]*[0-9])(?=[0-9a-f]*[a-f])[0-9a-f]{8}"
_TIME_UNIT = r"\d[\d,]*(?:\.\d+)? ?(?:ms|µs|s|min|h|d)"
_DURATION = rf"{_TIME_UNIT}(?: {_TIME_UNIT})*"
_VARIABLE = re.compile(
    rf"(?P<id>\b(?:{_ID})\b)"
    r"|(?P<date>\b\d{4}-\d\d-\d\d\b)"
    r"|(?P<time>\b\d\d:\d\d(?::\d\d)?(?:\.\d+)?\b)"
    rf"|(?P<duration>(?<![\w.])(?:{_DURATION})\b)"
    r"|(?P<any>…)"
)
_KINDS = {
    "date": r"\d{4}-\d\d-\d\d",
    "time": r"\d\d:\d\d(?::\d\d)?(?:\.\d+)?",
    "duration": f"(?:{_DURATION})",
    "any": r".*?",
}
ANY_LINES = "..."


class Ids:
    """Which real id each id of a page stands for."""

    def __init__(self) -> None:
        self.real: dict[str, str] = {}

    def in_command(self, command: str) -> str:
        """The command with the page's ids, or their beginnings, replaced by the real ones."""

        def swap(word: re.Match[str]) -> str:
            text = word[0]
            for shown, real in self.real.items():
                if shown.startswith(text):
                    return real[: len(text)]
            return text

        return re.sub(r"\b(?=[0-9a-f-]*\d)[0-9a-f][0-9a-f-]{3,}\b", swap, command)


def mismatch(expected: Sequence[str], printed: Sequence[str], ids: Ids) -> str | None:
    """None when what was printed is what the page shows; else words on the first difference. Learns ids when it is."""
    learnt = dict(ids.real)
    position = 0
    skipping = False
    for line in expected:
        if line.strip() == ANY_LINES:
            skipping = True
            continue
        while position < len(printed) and (found := _match(line, printed[position], learnt)) is None and skipping:
            position += 1
        if position >= len(printed):
            return f"the page shows {line!r}, but the output is at its end"
        if found is None:
            return f"the page shows {line!r}, but there is {printed[position]!r}"
        learnt |= found
        position += 1
        skipping = False
    if position < len(printed) and not skipping:
        return f"the page does not show {printed[position]!r}"
    ids.real = learnt
    return None


def _match(expected: str, printed: str, known: dict[str, str]) -> dict[str, str] | None:
    """The ids learnt from a line that fits; None when it does not."""
    pattern, place = "", 0
    names: list[str] = []
    for variable in _VARIABLE.finditer(expected):
        pattern += _literal(expected[place : variable.start()])
        place = variable.end()
        kind, text = variable.lastgroup, variable[0]
        if kind == "id" and text in known:
            pattern += re.escape(known[text])
        elif kind == "id" and text in names:
            pattern += rf"\{names.index(text) + 1}"
        elif kind == "id":
            names.append(text)
            pattern += f"({'[0-9a-f]' if '-' not in text else '[0-9a-f-]'}{{{len(text)}}})"
        else:
            pattern += _KINDS[str(kind)]
    found = re.fullmatch(pattern + _literal(expected[place:].rstrip()), printed.rstrip())
    return None if found is None else dict(zip(names, found.groups(), strict=True))


def _literal(text: str) -> str:
    """Runs of blanks are of any length: columns are as wide as what is in them."""
    return re.sub(r"(?:\\ )+", " +", re.escape(text))
