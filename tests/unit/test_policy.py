"""The policy language: what is read, what is refused and where, what rules come to, sums, tests, differences."""

import random
from pathlib import Path
from typing import Any

import pytest

from penstock.adapters.policy_files import PolicyFiles
from penstock.events import ApprovalTerms, BudgetRecord
from penstock.kernel.errors import PolicyInvalid
from penstock.rules import policy_rule
from penstock.rules.default import TOOL_RULES
from penstock.rules.policy import conditions
from penstock.rules.policy.cases import run_cases
from penstock.rules.policy.comparing import compare
from penstock.rules.policy.explaining import decide_safely, explain
from penstock.rules.policy.measures import Uses, parse_measure
from penstock.rules.policy.policy_set import PolicyCall, PolicySet, use_of
from penstock.rules.policy.proving import analyse
from penstock.rules.verdict import CallFacts, Decision, RuleSet, RunFacts, Verdict


def rule(name: str = "one", then: str = "deny", when: str = "", unless: str = "", more: str = "") -> str:
    lines = [
        f"  - name: {name}",
        "    owner: ada",
        "    reviewed: 2026-10-01",
        "    reason: because",
        f"    then: {then}",
    ]
    lines += [f"    when: {when}"] if when else []
    lines += [f"    unless: {unless}"] if unless else []
    return "\n".join(lines) + "\n" + more


def policy(*rules: str, **files: str) -> PolicySet:
    return PolicySet.compile({"p.yaml": "version: 1\nrules:\n" + "".join(rules), **files})


def verdict(made: PolicySet, **call: Any) -> str:
    decision = decide_safely(made, PolicyCall(**{"tool": "pay", "uses": Uses(), **call}))
    return f"{decision.verdict.name.lower()} {decision.clause}".strip()


def problems(text: str) -> list[str]:
    with pytest.raises(PolicyInvalid) as caught:
        PolicySet.compile({"p.yaml": text})
    return [f"{one['line']}:{one['column']} {one['what']} / {one['fix']}" for one in caught.value.fields["problems"]]


MISSING: dict[str, Any] = {}
TYPE, NAN = {"n": "5"}, {"n": float("nan")}


@pytest.mark.parametrize(
    ("then", "holds", "undecided", "fails"),
    [
        ("deny", "deny one", "deny one", "hold"),
        ("hold", "hold one", "hold one", "hold"),
        ("flag", "hold", "hold", "hold"),
        ("allow", "allow one", "hold", "hold"),
    ],
)
def test_the_truth_table_of_a_write(then: str, holds: str, undecided: str, fails: str) -> None:
    """What nobody allows is held: so what is not granted, and a mark on what is held, come to a hold."""
    made = policy(rule(then=then, when="{args.n: {min: 5}}"))
    assert verdict(made, args={"n": 5}) == holds
    assert verdict(made, args={"n": 4}) == fails
    for args in (MISSING, TYPE, NAN, {"n": True}, {"n": None}, {"n": [5]}, [5], "n", None, {"n": float("inf")}):
        assert verdict(made, args=args) == undecided, args


@pytest.mark.parametrize(("then", "undecided"), [("deny", "deny one"), ("hold", "hold one"), ("flag", "flag one")])
def test_of_a_read_what_is_undecided_is_strict_too(then: str, undecided: str) -> None:
    made = policy(rule(then=then, when="{args.n: {min: 5}}"))
    assert verdict(made, effect="read", args={}) == undecided
    assert verdict(made, effect="read", args={"n": 1}) == "allow"


def test_one_condition_that_fails_decides_whatever_the_others_cannot() -> None:
    made = policy(rule(when="{args.coupon: {present: true, matches: 'X.*'}}"))
    assert verdict(made, effect="read", args={}) == "allow"
    assert verdict(made, effect="read", args={"coupon": "XY"}) == "deny one"
    assert verdict(made, effect="read", args={"coupon": 7}) == "deny one"


@pytest.mark.parametrize(
    ("then", "holds", "undecided", "fails"),
    [("deny", "allow", "deny one", "deny one"), ("allow", "hold", "hold", "allow one")],
)
def test_what_stands_under_unless(then: str, holds: str, undecided: str, fails: str) -> None:
    made = policy(rule(then=then, when="{tool: pay}", unless="{args.n: {min: 5}}"))
    effect = "read" if then == "deny" else "write"
    assert verdict(made, effect=effect, args={"n": 5}) == holds
    assert verdict(made, effect=effect, args={}) == undecided
    assert verdict(made, effect=effect, args={"n": 1}) == fails


def test_the_strictest_wins_in_whatever_order() -> None:
    rules = [rule(then, then, "{tool: pay}") for then in ("allow", "flag", "hold", "deny")]
    for strictest in range(4):
        some = rules[: strictest + 1]
        random.Random(strictest).shuffle(some)
        name = ("allow", "flag", "hold", "deny")[strictest]
        assert verdict(policy(*some)) == f"{name} {name}"


def test_what_no_rule_allows() -> None:
    made = policy(rule("a", "allow", "{tool: pay}"), rule("h", "allow", "{tool: wipe, risk: [low, high]}"))
    assert verdict(made) == "allow a"
    assert verdict(made, tool="mail") == "hold"
    assert verdict(made, tool="mail", effect="read") == "allow"
    assert verdict(made, risk="high") == "hold", "high risk goes by its name only"
    assert verdict(made, tool="wipe", risk="high") == "allow h"
    assert verdict(made, tool="mail", effect="read", risk="high") == "hold"
    assert verdict(made, risk="prohibited", approved=True) == "deny"
    assert verdict(made, effect="strange") == verdict(made, risk="strange") == "deny"
    assert verdict(policy(rule("not-low", "allow", "{tool: pay, risk: {not: low}}")), risk="high") == "hold"


def test_a_person_lifts_holds_and_no_denial() -> None:
    made = policy(rule("h", "hold", "{tool: pay}"), rule("d", "deny", "{args.n: {above: 9}}"))
    assert verdict(made, args={"n": 1}, approved=True) == "allow h"
    assert verdict(made, args={"n": 10}, approved=True) == "deny d"
    assert verdict(made, args={}, approved=True) == "deny d"


def held(name: str, terms: str) -> str:
    return rule(name, "hold", "{tool: pay}", more=f"    approvers: {terms}\n")


def test_who_must_approve_fulfils_every_rule_that_holds() -> None:
    one = held("a", "{roles: [fin, ops], count: 1, within: 2 h, escalate: {to: [cfo], after: 1 h}}")
    two = held("b", "{roles: [ops, law], count: 2, within: 1 d}")
    decision = policy(one, two).decide(PolicyCall("pay", uses=Uses()))
    assert decision.terms == ApprovalTerms(["ops"], 2, 7200.0, ["cfo"], 3600.0)
    decision = policy(one, held("b", "{count: 3}")).decide(PolicyCall("pay", uses=Uses()))
    assert decision.terms == ApprovalTerms(["fin", "ops"], 3, 7200.0, ["cfo"], 3600.0)
    odd = policy(one, held("b", "{roles: [law]}")).decide(PolicyCall("pay", uses=Uses()))
    assert (odd.verdict, odd.code) == (Verdict.DENY, "policy_conflict")


@pytest.mark.parametrize(
    ("test", "yes", "no", "undecided"),
    [
        ("5", [5, 5.0], [4, 5.5], ["5", True, None]),
        ("'5'", ["5"], ["6", ""], [5, None, ["5"]]),
        ("true", [True], [False], [1, "true", None]),
        ("null", [None], [0, "", False, []], []),
        ("[USD, EUR]", ["USD"], ["usd"], [5, ["USD"]]),
        ("[1, a]", [1, "a"], [2, "b"], [True, None, []]),
        ("{not: a}", ["b"], ["a"], [5, None]),
        ("{not_in: [a, b]}", ["c"], ["a"], [5]),
        ("{min: 1, max: 3}", [1, 3, 2.5], [0, 4], ["2", True, float("nan"), float("-inf")]),
        ("{above: 1, below: 3}", [2], [1, 3], [None]),
        ("{matches: '[a-z]+@acme\\.com'}", ["a@acme.com"], ["a@acme.com.evil", "x a@acme.com", "a@acme.com\n"], [5]),
        ("{starts_with: ab}", ["abc"], ["b"], [5]),
        ("{ends_with: .de}", ["x.de"], ["x.de."], [[".de"]]),
        ("{contains: b}", ["abc"], ["ac"], [5, ["a", "b"], {"b": 1}]),
        ("{length: {max: 2}}", ["ab", ""], ["abc"], [5, None, [1], {}]),
        ("{size: {max: 2}}", [[1, 2], {}], [[1, 2, 3]], [5, None, "ab"]),
        ("{each: {min: 1}}", [[], [1, 2]], [[1, 0], ["x", 0]], [[1, "x"], 5]),
        ("{some: {min: 1}}", [[0, 1], ["x", 1]], [[], [0]], [[0, "x"], 5]),
        ("{present: true}", [0, "", []], [None], []),
    ],
)
def test_tests(test: str, yes: list[Any], no: list[Any], undecided: list[Any]) -> None:
    [compiled] = policy(rule(when=f"{{args.x: {test}}}")).rules
    [condition] = compiled.text.when
    assert [condition.of(value) for value in yes] == [True] * len(yes)
    assert [condition.of(value) for value in no] == [False] * len(no)
    assert [condition.of(value) for value in undecided] == [None] * len(undecided)
    if "present" not in test:
        assert condition.of(conditions.MISSING) is None


def test_paths_tags_names_and_taint() -> None:
    assert verdict(policy(rule(when="{'args.to.lines[1].n': 5}")), args={"to": {"lines": [{}, {"n": 5}]}}) == "deny one"
    assert verdict(policy(rule(when="{'args.l[-1]': 5}")), args={"l": [1, 5]}) == "deny one"
    assert verdict(policy(rule(when="{tags.tier: gold}")), tags={"tier": "gold"}) == "deny one"
    assert verdict(policy(rule(when="{customer: acme-*}")), tags={"customer": "acme-7"}) == "deny one"
    assert verdict(policy(rule(when="{customer: acme}"))) == "deny one", "whoever names no customer does not escape"
    assert verdict(policy(rule(when="{customer: {present: true, is: acme}}"))) == "hold"
    assert verdict(policy(rule(when="{tool: [mail, 'p*']}"))) == "deny one"
    assert verdict(policy(rule(when="{tool: {not: 'p*'}}"))) == "hold"
    assert verdict(policy(rule(when="{environment: prod, agent: x}")), environment="prod", agent="x") == "deny one"
    tainted = {"web": "untrusted"}
    for when, expected in (
        ("any", "deny one"),
        ("untrusted", "deny one"),
        ("{from: web}", "deny one"),
        ("none", "hold"),
    ):
        assert verdict(policy(rule(when=f"{{taint: {when}}}")), taint=tainted) == expected
    for when, expected in (("any", "hold"), ("untrusted", "hold"), ("{from: web}", "hold"), ("none", "deny one")):
        assert verdict(policy(rule(when=f"{{taint: {when}}}"))) == expected


def used(made: PolicySet, *before: tuple[str, Any, int]) -> Uses:
    uses = Uses()
    for number, (tool, args, at) in enumerate(before):
        uses.add(str(number), use_of(tool, args, at, made.paths))
    return uses


def test_sums_and_counts() -> None:
    made = policy(rule(when="{tool: pay, sum(args.n): {above: 10}}"))
    assert verdict(made, args={"n": 10}) == "hold"
    assert verdict(made, args={"n": 4}, uses=used(made, ("pay", {"n": 7}, 0), ("mail", {"n": 99}, 0))) == "deny one"
    assert verdict(made, args={"n": 3}, uses=used(made, ("pay", {"n": 7}, 0))) == "hold"
    assert verdict(made, args={}, uses=used(made, ("pay", {"n": 1}, 0))) == "deny one", "nobody knows what it comes to"
    assert verdict(made, args={"n": 1}, uses=used(made, ("pay", {"n": "x"}, 0))) == "deny one"
    assert verdict(made, args={"n": 1}, uses=None) == "deny one", "the calls before are not known"
    tenths = policy(rule(when="{tool: pay, sum(args.n): {above: 0.3}}"))
    assert verdict(tenths, args={"n": 0.1}, uses=used(tenths, ("pay", {"n": 0.2}, 0))) == "deny one"
    often = policy(rule(when="{'count() over pay, mail': {above: 2}}"))
    assert verdict(often, tool="mail", uses=used(often, ("pay", {}, 0), ("pay", {}, 0))) == "deny one"
    assert verdict(often, tool="other", uses=used(often, ("pay", {}, 0), ("pay", {}, 0))) == "hold"


def test_windows() -> None:
    hour = 3_600_000_000
    made = policy(rule(when="{tool: pay, 'sum(args.n) within 1 h': {above: 10}}"))
    uses = used(made, ("pay", {"n": 9}, 0), ("pay", {"n": 5}, hour // 2))
    assert verdict(made, args={"n": 5}, at=hour - 1, uses=uses) == "deny one"
    assert verdict(made, args={"n": 5}, at=hour, uses=uses) == "hold"
    last = policy(rule(when="{'sum(args.n) over pay last 2': {above: 10}}"))
    uses = used(last, ("pay", {"n": 100}, 0), ("pay", {"n": 5}, 0))
    assert verdict(last, args={"n": 5}, uses=uses) == "hold"
    assert verdict(last, args={"n": 6}, uses=uses) == "deny one"
    assert verdict(last, tool="mail", args={"n": 0}, uses=uses) == "deny one", "of that tool the last two are these"


def test_a_call_that_did_nothing_is_taken_out_and_one_asked_again_counts_once() -> None:
    made = policy(rule(when="{tool: pay, sum(args.n): {above: 10}}"))
    uses = used(made, ("pay", {"n": 8}, 0))
    call = {"args": {"n": 5}, "uses": uses, "path": "0"}
    assert verdict(made, **call) == "hold", "it is the first call itself that is asked about"
    assert verdict(made, **{**call, "path": "1"}) == "deny one"
    uses.take_out("0")
    assert verdict(made, **{**call, "path": "1"}) == "hold"


def test_kept_sums_are_those_counted_anew() -> None:
    chance = random.Random(7)
    keys = (
        "sum(args.n) over pay",
        "sum(args.n) over pay within 1 min",
        "sum(args.n) over pay last 3",
        "count() over *",
    )
    made = policy(rule(when="{" + ", ".join(f"'{key}': {{min: 0}}" for key in keys) + "}"))
    kept = Uses()
    before: list[tuple[str, Any, int]] = []
    for number in range(150):
        args = {"n": chance.choice([1, 2.5, 0.1, -3, "x"] if number % 50 == 0 else [1, 2.5, 0.1, -3])}
        at, tool = number * 7_000_000, chance.choice(["pay", "mail"])
        for key in keys:
            measure = parse_measure(key)
            asked = use_of(tool, args, at, made.paths)
            covers = (lambda name: True) if "*" in key else (lambda name: name == "pay")
            anew = used(made, *before).total(measure, covers, asked, "x")
            assert kept.total(measure, covers, asked, str(number)) == anew, (number, key)
        before.append((tool, args, at))
        kept.add(str(number), use_of(tool, args, at, made.paths))


BAD = [
    ("", "1:1 the file is empty"),
    ("- 1", "1:1 a policy file is a mapping, not a list"),
    ("rules: []", "1:1 the file does not say its version"),
    ("version: 2\nrules: []", "1:10 version 2 is newer than this Penstock understands (1) / upgrade Penstock"),
    ("version: '1'\nrules: []", "1:10 '1' is no version"),
    ("version: 1", "1:1 the file has no rules"),
    ("version: 1\nrules: []", "2:8 the file has no rules"),
    ("version: 1\nrules: [1]\nruls: []", "2:9 a rule is a mapping"),
    ("version: 1\nversion: 1", "2:1 'version' stands here a second time (first in line 1)"),
    ("a: &x [1]\nb: *x", "1:4 an anchor (&) is not accepted here"),
    ("a: *x", "1:4 an alias (*) is not accepted here"),
    ("a: !!python/object:os.system 1", "1:4 the tag tag:yaml.org,2002:python/object:os.system is not accepted"),
    ("a: {<<: {b: 1}}", "1:5 merging (<<) is not accepted"),
    ("version: 1\n---\nversion: 1", "2:1 a second document"),
    ("a: " + "[" * 40, "1:19 nested deeper than 16 levels"),
    ("version: 1\nrules:\n - [", "4:1 this is no YAML"),
    ("a: \x07", "1:1 this is no YAML"),
    ("? [a]\n: 1", "1:3 a list or mapping stands where a name is expected"),
]


@pytest.mark.parametrize(("text", "first"), BAD)
def test_files_that_are_refused(text: str, first: str) -> None:
    assert problems(text)[0].startswith(first)


@pytest.mark.parametrize(
    ("change", "to", "said"),
    [
        ("then: deny", "then: dney", "7:11 then: dney is no verdict / did you mean 'deny'?"),
        ("    owner: ada\n", "", "3:5 the rule has no owner"),
        ("2026-10-01", "01.10.2026", "5:15 '01.10.2026' is no reviewed of a rule / write it as YYYY-MM-DD"),
        ("name: one", "name: One Rule", "3:11 'One Rule' is no name of a rule"),
        ("tool: pay", "tol: pay", "8:12 'tol' is nothing that a rule can ask about / did you mean 'tool'?"),
        ("tool: pay", "tool: 7", "8:18 tool is a name, not a number"),
        ("tool: pay", "tool: yes", "8:18 yes is a text for some readers"),
        ("tool: pay", "effect: wirte", "8:20 'wirte' is no effect / did you mean 'write'?"),
        ("tool: pay", "risk: {in: [hgih]}", "8:24 'hgih' is no risk / did you mean 'high'?"),
        ("tool: pay", "args.n: {mni: 5}", "8:21 'mni' is no test / did you mean 'min'?"),
        ("tool: pay", "args.n: {min: '5'}", "8:26 min is a text / write a number, without quotes"),
        ("tool: pay", "args.n: {min: .nan}", "8:26 .nan is a number that readers of YAML take differently"),
        ("tool: pay", "args.n: {min: 1e999}", "8:26 a number too large to be exact"),
        ("tool: pay", "args.n: 0777", "8:20 0777 is a number that readers of YAML take differently"),
        ("tool: pay", "args.n: 99999999999999999999", "8:20 an integer beyond 2**53"),
        ("tool: pay", "args.n: {matches: '(a)\\1'}", "8:30 '(a)\\\\1' is no pattern: backreferences are not supported"),
        (
            "tool: pay",
            "args.n: {matches: '(a{999}){999}'}",
            "8:30 '(a{999}){999}' is no pattern: Compiled regex exceeds",
        ),
        ("tool: pay", "args.n: {matches: '[a'}", "8:30 '[a' is no pattern: unclosed character class"),
        ("tool: pay", "args.a b: 1", "8:12 'args.a b' cannot be read / 'a b' is no path"),
        ("tool: pay", "args.n: {}", "8:20 nothing is asked of it"),
        ("tool: pay", "args.n: {is: {a: 1}}", "8:25 is is compared with a mapping"),
        ("tool: pay", "sum(n): {max: 5}", "8:12 'sum(n)' cannot be read / a sum is over an argument"),
        ("tool: pay", "sum(args.n): 5, count() over: {max: 5}", "8:28 'count() over' cannot be read"),
        ("tool: pay", "sum(args.n) within 5 weeks: {max: 5}", "8:12 'sum(args.n) within 5 weeks' cannot be read"),
        ("tool: pay", "sum(args.n): {matches: a}", "8:26 'matches' is no test"),
        ("tool: pay", "taint: [any, web]", "8:19 any and none stand alone"),
        ("when: {tool: pay}", "when: {}", "8:11 when is a mapping, or empty"),
        ("then: deny", "then: deny\n    approvers: {roles: [a]}", "8:16 approvers of a rule that holds nothing"),
        ("then: deny", "then: hold\n    approvers: {count: 0}", "8:24 count is no number of people"),
        ("then: deny", "then: hold\n    approvers: {within: 5}", "8:25 within is no duration"),
        (
            "then: deny",
            "then: hold\n    approvers: {within: 1 h, escalate: {to: [a], after: 2 h}}",
            "8:40 it escalates after the time to decide is over",
        ),
    ],
)
def test_rules_that_are_refused(change: str, to: str, said: str) -> None:
    text = "version: 1\nrules:\n" + rule(when="{tool: pay}")
    assert change in text
    assert problems(text.replace(change, to))[0].startswith(said)


def test_all_that_is_wrong_is_said_at_once_and_in_order() -> None:
    text = "version: 1\nrules:\n" + rule("a", "dney") + rule("b", "alow") + rule("c", when="{tol: x}")
    assert [one.split(" ", 1)[0] for one in problems(text)] == ["7:11", "12:11", "18:12"]


def test_names_are_given_once_over_all_files() -> None:
    with pytest.raises(PolicyInvalid, match=r"q\.yaml:3:5: a second rule named 'one'; the first is at p\.yaml:3:5"):
        PolicySet.compile({name: "version: 1\nrules:\n" + rule() for name in ("p.yaml", "q.yaml")})


def test_what_is_too_much_is_refused() -> None:
    many = "version: 1\nrules:\n" + "".join(rule(f"r{number}") for number in range(1001))
    assert "1,001 rules in one file" in problems(many)[0]
    assert "the bound is 262,144" in problems("#" * 262_145)[0]
    laughs = "version: 1\nrules: [" + "[]," * 60_000 + "]"
    assert "more than 50,000 values" in problems(laughs)[0]
    names = "[" + ", ".join(f"n{number}" for number in range(2001)) + "]"
    assert "a set of 2,001 names" in problems("version: 1\nrules:\n" + rule(when=f"{{tool: {names}}}"))[0]


def test_the_version_is_of_what_the_rules_say() -> None:
    first = policy(rule(when="{tool: pay, args.n: {min: 5}}"))
    laid_out = PolicySet.compile(
        {"z.yaml": "# a remark\nversion: 1\nrules:\n" + rule(when="{args.n: {min: 5}, tool: 'pay'}")}
    )
    assert first.version == laid_out.version
    assert policy(rule(when="{tool: pay, args.n: {min: 6}}")).version != first.version
    assert len(first.version) == 64


def test_a_pattern_cannot_be_made_to_hang() -> None:
    made = policy(rule(when="{args.s: {matches: '(a+)+b'}}"))
    assert verdict(made, args={"s": "a" * 100_000}) == "hold"  # a backtracking engine would take for ever
    assert verdict(made, args={"s": "a" * 100_001}) == "deny one", "too long to be looked at"


def raising(_: Any) -> bool:
    raise ZeroDivisionError


def test_a_rule_that_raises_denies_at_the_gate() -> None:
    made = policy(rule("a", "allow", "{tool: pay, args.n: {min: 1}}"), rule("b", "flag", "{args.n: {min: 1}}"))
    object.__setattr__(made.rules[1].text.when[0], "tests", (raising,))
    call = PolicyCall("pay", args={"n": 1}, uses=Uses())
    facts = CallFacts("tool", "pay", "d", policy=lambda: made.decide(call))
    ruling = RuleSet("tool", [policy_rule.RULE]).decide(facts, RunFacts(BudgetRecord()))
    assert (ruling.verdict, ruling.code) == (Verdict.DENY, "rule_failed")
    assert verdict(made, args={"n": 1}) == "deny"


def test_nonsense_in_place_of_names_denies() -> None:
    made = policy(rule("a", "allow", "{tool: pay, agent: {not: x}}"))
    assert verdict(made, agent=7) == verdict(made, tool=None) == verdict(made, tool=["pay"]) == "deny"
    assert verdict(made, tenant=None) == "deny"


def test_a_verdict_carries_its_policy_and_rule_into_the_record() -> None:
    made = policy(rule("h", "hold", "{tool: pay}"))
    call = PolicyCall("pay", uses=Uses())
    facts = CallFacts("tool", "pay", "d", policy=lambda: made.decide(call))
    ruling = RuleSet("tool", [policy_rule.RULE]).decide(facts, RunFacts(BudgetRecord()))
    [recorded] = ruling.verdicts
    assert (recorded.policy, recorded.clause, recorded.code) == (made.version, "h", "policy_hold")


def test_the_rule_stands_beside_permission() -> None:
    names = [one.name for one in TOOL_RULES.rules]
    assert names.index("policy") == names.index("permission") + 1
    assert policy_rule.decide(CallFacts("tool", "x", "d"), RunFacts(BudgetRecord())) is None
    assert isinstance(policy(rule()).decide(PolicyCall("pay", uses=Uses())), Decision)


TESTS = """
version: 1
tests:
  - name: good
    call: {tool: pay, args: {n: 9}}
    before: [{args: {n: 2}}]
    expect: {verdict: deny, rule: one}
  - name: bad
    call: {tool: pay, args: {n: 9}}
    expect: {verdict: deny, rule: one}
"""


def test_tests_beside_a_policy() -> None:
    rules = rule(when="{tool: pay, sum(args.n): {above: 10}}") + rule("two", "allow", "{tool: mail}")
    report = run_cases(policy(rules, **{"p.test.yaml": TESTS}))
    assert [one.passed for one in report.results] == [True, False]
    assert report.failed[0].words().startswith("p.test.yaml:8:5: bad: expected deny by one, got hold by no rule")
    assert report.untested == ["two"]
    with pytest.raises(PolicyInvalid, match=r"p\.test\.yaml:7:23: dney is no verdict"):
        run_cases(policy(rules, **{"p.test.yaml": TESTS.replace("deny", "dney")}))


def test_the_example_is_sound_and_its_tests_pass() -> None:
    folder = Path(__file__).resolve().parents[2] / "examples" / "policies"
    made = PolicySet.compile(PolicyFiles(folder).read())
    report = run_cases(made)
    assert ([one.words() for one in report.failed], report.untested) == ([], [])
    assert not [proof for proof in analyse(made) if proof.is_fault]


def test_an_explanation_names_each_condition_and_what_was_found() -> None:
    made = policy(
        rule(when="{tool: pay, args.n: {min: 5}}", unless="{customer: acme}"), rule("b", "allow", "{tool: x}")
    )
    plain = explain(made, PolicyCall("pay", args={"n": 7}, uses=Uses())).plain(all_rules=True)
    assert (plain["verdict"], plain["rule"], plain["code"]) == ("deny", "one", "policy_undecided")
    assert [(one["name"], one["answer"]) for one in plain["rules"]] == [("one", "undecided"), ("b", "no")]
    assert [(line["words"], line["found"], line["answer"]) for line in plain["rules"][0]["conditions"]] == [
        ("tool is pay", "'pay'", "yes"),
        ("args.n min 5", "7", "yes"),
        ("customer is acme", "nothing", "undecided"),
    ]


def test_a_difference_in_words() -> None:
    old = policy(rule("a", "allow", "{tool: pay, args.n: {max: 5}}"), rule("b", "deny", "{tool: x}"))
    new = policy(rule("a", "flag", "{tool: pay, args.n: {max: 9}, taint: none}"), rule("c", "deny", "{tool: x}"))
    said = [(change.rule, change.how, change.lines) for change in compare(old, new)]
    assert said == [
        (
            "a",
            "changed",
            ("flags what it would allow", "when: args.n max 9, was max 5", "when: also asks for taint kind none"),
        ),
        ("c", "added", ("denys when tool is x",)),
        ("b", "removed", ("denys when tool is x",)),
    ]
    assert compare(old, old) == []
