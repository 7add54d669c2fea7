"""What one release has otherwise than another, in words."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from penstock.events import BudgetRecord
from penstock.kernel.canonical import stable_json
from penstock.kernel.errors import FiltersInvalid, PolicyInvalid
from penstock.kernel.money import show_usd
from penstock.ports.rollouts import Manifest
from penstock.rules.filters.plain import changes
from penstock.rules.policy.comparing import compare
from penstock.rules.policy.policy_set import PolicySet

LINES_MAX = 500
"""Lines of one text that are told; of the rest only how many there are."""


@dataclass(slots=True, frozen=True)
class Difference:
    """``what`` of the release, and how it differs: each line for itself. Lines of texts begin with ``+`` or ``-``."""

    what: str
    lines: Sequence[str]


def differences(old: Manifest, new: Manifest) -> list[Difference]:
    """What ``new`` has otherwise; [] = only who drafted it may differ."""
    found: list[Difference] = []

    def add(what: str, lines: Sequence[str]) -> None:
        if lines:
            found.append(Difference(what, lines))

    for name in sorted({*old.prompts, *new.prompts}):
        add(f"prompt {name}", _text(old.prompts.get(name, ""), new.prompts.get(name, "")))
    if old.models != new.models:
        add("model", [f"{' then '.join(new.models) or 'none'}, was {' then '.join(old.models) or 'none'}"])
    settings = sorted({*old.settings, *new.settings})
    add("settings", [line for name in settings if (line := _value(name, old.settings, new.settings))])
    add("tools", _tools(old, new))
    add("policy", _policy(old.policy, new.policy))
    add("filters", _filters(old, new))
    add("budget", _budget(old.budget, new.budget))
    if old.version != new.version:
        add("code version", [f"{new.version}, was {old.version}"])
    if old.code != new.code:
        add("code", ["the agent's code is another: workers need the version that this release was drafted from"])
    return found


def _text(old: str, new: str) -> list[str]:
    if old == new:
        return []
    told = difflib.unified_diff(old.splitlines(), new.splitlines(), n=0, lineterm="")
    lines = [line for line in told if not line.startswith(("---", "+++"))]
    lines = [_place(line) if line.startswith("@@") else f"{line[0]} {line[1:]}" for line in lines]
    if not lines:
        return ["only its line ends differ"]
    more = len(lines) - LINES_MAX
    return [*lines[:LINES_MAX], f"and {more:,} lines more"] if more > 0 else lines


def _place(line: str) -> str:
    """``@@ -3,2 +3 @@`` in words."""
    new = line.split("+", 1)[1].split(" ", 1)[0].partition(",")
    return f"line {new[0]}:"


def _value(name: str, old: Mapping[str, object], new: Mapping[str, object]) -> str:
    was, now = old.get(name), new.get(name)
    return "" if was == now else f"{name} {stable_json(now).decode()}, was {stable_json(was).decode()}"


def _tools(old: Manifest, new: Manifest) -> list[str]:
    was, now = {part.name: part for part in old.tools}, {part.name: part for part in new.tools}
    lines = [f"{name} is new: {now[name].effect}" for name in sorted(now.keys() - was.keys())]
    lines += [f"{name} is gone" for name in sorted(was.keys() - now.keys())]
    for name in sorted(was.keys() & now.keys()):
        before, after = was[name], now[name]
        if before.effect != after.effect:
            lines.append(f"{name} is a {after.effect}, was a {before.effect}")
        if before.schema != after.schema:
            lines.append(f"{name} has another name, description or schema")
        elif before.digest != after.digest:
            lines.append(f"{name} has other code, with the same schema")
    return lines


def _policy(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    if old == new:
        return []
    if not old or not new:
        rules = f"rules of its own, in {', '.join(sorted(new or old))}"
        return [rules if new else f"no {rules}: that of the worker counts"]
    try:
        changes = compare(PolicySet.compile(old), PolicySet.compile(new))
    except PolicyInvalid as error:
        return [f"it cannot be read here: {error.what}"]
    lines = [f"{change.rule} is {change.how}: {line}" for change in changes for line in change.lines]
    return lines or ["its words differ, and no rule does"]


def _filters(old: Manifest, new: Manifest) -> list[str]:
    was, now = (None if one.filters is msgspec.UNSET else one.filters for one in (old, new))
    try:
        return changes(was, now)
    except FiltersInvalid as error:
        return [f"they cannot be read here: {error.what}"]


def _budget(old: BudgetRecord, new: BudgetRecord) -> list[str]:
    lines = []
    for name in BudgetRecord.__struct_fields__:
        was, now = getattr(old, name), getattr(new, name)
        if was != now:
            lines.append(f"{'money' if name == 'nano' else name}: {_limit(name, now)}, was {_limit(name, was)}")
    return lines


def _limit(name: str, value: float) -> str:
    if not value:
        return "no limit" if name != "retries" else "the setting"
    if name == "nano":
        return show_usd(int(value))
    return "none" if value < 0 else f"{value:,g}"
