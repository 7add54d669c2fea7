"""From the nodes of a file to rules: every name known, every type checked, every problem with its place."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from penstock.events import ApprovalTerms
from penstock.rules.policy.condition_reading import EFFECTS, RISKS, read_condition
from penstock.rules.policy.conditions import Condition
from penstock.rules.policy.measures import parse_seconds
from penstock.rules.policy.source import Complaints, Node, Place, kind_of, nearest, read_yaml
from penstock.rules.verdict import Verdict

VERSION = 1
RULES_MAX = 1000
"""Of one file. All files together: `penstock.rules.policy.policy_set.ALL_RULES_MAX`."""
CONDITIONS_MAX = 50
TEXT_MAX = 1000
COUNT_MAX = 10
ROLES_MAX = 20
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}\Z")
_VERDICTS = {"allow": Verdict.ALLOW, "flag": Verdict.FLAG, "hold": Verdict.HOLD, "deny": Verdict.DENY}
_NEEDED = ("name", "owner", "reviewed", "reason", "then")
_RULE_KEYS = (*_NEEDED, "when", "unless", "approvers")
_FILE_KEYS = ("version", "rules", "policies")

__all__ = ["EFFECTS", "RISKS", "RuleText", "read_rules"]


@dataclass(slots=True, frozen=True)
class RuleText:
    """A rule as it was written, checked.

    ``reviewed`` is the date (YYYY-MM-DD) on which somebody last looked at it; ``terms``: who must allow, of a hold.
    """

    name: str
    owner: str
    reviewed: str
    reason: str
    when: tuple[Condition, ...]
    unless: tuple[Condition, ...]
    then: Verdict
    terms: ApprovalTerms | None
    place: Place

    def plain(self) -> dict[str, Any]:
        """What the version is made from: all but the place and the layout."""
        terms = self.terms
        return {
            "name": self.name,
            "owner": self.owner,
            "reviewed": self.reviewed,
            "reason": self.reason,
            "when": {condition.key: condition.source for condition in self.when},
            "unless": {condition.key: condition.source for condition in self.unless},
            "then": self.then.name.lower(),
            "approvers": None if terms is None else {name: getattr(terms, name) for name in terms.__struct_fields__},
        }


def read_rules(file: str, text: str | bytes) -> list[RuleText]:
    """The rules of one file, in order.

    Raises:
        PolicyInvalid: something is wrong; ``fields["problems"]`` has each with file, line, column and what to do.
    """
    root = read_yaml(file, text)
    complaints = Complaints()
    rules = _file(root, complaints)
    complaints.check()
    return rules


def check_version(root: Node, complaints: Complaints, what: str) -> bool:
    """Whether the file is one, and of a version that is understood here."""
    if not isinstance(root.value, dict):
        complaints.add(root.place, f"a {what} file is a mapping, not {root.kind}", "begin it with `version: 1`")
        return False
    version = root.value.get("version")
    if version is None:
        complaints.add(root.place, "the file does not say its version", "begin it with `version: 1`")
        return False
    if type(version.value) is int and version.value > VERSION:
        words = f"version {version.value} is newer than this Penstock understands ({VERSION})"
        complaints.add(version.place, words, "upgrade Penstock on every worker first, or write it in version 1")
        return False
    if version.value != VERSION or type(version.value) is not int:
        complaints.add(version.place, f"{version.value!r} is no version", "write `version: 1`")
        return False
    return True


def check_keys(node: Node, known: tuple[str, ...], complaints: Complaints) -> None:
    """Refuse names that mean nothing here: a misspelt condition would otherwise be one that always holds."""
    for name, place in node.keys.items():
        if name not in known:
            complaints.add(place, f"{name!r} means nothing here", nearest(name, known))


def _file(root: Node, complaints: Complaints) -> list[RuleText]:
    if not check_version(root, complaints, "policy"):
        return []
    assert isinstance(root.value, dict)
    check_keys(root, _FILE_KEYS, complaints)
    if "rules" in root.value and "policies" in root.value:
        complaints.add(root.keys["policies"], "both rules and policies", "they are the same: put all under rules")
        return []
    holder = root.value.get("rules") or root.value.get("policies")
    if holder is None or not isinstance(holder.value, list) or not holder.value:
        place = root.place if holder is None else holder.place
        complaints.add(place, "the file has no rules", "list at least one under `rules:`, or take the file away")
        return []
    if len(holder.value) > RULES_MAX:
        words = f"{len(holder.value):,} rules in one file; the bound is {RULES_MAX:,}"
        complaints.add(holder.place, words, "spread them over several files, or use sets of names")
        return []
    found = [_rule(node, complaints) for node in holder.value]
    return [rule for rule in found if rule is not None]


def _rule(node: Node, complaints: Complaints) -> RuleText | None:
    if not isinstance(node.value, dict):
        complaints.add(node.place, f"a rule is a mapping, not {node.kind}", "write `- name: …`")
        return None
    before = len(complaints.found)
    check_keys(node, _RULE_KEYS, complaints)
    for name in _NEEDED:
        if name not in node.value:
            fix = "every rule says who answers for it, when it was last reviewed, and why it is there"
            complaints.add(
                node.place, f"the rule has no {name}", fix if name != "then" else "add `then: allow|flag|hold|deny`"
            )
    name = _text(node, "name", complaints, _check_name)
    owner, reason = _text(node, "owner", complaints), _text(node, "reason", complaints)
    reviewed = _text(node, "reviewed", complaints, _check_date)
    when, unless = _conditions(node, "when", complaints), _conditions(node, "unless", complaints)
    then = _verdict(node, complaints)
    terms = _terms(node, then, complaints)
    if len(complaints.found) > before or then is None:
        return None
    return RuleText(name, owner, reviewed, reason, when, unless, then, terms, node.place)


def _text(node: Node, key: str, complaints: Complaints, check: Callable[[str], str] | None = None) -> str:
    assert isinstance(node.value, dict)
    found = node.value.get(key)
    if found is None:
        return ""
    if not isinstance(found.value, str) or not found.value.strip() or len(found.value) > TEXT_MAX:
        words = f"{key} is {found.kind}" if not isinstance(found.value, str) else f"{key} is empty or too long"
        complaints.add(found.place, words, f"write a text of 1 to {TEXT_MAX:,} characters")
        return ""
    fix = check(found.value) if check is not None else ""
    if fix:
        complaints.add(found.place, f"{found.value[:80]!r} is no {key} of a rule", fix)
    return found.value.strip()


def _check_name(text: str) -> str:
    return "" if _NAME.match(text) else "use lower-case letters, digits, - _ and ., at most 64"


def _check_date(text: str) -> str:
    try:
        return "" if date.fromisoformat(text).isoformat() == text else "write it as YYYY-MM-DD"
    except ValueError:
        return "write it as YYYY-MM-DD"


def _verdict(node: Node, complaints: Complaints) -> Verdict | None:
    assert isinstance(node.value, dict)
    found = node.value.get("then")
    if found is None:
        return None
    if not isinstance(found.value, str) or found.value not in _VERDICTS:
        shown = found.value if isinstance(found.value, str) else found.kind
        complaints.add(found.place, f"then: {shown} is no verdict", nearest(str(shown), list(_VERDICTS)))
        return None
    return _VERDICTS[found.value]


def _conditions(node: Node, key: str, complaints: Complaints) -> tuple[Condition, ...]:
    assert isinstance(node.value, dict)
    found = node.value.get(key)
    if found is None:
        return ()
    if not isinstance(found.value, dict) or not found.value:
        fix = f"write `{key}:` with lines below it like `tool: refund`, or leave it out"
        complaints.add(found.place, f"{key} is {found.kind}, or empty", fix)
        return ()
    if len(found.value) > CONDITIONS_MAX:
        complaints.add(found.place, f"more than {CONDITIONS_MAX} conditions", "make several rules of it")
        return ()
    read = (read_condition(name, found.keys[name], value, complaints) for name, value in found.value.items())
    return tuple(condition for condition in read if condition is not None)


def _terms(node: Node, then: Verdict | None, complaints: Complaints) -> ApprovalTerms | None:
    assert isinstance(node.value, dict)
    found = node.value.get("approvers")
    if found is None:
        return None
    if then is not Verdict.HOLD:
        complaints.add(found.place, "approvers of a rule that holds nothing", "say `then: hold`, or leave them out")
    if not isinstance(found.value, dict):
        complaints.add(found.place, f"approvers are {found.kind}", "write `approvers: {roles: [finance], count: 1}`")
        return None
    check_keys(found, ("roles", "count", "within", "escalate"), complaints)
    values = found.value
    escalate = values.get("escalate")
    to: list[str] = []
    after = 0.0
    if escalate is not None:
        if isinstance(escalate.value, dict) and {"to", "after"} <= escalate.value.keys():
            check_keys(escalate, ("to", "after"), complaints)
            to, after = _roles(escalate.value, "to", complaints), _seconds(escalate.value, "after", complaints)
        else:
            complaints.add(escalate.place, "escalate needs to and after", "write `escalate: {to: [lead], after: 1 h}`")
    within = _seconds(values, "within", complaints)
    if within and after >= within:
        assert escalate is not None
        complaints.add(
            escalate.place, "it escalates after the time to decide is over", "make `after` less than `within`"
        )
    return ApprovalTerms(
        roles=_roles(values, "roles", complaints),
        count=_count(values, complaints),
        seconds=within,
        escalate_to=to,
        escalate_after_seconds=after,
    )


def _count(values: Mapping[str, Node], complaints: Complaints) -> int:
    found = values.get("count")
    if found is None:
        return 1
    if type(found.value) is not int or not 1 <= found.value <= COUNT_MAX:
        complaints.add(found.place, "count is no number of people", f"write 1 to {COUNT_MAX}")
        return 1
    return found.value


def _roles(values: Mapping[str, Node], key: str, complaints: Complaints) -> list[str]:
    found = values.get(key)
    if found is None:
        return []
    nodes = found.value if isinstance(found.value, list) else [found]
    roles: list[str] = []
    for node in nodes:
        if not isinstance(node.value, str) or not 0 < len(node.value) <= 64 or not node.value.isprintable():
            complaints.add(node.place, f"a role is {kind_of(node.value)}", "write its name, of at most 64 characters")
        else:
            roles.append(node.value)
    if not nodes or len(nodes) > ROLES_MAX:
        complaints.add(found.place, f"{len(nodes)} roles", f"name 1 to {ROLES_MAX}, or leave {key} out")
    return sorted(set(roles))


def _seconds(values: Mapping[str, Node], key: str, complaints: Complaints) -> float:
    found = values.get(key)
    if found is None:
        return 0.0
    try:
        seconds = parse_seconds(found.value) if isinstance(found.value, str) else 0.0
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= 366 * 86_400:
        complaints.add(found.place, f"{key} is no duration", "write it like 90 s, 15 min, 1 h or 2 d")
        return 0.0
    return seconds
