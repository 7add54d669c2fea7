"""Unit tests of a policy: ``*.test.yaml`` beside it. A call, what came before it in its run, and the verdict expected.

version: 1
tests:
  - name: the third small refund is over the sum
    call: {tool: refund, args: {amount_cents: 4000}}
    before:
      - {tool: refund, args: {amount_cents: 4000}, ago: 10 min}
    expect: {verdict: deny, rule: enough}
"""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from penstock.rules.policy.explaining import decide_safely
from penstock.rules.policy.measures import Uses, parse_seconds
from penstock.rules.policy.policy_set import TEST_ENDINGS, PolicyCall, PolicySet, use_of
from penstock.rules.policy.reading import EFFECTS, RISKS, check_keys, check_version
from penstock.rules.policy.source import Complaints, Node, Place, nearest, read_yaml
from penstock.rules.verdict import Decision, Verdict

TESTS_MAX = 2000
BEFORE_MAX = 1000
NOW_US = 1_767_225_600_000_000  # 2026-01-01: tests have no clock
_TEXTS = ("tool", "effect", "risk", "agent", "release", "environment", "tenant", "behalf")
_CALL_KEYS = (*_TEXTS, "customer", "tags", "args", "taint", "approved")


@dataclass(slots=True, frozen=True)
class CallText:
    """A call as a test or a command describes it."""

    call: PolicyCall
    before: tuple[tuple[str, Any, int], ...] = ()  # tool, arguments, microseconds ago

    def made(self, policy: PolicySet) -> PolicyCall:
        """For this policy: the calls before it count in its sums."""
        uses = Uses()
        for number, (tool, args, ago) in enumerate(self.before):
            uses.add(f"before {number}", use_of(tool, args, NOW_US - ago, policy.paths))
        call = self.call
        return PolicyCall(
            call.tool,
            call.effect,
            call.risk,
            call.args,
            call.agent,
            call.release,
            call.environment,
            call.tenant,
            call.behalf,
            call.tags,
            call.taint,
            uses,
            NOW_US,
            "now",
            call.approved,
        )


@dataclass(slots=True, frozen=True)
class Case:
    """One test. ``rule``: the name of the rule that must have decided; None = any, "" = none did."""

    name: str
    call: CallText
    verdict: Verdict
    rule: str | None
    place: Place


@dataclass(slots=True, frozen=True)
class CaseResult:
    """What came of one."""

    case: Case
    decision: Decision

    @property
    def passed(self) -> bool:
        return self.decision.verdict is self.case.verdict and self.case.rule in (None, self.decision.clause)

    def words(self) -> str:
        """What was expected and what came."""
        decision, case = self.decision, self.case
        by = "" if case.rule is None else f" by {case.rule or 'no rule'}"
        return (
            f"{case.place}: {case.name}: expected {case.verdict.name.lower()}{by},"
            f" got {decision.verdict.name.lower()} by {decision.clause or 'no rule'} ({decision.reason})"
        )


@dataclass(slots=True)
class Report:
    """All tests of a policy; ``untested``: rules that decided none of them."""

    results: list[CaseResult] = field(default_factory=list)
    untested: list[str] = field(default_factory=list)

    @property
    def failed(self) -> list[CaseResult]:
        return [result for result in self.results if not result.passed]


def run_cases(policy: PolicySet) -> Report:
    """Run the tests beside a policy.

    Raises:
        PolicyInvalid: a file of tests cannot be read.
    """
    report = Report()
    for name in sorted(policy.sources):
        if name.endswith(TEST_ENDINGS):
            for case in read_cases(name, policy.sources[name]):
                report.results.append(CaseResult(case, decide_safely(policy, case.call.made(policy))))
    decided = {result.decision.clause for result in report.results}
    report.untested = [rule.text.name for rule in policy.rules if rule.text.name not in decided]
    return report


def read_cases(file: str, text: str) -> list[Case]:
    """The tests of one file.

    Raises:
        PolicyInvalid: something is wrong with it; see `penstock.rules.policy.reading.read_rules`.
    """
    root, complaints = read_yaml(file, text), Complaints()
    cases: list[Case | None] = []
    if check_version(root, complaints, "test"):
        assert isinstance(root.value, dict)
        check_keys(root, ("version", "tests"), complaints)
        tests = root.value.get("tests")
        if tests is None or not isinstance(tests.value, list) or not 0 < len(tests.value) <= TESTS_MAX:
            place = tests.place if tests is not None else root.place
            complaints.add(place, "the file has no list of tests", f"list 1 to {TESTS_MAX:,} under `tests:`")
        else:
            cases = [_case(node, complaints) for node in tests.value]
    complaints.check()
    return [case for case in cases if case is not None]


def read_call(file: str, text: str) -> CallText:
    """One call by itself, as `penstock policy explain` takes it: what a test has under ``call``, and ``before``.

    Raises:
        PolicyInvalid: something is wrong with it.
    """
    root, complaints = read_yaml(file, text), Complaints()
    holder = root
    before: Node | None = None
    if isinstance(root.value, dict) and "call" in root.value:
        check_keys(root, ("call", "before"), complaints)
        holder, before = root.value["call"], root.value.get("before")
    call = _call(holder, before, complaints)
    complaints.check()
    return call


def _case(node: Node, complaints: Complaints) -> Case | None:
    if not isinstance(node.value, dict):
        complaints.add(node.place, f"a test is a mapping, not {node.kind}", "write `- name: …`")
        return None
    check_keys(node, ("name", "call", "before", "expect"), complaints)
    values = node.value
    for key in ("call", "expect"):
        if key not in values:
            complaints.add(node.place, f"the test has no {key}", f"add `{key}:`")
            return None
    name = values["name"].value if "name" in values else f"line {node.place.line}"
    call = _call(values["call"], values.get("before"), complaints)
    expect = values["expect"]
    if isinstance(expect.value, str):
        expect = Node(expect.place, {"verdict": expect}, {"verdict": expect.place})
    if not isinstance(expect.value, dict) or "verdict" not in expect.value:
        complaints.add(expect.place, "expect names no verdict", "write `expect: {verdict: deny, rule: name}`")
        return None
    check_keys(expect, ("verdict", "rule"), complaints)
    verdict = str(expect.value["verdict"].value)
    if verdict.upper() not in Verdict.__members__:
        fix = nearest(verdict, [member.lower() for member in Verdict.__members__])
        complaints.add(expect.value["verdict"].place, f"{verdict} is no verdict", fix)
        return None
    rule = expect.value.get("rule")
    named = None if rule is None else "" if rule.value is None or rule.value == "none" else str(rule.value)
    return Case(str(name)[:200], call, Verdict[verdict.upper()], named, node.place)


def _call(node: Node, before: Node | None, complaints: Complaints) -> CallText:
    call = PolicyCall("")
    if not isinstance(node.value, dict) or "tool" not in node.value:
        complaints.add(node.place, "a call names a tool", "write `call: {tool: refund, args: {…}}`")
        return CallText(call)
    check_keys(node, _CALL_KEYS, complaints)
    texts = {key: _text(node.value[key], key, complaints) for key in _TEXTS if key in node.value}
    call = dataclasses.replace(PolicyCall(""), **texts)  # type: ignore[arg-type]
    _check_known(node, "effect", call.effect, EFFECTS, complaints)
    _check_known(node, "risk", call.risk, RISKS, complaints)
    values = node.value
    call.args = values["args"].plain() if "args" in values else {}
    call.tags = _texts(values.get("tags"), "tags", complaints)
    call.taint = _texts(values.get("taint"), "taint", complaints)
    if "customer" in values:
        call.tags = {**call.tags, "customer": _text(values["customer"], "customer", complaints)}
    if "approved" in values:
        call.approved = values["approved"].value is True
    return CallText(call, _before(before, call.tool, complaints))


def _before(node: Node | None, tool: str, complaints: Complaints) -> tuple[tuple[str, Any, int], ...]:
    if node is None:
        return ()
    if not isinstance(node.value, list) or len(node.value) > BEFORE_MAX:
        complaints.add(node.place, "before is no list of calls", f"list at most {BEFORE_MAX:,}, oldest first")
        return ()
    found = []
    for one in node.value:
        if not isinstance(one.value, dict):
            complaints.add(one.place, f"a call is a mapping, not {one.kind}", "write `- {tool: refund, args: {…}}`")
            continue
        check_keys(one, ("tool", "args", "ago"), complaints)
        name = _text(one.value["tool"], "tool", complaints) if "tool" in one.value else tool
        args = one.value["args"].plain() if "args" in one.value else {}
        found.append((name, args, _ago(one.value.get("ago"), complaints)))
    return tuple(found)


def _ago(node: Node | None, complaints: Complaints) -> int:
    if node is None:
        return 0
    try:
        return int(parse_seconds(str(node.value)) * 1e6)
    except ValueError as error:
        complaints.add(node.place, "ago is no duration", str(error))
        return 0


def _text(node: Node, key: str, complaints: Complaints) -> str:
    if not isinstance(node.value, str):
        complaints.add(node.place, f"{key} is {node.kind}", "write a text; quote it if need be")
        return ""
    return node.value


def _texts(node: Node | None, key: str, complaints: Complaints) -> dict[str, str]:
    if node is None:
        return {}
    if not isinstance(node.value, dict):
        complaints.add(node.place, f"{key} is {node.kind}", "write a mapping of texts")
        return {}
    return {name: _text(value, key, complaints) for name, value in node.value.items()}


def _check_known(node: Node, key: str, value: str, known: tuple[str, ...], complaints: Complaints) -> None:
    assert isinstance(node.value, dict)
    if value not in known:
        complaints.add(node.value[key].place, f"{value!r} is no {key}", nearest(value, known))
