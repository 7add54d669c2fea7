"""What a change of a policy changes, in words: rules that came, went, or say something else."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from penstock.rules.policy.conditions import show
from penstock.rules.policy.policy_set import PolicySet


@dataclass(slots=True, frozen=True)
class Change:
    """One rule's. ``how``: added | removed | changed; ``lines``: what, each in words."""

    rule: str
    how: str
    lines: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        return {"rule": self.rule, "how": self.how, "lines": list(self.lines)}


def compare(old: PolicySet, new: PolicySet) -> list[Change]:
    """The rules that differ, by name: those that are there now in their order, then those that went.

    A rule that was given another name has gone and come.
    """
    before = {rule.text.name: rule.text.plain() for rule in old.rules}
    after = {rule.text.name: rule.text.plain() for rule in new.rules}
    changes = []
    for name, rule in after.items():
        if name not in before:
            changes.append(Change(name, "added", tuple(_said(rule))))
        elif before[name] != rule:
            changes.append(Change(name, "changed", tuple(_differing(before[name], rule))))
    changes += [Change(name, "removed", tuple(_said(rule))) for name, rule in before.items() if name not in after]
    return changes


def _said(rule: Mapping[str, Any]) -> list[str]:
    lines = [f"{rule['then']}s when {key} {show(source)}" for key, source in rule["when"].items()]
    lines = lines or [f"{rule['then']}s every call"]
    return lines + [f"unless {key} {show(source)}" for key, source in rule["unless"].items()]


def _differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    lines = []
    if old["then"] != new["then"]:
        lines.append(f"{new['then']}s what it would {old['then']}")
    for part in ("when", "unless"):
        was, now = old[part], new[part]
        for key in now:
            if key not in was:
                lines.append(f"{part}: also asks for {key} {show(now[key])}")
            elif was[key] != now[key]:
                lines.append(f"{part}: {key} {show(now[key])}, was {show(was[key])}")
        lines += [f"{part}: asks no more for {key} {show(was[key])}" for key in was if key not in now]
    if old["approvers"] != new["approvers"]:
        lines.append(f"approvers: {_approvers(new['approvers'])}, were {_approvers(old['approvers'])}")
    lines += [f"{key}: {new[key]}, was {old[key]}" for key in ("owner", "reviewed", "reason") if old[key] != new[key]]
    return lines


def _approvers(terms: Mapping[str, Any] | None) -> str:
    if terms is None:
        return "whoever may"
    said = [f"{terms['count']} of {', '.join(terms['roles']) or 'whoever may'}"]
    if terms["seconds"]:
        said.append(f"within {terms['seconds']:g} s")
    if terms["escalate_to"]:
        said.append(f"after {terms['escalate_after_seconds']:g} s also {', '.join(terms['escalate_to'])}")
    return " ".join(said)
