"""From a model of the solver's to the call that it describes."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import z3

from penstock.rules.policy.cases import NOW_US, CallText
from penstock.rules.policy.encoding import (
    BOOL,
    LIST,
    MAPPING,
    MISSING,
    NUMBER,
    STATIC,
    TEXT,
    TEXT_MAX,
    Path,
    Space,
    Value,
)
from penstock.rules.policy.policy_set import PolicyCall

BEFORE_MAX = 1000


def example(space: Space, model: Any) -> CallText:
    """The call that a model describes."""

    def text(of: Any) -> str:
        return str(model.eval(of, model_completion=True).py_value() or "")

    fields = {name: text(space.text(name)) for name in STATIC if name in space.texts}
    args: dict[str, Any] = {}
    tags: dict[str, str] = {}
    behalf = None
    for (root, path), value in sorted(space.values.items(), key=lambda item: len(item[0][1])):
        plain = _plain(model, value)
        if plain is _ABSENT:
            continue
        if root == "args":
            _put(args, path, plain)
        elif root == "tags":
            tags[str(path[0])] = str(plain)
        else:
            behalf = str(plain)
    taint = {
        (name if what == "from" else f"source-{place}"): ("untrusted" if what in ("from", "any") else name)
        for place, ((what, name), one) in enumerate(space.taints.items())
        if z3.is_true(model.eval(one, model_completion=True))
    }
    call = PolicyCall("any_tool", args=args, tags=tags, taint=taint, behalf=behalf, at=NOW_US)
    call = dataclasses.replace(call, **fields)  # type: ignore[arg-type]
    return CallText(call, _before(space, model, call))


_ABSENT = object()


def _plain(model: Any, value: Value) -> Any:
    kind = model.eval(value.kind, model_completion=True).as_long()
    if kind == MISSING:
        return _ABSENT
    if kind == NUMBER:
        fraction = model.eval(value.number, model_completion=True).as_fraction()
        return int(fraction) if fraction.denominator == 1 else float(fraction)
    if kind == TEXT:
        return str(model.eval(value.text, model_completion=True).py_value() or "")
    if kind == BOOL:
        return bool(z3.is_true(model.eval(value.flag, model_completion=True)))
    size = model.eval(value.size, model_completion=True).as_long()
    if kind == LIST:
        return [None] * min(size, TEXT_MAX)
    return {} if kind == MAPPING else None


def _put(holder: Any, path: Path, plain: Any) -> None:
    for place, step in enumerate(path):
        last = place == len(path) - 1
        if isinstance(step, str):
            if not isinstance(holder, dict):
                return
            if last:
                holder[step] = plain
                return
            holder = holder.setdefault(step, [] if isinstance(path[place + 1], int) else {})
        else:
            if not isinstance(holder, list):
                return
            while len(holder) <= step:
                holder.append(None)
            if last:
                holder[step] = plain
                return
            if not isinstance(holder[step], dict | list):
                holder[step] = [] if isinstance(path[place + 1], int) else {}
            holder = holder[step]


def _before(space: Space, model: Any, call: PolicyCall) -> tuple[tuple[str, Any, int], ...]:
    """Calls before it that bring the sums and counts to what the model says; the policy checks whether they do."""
    before: list[tuple[str, Any, int]] = []
    for measure, (known, number) in space.measures.items():
        if not z3.is_true(model.eval(known, model_completion=True)):
            continue
        fraction = model.eval(number, model_completion=True).as_fraction()
        wanted: Any = int(fraction) if fraction.denominator == 1 else float(fraction)
        tool = measure.over[0].replace("*", "x") if measure.over else call.tool
        if measure.what == "count":
            before += [(tool, {}, 0)] * min(max(0, wanted - (tool == call.tool)), BEFORE_MAX)
            continue
        here = _number_at(call.args, measure.path) if tool == call.tool else 0
        if here is not None and wanted != here:
            args: dict[str, Any] = {}
            _put(args, measure.path, wanted - here)
            before.append((tool, args, 0))
    return tuple(before)


def _number_at(args: Mapping[str, Any], path: Path) -> Any:
    value: Any = args
    for step in path:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
