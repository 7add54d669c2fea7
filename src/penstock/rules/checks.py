"""Ready-made checks of a tool's arguments: ``@tool(validate=[checks.bounds("amount_cents", low=1, high=50_000)])``.

Each says one thing, is a pure function of the arguments (and, where it says so, of the run so far), and denies what it
cannot read. What it says goes to the agent and into the journal: it names arguments, and never repeats their values.
Paths are written as in policies: ``address.street``, ``lines[0].price``. An argument that is not there, or is None, has
nothing against it but `required`: whether it may lack is said by the tool's schema.
"""

import inspect
import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from penstock.rules.case import Case
from penstock.rules.policy.measures import parse_path

__all__ = [
    "Check",
    "at_most_calls",
    "bounds",
    "custom",
    "exactly_one",
    "in_order",
    "length",
    "one_of",
    "required",
    "sum_at_most",
]

Args = dict[str, Any]


@dataclass(slots=True, frozen=True)
class Check:
    """One check. Build it with the functions of this module.

    Attributes:
        part: its words and numbers: what of it belongs to a release.
        judge: given the arguments and the run so far: None, or the reason why they are not acceptable.
        results: tools whose results it looks at; ``calls``: those whose arguments, "" = the tool's own.
        needs_case: it looks at the run so far.
    """

    part: str
    judge: Callable[[Args, Case], str | None]
    results: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
    needs_case: bool = False

    def __call__(self, args: Args) -> str | None:
        """What it says of arguments alone, for tests.

        Raises:
            TypeError: it looks at the run so far.
        """
        if self.needs_case:
            raise TypeError(f"{self.part} looks at the run so far, and is asked by the gate alone")
        return self.judge(args, Case())


def bounds(path: str, *, low: float | None = None, high: float | None = None) -> Check:
    """A number between both, inclusively; None = no such bound.

    Raises:
        ValueError: no bound at all, or none that a number could keep.
    """
    if (low is None and high is None) or (low is not None and high is not None and not low <= high):
        raise ValueError(f"bounds of {path}: low={low!r}, high={high!r}")
    steps = parse_path(path)

    def judge(args: Args, case: Case) -> str | None:
        value = value_at(args, steps)
        if value is None:
            return None
        if not is_number(value):
            return f"{path} must be a number"
        if low is not None and value < low:
            return f"{path} must be at least {low:,}"
        if high is not None and value > high:
            return f"{path} must be at most {high:,}"
        return None

    return Check(f"bounds {path} {low!r} {high!r}", judge)


def length(path: str, *, most: int, least: int = 0) -> Check:
    """So many characters of a text, or items of a list."""
    steps = parse_path(path)

    def judge(args: Args, case: Case) -> str | None:
        value = value_at(args, steps)
        if value is None:
            return None
        if not isinstance(value, str | list):
            return f"{path} must be a text or a list"
        if not least <= len(value) <= most:
            what = "characters" if isinstance(value, str) else "items"
            return f"{path} must have {least:,} to {most:,} {what}"
        return None

    return Check(f"length {path} {least} {most}", judge)


def one_of(path: str, values: Collection[str | int]) -> Check:
    """One of these texts or whole numbers, exactly: 1 is not "1", and not true."""
    known = {(type(value), value) for value in values}
    steps = parse_path(path)

    def judge(args: Args, case: Case) -> str | None:
        value = value_at(args, steps)
        if value is None:
            return None
        fits = isinstance(value, str | int) and (type(value), value) in known
        return None if fits else f"{path} must be one of the {len(known)} values that are allowed"

    return Check(f"one_of {path} {sorted(map(repr, values))}", judge)


def required(*paths: str, when: str = "") -> Check:
    """All of them are given; with ``when``, if that one is."""
    wanted = {path: parse_path(path) for path in paths}
    asked = parse_path(when) if when else None

    def judge(args: Args, case: Case) -> str | None:
        if asked is not None and value_at(args, asked) is None:
            return None
        lacking = [path for path, steps in wanted.items() if value_at(args, steps) is None]
        return f"{', '.join(lacking)} must be given{f' with {when}' if when else ''}" if lacking else None

    return Check(f"required {paths} {when}", judge)


def exactly_one(*paths: str) -> Check:
    """One of them is given, and no more."""
    wanted = [parse_path(path) for path in paths]

    def judge(args: Args, case: Case) -> str | None:
        given = sum(value_at(args, steps) is not None for steps in wanted)
        return None if given == 1 else f"exactly one of {', '.join(paths)} must be given"

    return Check(f"exactly_one {paths}", judge)


def in_order(*paths: str) -> Check:
    """Numbers, or dates and times in ISO 8601, none of which is before the one that is named before it. Times with and
    without a time zone are not compared."""
    wanted = {path: parse_path(path) for path in paths}

    def judge(args: Args, case: Case) -> str | None:
        before: tuple[str, Any] | None = None
        for path, steps in wanted.items():
            value = value_at(args, steps)
            if value is None:
                continue
            try:
                mine = float(value) if is_number(value) else datetime.fromisoformat(value)
                if before is not None and mine < before[1]:
                    return f"{path} must not be before {before[0]}"
            except (TypeError, ValueError):
                return f"{' and '.join(paths)} must all be numbers, or all times of one kind"
            before = path, mine
        return None

    return Check(f"in_order {paths}", judge)


def at_most_calls(most: int, *, within_seconds: float | None = None, tools: Sequence[str] = ()) -> Check:
    """So many calls of this tool, or of ``tools`` together, in one run, this one included; within so many seconds back
    from now, if given. A call counts unless it certainly did nothing."""
    names = tuple(tools) or ("",)

    def judge(args: Args, case: Case) -> str | None:
        found = _others(case, names, within_seconds)
        if None in found:
            return "the run has made more calls than can be looked through"
        return None if len(found) < most else f"at most {most:,} calls{_within(within_seconds)} in one run"

    return Check(f"at_most_calls {most} {within_seconds!r} {names}", judge, calls=names, needs_case=True)


def sum_at_most(path: str, most: float, *, within_seconds: float | None = None) -> Check:
    """What the calls of this tool in one run have at ``path`` comes to no more, this one included; within so many
    seconds back from now, if given. A call counts unless it certainly did nothing."""
    steps = parse_path(path)

    def judge(args: Args, case: Case) -> str | None:
        total = 0.0
        for of in [args, *(call and call.args for call in _others(case, ("",), within_seconds))]:
            value = value_at(of, steps) if isinstance(of, dict) else math.nan
            value = 0 if value is None else value
            if not is_number(value) or value < 0:
                return f"{path} must be a number that is not negative, here and in the calls before"
            total += value
        return None if total <= most else f"the calls of one run may have {most:,} of {path}{_within(within_seconds)}"

    return Check(f"sum_at_most {path} {most!r} {within_seconds!r}", judge, calls=("",), needs_case=True)


def custom(
    rule: Callable[[Args, Case], str | None], *, results: Sequence[str] = (), calls: Sequence[str] = ()
) -> Check:
    """A rule of your own that looks at the run so far: ``rule(args, case)`` is None, or why not. Pure; if it raises, or
    answers anything else, the call is denied.

    Args:
        results: tools whose results it looks at.
        calls: tools whose arguments it looks at.
    """
    try:
        part = inspect.getsource(rule)
    except (OSError, TypeError):
        part = getattr(rule, "__qualname__", repr(type(rule)))
    return Check(f"custom {part}", rule, results=tuple(results), calls=tuple(calls), needs_case=True)


def value_at(args: Any, steps: Sequence[str | int]) -> Any:
    """The value at a path; None when there is none."""
    for step in steps:
        if isinstance(step, str):
            args = args.get(step) if isinstance(args, dict) else None
        else:
            args = args[step] if isinstance(args, list) and -len(args) <= step < len(args) else None
    return args


def is_number(value: Any) -> bool:
    """Whether it is a finite number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _others(case: Case, names: Sequence[str], within_seconds: float | None) -> list[Any]:
    """The other calls that count; one that is None when some are not known any more."""
    tools = {name or case.tool for name in names}
    since = case.now - int(within_seconds * 1e6) if within_seconds is not None else 0
    found: list[Any] = [call for call in case.of(*tools) if call.at >= since]
    return [*found, None] if tools & case.forgotten else found


def _within(seconds: float | None) -> str:
    return "" if seconds is None else f" within {seconds:g} s"
