"""YAML as policies use it: every node with its place, and nothing that surprises.

Anchors, aliases, tags and several documents in one file are refused (an alias makes a kilobyte into a gigabyte, and a
policy into something nobody can read from top to bottom). So are words and numbers that YAML versions read in different
ways: ``no``, ``0777``, ``1_000``, ``.nan``.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import yaml

from penstock.kernel.canonical import MAX_SAFE_INTEGER, clean_text
from penstock.kernel.errors import PolicyInvalid

FILE_MAX_BYTES = 256 * 1024
DEPTH_MAX = 16
NODES_MAX = 50_000
PROBLEMS_MAX = 50

Scalar = str | int | float | bool | None

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml where the wheel has it: ten times faster
_INTEGER = re.compile(r"[+-]?(0|[1-9][0-9]*)\Z")
_FLOAT = re.compile(r"[+-]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(\.[0-9]*)?[eE][+-]?[0-9]+)([eE][+-]?[0-9]+)?\Z")
_NUMBER_LIKE = re.compile(
    r"[+-]?(0[0-9_]+|0[xXoObB][0-9a-fA-F_]+|[0-9][0-9_]*_[0-9_]*|\.(nan|inf)|[0-9]+(:[0-5]?[0-9])+)\Z", re.IGNORECASE
)
_SWITCHES = frozenset(("yes", "no", "on", "off", "y", "n"))
_WORDS: dict[str, Scalar] = {"true": True, "false": False, "null": None, "~": None, "": None}


@dataclass(slots=True, frozen=True, order=True)
class Place:
    """Where something stands; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(slots=True, frozen=True)
class Problem:
    """What is wrong where, and what to do."""

    place: Place
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.place}: {self.what}; {self.fix}"


@dataclass(slots=True)
class Node:
    """A value of a file: a scalar, a list of nodes, or a mapping of names to nodes with the places of the names."""

    place: Place
    value: "Scalar | list[Node] | dict[str, Node]"
    keys: dict[str, Place] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """In words, for messages."""
        return kind_of(self.value)

    def plain(self) -> Any:
        """Without places."""
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        if isinstance(self.value, dict):
            return {name: node.plain() for name, node in self.value.items()}
        return self.value


def kind_of(value: object) -> str:
    """What kind of value it is, in words."""
    if value is None:
        return "nothing"
    names: dict[type, str] = {bool: "true or false", str: "a text", int: "a number", float: "a number"}
    return names.get(type(value), "a list" if isinstance(value, list) else "a mapping")


class Complaints:
    """The problems of one reading, the first of them."""

    def __init__(self) -> None:
        self.found: list[Problem] = []

    def add(self, place: Place, what: str, fix: str) -> None:
        if len(self.found) < PROBLEMS_MAX:
            self.found.append(Problem(place, clean_text(what, 500), clean_text(fix, 500)))

    def check(self) -> None:
        """Raise what was found.

        Raises:
            PolicyInvalid: something was.
        """
        if self.found:
            self.found.sort(key=lambda problem: problem.place)
            raise invalid(self.found)


def invalid(problems: list[Problem]) -> PolicyInvalid:
    """The error that says them."""
    first = problems[0]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    plain = [
        {"file": at.file, "line": at.line, "column": at.column, "what": problem.what, "fix": problem.fix}
        for problem in problems
        for at in (problem.place,)
    ]
    return PolicyInvalid(f"{first.place}: {first.what}{more}", hint=first.fix, problems=plain)


def nearest(name: str, known: Iterator[str] | list[str] | tuple[str, ...]) -> str:
    """Words on which of the names was meant."""
    names = list(known)
    close = get_close_matches(name, names, 1, 0.6)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(sorted(names))}"


def read_yaml(file: str, text: str | bytes) -> Node:
    """The one document of a file.

    Raises:
        PolicyInvalid: it is no YAML, or more than policies need of it.
    """
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    start = Place(file, 1, 1)
    if len(data) > FILE_MAX_BYTES:
        words = f"the file has {len(data):,} bytes; the bound is {FILE_MAX_BYTES:,}"
        raise invalid([Problem(start, words, "spread the rules over several files")])
    try:
        decoded = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise invalid([Problem(Place(file, line, 1), "the file is not UTF-8", "save it as UTF-8")]) from None
    builder = _Builder(file)
    try:
        for event in yaml.parse(decoded, Loader=_LOADER):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = _place(file, mark) if mark else start
        words = f"this is no YAML: {error.problem or error.context}"
        raise invalid([Problem(place, words, "check the indentation, quotes and brackets before this place")]) from None
    except yaml.reader.ReaderError as error:
        words = f"this is no YAML: {error.reason}"
        line = decoded.count("\n", 0, error.position) + 1
        raise invalid([Problem(Place(file, line, 1), words, "take the control character out")]) from None
    if builder.root is None:
        raise invalid([Problem(start, "the file is empty", "begin it with `version: 1`")])
    return builder.root


class _Builder:
    """Nodes from parser events, without recursion: the depth is bounded here."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.root: Node | None = None
        self._open: list[tuple[Node, tuple[str, Place] | None]] = []
        self._nodes = 0

    def take(self, event: Any) -> None:
        match event:
            case yaml.AliasEvent():
                self._refuse(event, "an alias (*) is not accepted here", "write the value out where it is needed")
            case yaml.DocumentStartEvent() if self.root is not None:
                self._refuse(event, "a second document (---) in one file", "put it into a file of its own")
            case yaml.ScalarEvent():
                self._check(event)
                self._scalar(event)
            case yaml.SequenceStartEvent():
                self._check(event)
                self._begin(Node(_place(self.file, event.start_mark), []))
            case yaml.MappingStartEvent():
                self._check(event)
                self._begin(Node(_place(self.file, event.start_mark), {}))
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                self._open.pop()
            case _:
                pass

    def _check(self, event: Any) -> None:
        self._nodes += 1
        if event.anchor:
            self._refuse(event, "an anchor (&) is not accepted here", "write the value out where it is needed")
        if event.tag is not None and event.tag != "!":
            self._refuse(event, f"the tag {event.tag} is not accepted here", "take it away; quote a text that needs it")
        if self._nodes > NODES_MAX:
            self._refuse(event, f"more than {NODES_MAX:,} values in one file", "spread the rules over several files")
        if len(self._open) >= DEPTH_MAX:
            self._refuse(event, f"nested deeper than {DEPTH_MAX} levels", "write it flatter")

    def _refuse(self, event: Any, what: str, fix: str) -> None:
        raise invalid([Problem(_place(self.file, event.start_mark), what, fix)])

    def _scalar(self, event: Any) -> None:
        place = _place(self.file, event.start_mark)
        if self._open:
            holder, key = self._open[-1]
            if isinstance(holder.value, dict) and key is None:
                self._name(holder, event.value, place)
                return
        value = event.value
        if event.implicit[0]:
            resolved = _resolve(value)
            if isinstance(resolved, tuple):
                self._refuse(event, *resolved)
            value = resolved
        self._place_node(Node(place, value))

    def _name(self, holder: Node, name: str, place: Place) -> None:
        if name in holder.keys:
            first = holder.keys[name]
            words = f"{name!r} stands here a second time (first in line {first.line})"
            raise invalid([Problem(place, words, "keep one of them; the other would be ignored silently")])
        if name == "<<":
            raise invalid([Problem(place, "merging (<<) is not accepted here", "write the values out")])
        holder.keys[name] = place
        self._open[-1] = (holder, (name, place))

    def _begin(self, node: Node) -> None:
        if self._open and isinstance(self._open[-1][0].value, dict) and self._open[-1][1] is None:
            raise invalid([Problem(node.place, "a list or mapping stands where a name is expected", "write a name")])
        self._place_node(node)
        self._open.append((node, None))

    def _place_node(self, node: Node) -> None:
        if not self._open:
            self.root = node
            return
        holder, key = self._open[-1]
        if isinstance(holder.value, list):
            holder.value.append(node)
        elif isinstance(holder.value, dict):
            assert key is not None
            holder.value[key[0]] = node
            self._open[-1] = (holder, None)


def _place(file: str, mark: Any) -> Place:
    return Place(file, mark.line + 1, mark.column + 1)


def _resolve(text: str) -> Scalar | tuple[str, str]:
    """The value of an unquoted scalar by the core schema of YAML 1.2; what is wrong and what to do where other
    versions read it otherwise."""
    lower = text.lower()
    if lower in _WORDS and (text == lower or text in ("True", "False", "Null", "TRUE", "FALSE", "NULL")):
        return _WORDS[lower]
    if lower in _SWITCHES:
        return f"{text} is a text for some readers of YAML, true or false for others", "quote it, or say true or false"
    if _INTEGER.match(text):
        number = int(text) if len(text) < 20 else MAX_SAFE_INTEGER + 1
        if abs(number) > MAX_SAFE_INTEGER:
            return "an integer beyond 2**53", "write a smaller one, or quote it as a text"
        return number
    if _FLOAT.match(text):
        real = float(text)
        return real if math.isfinite(real) else ("a number too large to be exact", "write a smaller one")
    if _NUMBER_LIKE.match(text):
        return f"{text} is a number that readers of YAML take differently", "write plain decimal digits, or quote it"
    return text
