"""Arguments that must come from this case: what a model makes up, or brings along from another customer's, is denied.

A value is traced when it stands, whole, in a result of the named tools in this run, or in the run's input. Numbers and
texts of the same digits are the same value; in a text of several words it must stand as a word of its own.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from penstock.rules.case import Case
from penstock.rules.checks import Args, Check, is_number, value_at
from penstock.rules.policy.measures import parse_path

VALUES_MOST = 200_000
"""Values that are looked through, at most, before an argument counts as not found."""
_WORD = re.compile(r"[^\s,;:!?\"'()<>\[\]{}|]+")


def traced(path: str, *, to: Sequence[str], inputs: bool = True, words: bool = False) -> Check:
    """The argument's value was seen in this run before.

    Args:
        path: of the argument; each item of a list must have been seen.
        to: tools whose results count, once they have succeeded.
        inputs: the run's input counts too.
        words: in results, too, a word of a longer text counts; in the input it always does.

    Raises:
        ValueError: neither tools nor inputs.
    """
    if not to and not inputs:
        raise ValueError(f"{path} can be traced to nothing")
    steps = parse_path(path)

    def judge(args: Args, case: Case) -> str | None:
        value = value_at(args, steps)
        if value is None:
            return None
        wanted = {_text(item) for item in (value if isinstance(value, list) else [value])}
        if None in wanted:
            return f"{path} must be a text or a number, or a list of these"
        for seen in _seen(case, to, inputs=inputs, words=words):
            wanted.discard(seen)
            if not wanted:
                return None
        sources = [*([f"a result of {', '.join(to)}"] if to else []), *(["the input"] if inputs else [])]
        return f"{path} must come from {' or '.join(sources)} of this run" if wanted else None

    part = f"traced {path} {tuple(to)} {inputs} {words}"
    return Check(part, judge, results=tuple(to), needs_case=True)


def _seen(case: Case, to: Sequence[str], *, inputs: bool, words: bool) -> Iterator[str]:
    left = VALUES_MOST
    sources = [(call.result, words) for call in case.of(*to) if call.state == "ok"]
    if inputs:
        sources.insert(0, (case.input, True))
    for source, in_words in sources:
        for value in _scalars(source):
            yield value
            left -= 1
            if in_words and " " in value.strip():
                for word in _WORD.findall(value):
                    yield word
                    yield word.rstrip(".")
                    left -= 1
            if left <= 0:
                return


def _scalars(value: Any) -> Iterator[str]:
    """The texts and numbers in a plain value, keys left out."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
        elif (text := _text(item)) is not None:
            yield text


def _text(value: Any) -> str | None:
    """A text or a number as text; None of anything else."""
    if isinstance(value, str):
        return value
    if not is_number(value):
        return None
    return repr(int(value) if value == int(value) else value)
