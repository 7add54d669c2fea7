"""What is proved of policies: rules that never decide, rules at odds, what a change makes of calls."""

import builtins
import json
from pathlib import Path
from typing import Any

import pytest
from benchmarks.policy_fuzz import POLICY

from penstock.cli.policy import check, diff, explain, test
from penstock.kernel.errors import ProverMissing
from penstock.rules.policy.explaining import decide_safely
from penstock.rules.policy.policy_set import PolicySet
from penstock.rules.policy.proving import Proof, analyse, newly
from penstock.rules.verdict import Verdict


def rule(name: str, then: str, when: str = "", more: str = "") -> str:
    lines = [
        f"  - name: {name}",
        "    owner: ada",
        "    reviewed: 2026-10-01",
        "    reason: because",
        f"    then: {then}",
    ]
    return "\n".join([*lines, *([f"    when: {when}"] if when else [])]) + "\n" + more


def text(*rules: str) -> str:
    return "version: 1\nrules:\n" + "".join(rules)


def policy(*rules: str) -> PolicySet:
    return PolicySet.compile({"p.yaml": text(*rules)})


def kinds(proofs: list[Proof]) -> list[tuple[Any, ...]]:
    return [(proof.kind, *proof.rules) for proof in proofs]


@pytest.mark.parametrize(
    ("rules", "found"),
    [
        ((rule("a", "allow", "{tool: pay}"),), []),
        ((rule("a", "allow", "{tool: pay, args.n: {min: 5, max: 3}}"),), [("never_applies", "a")]),
        ((rule("a", "allow", "{args.n: 5, args.n.m: 5}"),), [("never_applies", "a")]),
        # For a denial a value of another type is enough, so the same conditions do decide.
        ((rule("a", "deny", "{tool: pay, args.n: {min: 5, max: 3}}"),), []),
        (
            (rule("a", "deny", "{tool: [p*, m*]}"), rule("b", "deny", "{tool: pay, args.n: 1}")),
            [("decides_nothing", "b")],
        ),
        ((rule("a", "deny", "{tool: pay}"), rule("b", "allow", "{tool: pay}")), [("decides_nothing", "b")]),
        ((rule("a", "allow", "{effect: read}"),), [("decides_nothing", "a")]),
        ((rule("a", "allow", "{risk: {not: [low, medium]}}"),), [("decides_nothing", "a")]),
        ((rule("a", "allow", "{tool: 'p*'}"), rule("b", "allow", "{tool: pay}")), [("decides_nothing", "b")]),
        (
            (rule("a", "allow", "{tool: pay}"), rule("b", "deny", "{args.n: {above: 5}}")),
            [("overlap", "a", "b")],
        ),
        (
            (
                rule("a", "hold", "{tool: pay}", "    approvers: {roles: [fin]}\n"),
                rule("b", "hold", "{tool: pay, args.n: 1}", "    approvers: {roles: [law]}\n"),
            ),
            [("decides_nothing", "b"), ("at_odds", "b", "a")],
        ),
    ],
)
def test_what_is_found(rules: tuple[str, ...], found: list[tuple[str, ...]]) -> None:
    proofs = analyse(policy(*rules))
    assert kinds([proof for proof in proofs if proof.kind != "overlap" or ("overlap", *proof.rules) in found]) == found


@pytest.mark.parametrize(
    ("before", "after", "made", "example"),
    [
        (
            "{tool: pay, args.n: {max: 5}}",
            "{tool: pay, args.n: {max: 9}}",
            "newly_allow",
            lambda args: 5 < args["n"] <= 9,
        ),
        (
            "{tool: pay, args.n: {max: 9}}",
            "{tool: pay, args.n: {max: 5}}",
            "newly_hold",
            lambda args: 5 < args["n"] <= 9,
        ),
        ("{tool: pay, args.s: a}", "{tool: pay, args.s: [a, b]}", "newly_allow", lambda args: args == {"s": "b"}),
        ("{tool: pay, taint: none}", "{tool: pay}", "newly_allow", lambda args: args == {}),
        (
            "{tool: pay, sum(args.n): {max: 5}, args.n: {max: 5}}",
            "{tool: pay, sum(args.n): {max: 9}, args.n: {max: 5}}",
            "newly_allow",
            lambda args: args["n"] <= 5,
        ),
        (
            "{tool: pay, args.to.lines[0].s: {length: {max: 3}}}".replace("args.to.lines[0].s", "'args.to.lines[0].s'"),
            "{tool: pay, 'args.to.lines[0].s': {length: {max: 4}}}",
            "newly_allow",
            lambda args: len(args["to"]["lines"][0]["s"]) == 4,
        ),
        (
            "{tool: pay, count() over pay: {max: 2}}",
            "{tool: pay, count() over pay: {max: 4}}",
            "newly_allow",
            lambda _: True,
        ),
    ],
)
def test_what_a_change_makes_of_calls(before: str, after: str, made: str, example: Any) -> None:
    old, new = policy(rule("a", "allow", before)), policy(rule("a", "allow", after))
    [proof] = newly(old, new)
    assert (proof.kind, proof.call is not None) == (made, True)
    assert proof.call is not None
    assert example(proof.call.call.args), proof.call
    was, now = (decide_safely(one, proof.call.made(one)).verdict for one in (old, new))
    assert {was, now} == {Verdict.HOLD, Verdict.ALLOW}


def test_the_same_is_the_same() -> None:
    old = policy(rule("a", "allow", "{tool: pay, args.n: {min: 1, max: 5}}"))
    new = policy(rule("b", "allow", "{args.n: {max: 5}, tool: [pay, pay]}"), rule("c", "deny", "{args.n: {below: 1}}"))
    assert "newly_allow" not in [proof.kind for proof in newly(old, new)]


def test_of_a_deny_that_goes_an_example_is_shown_and_nothing_is_shown_that_does_not_hold() -> None:
    full = PolicySet.compile({"p.yaml": POLICY})
    texts = [one.text for one in full.rules]
    for left_out in range(len(texts)):
        less = PolicySet([one for number, one in enumerate(texts) if number != left_out], {})
        for proof in newly(full, less):
            if proof.call is not None:
                verdict = decide_safely(less, proof.call.made(less)).verdict
                assert proof.kind == f"newly_{verdict.name.lower()}"
                assert decide_safely(full, proof.call.made(full)).verdict is not verdict


def test_without_the_solver_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == "z3":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ProverMissing, match="z3 is not installed"):
        analyse(policy(rule("a", "allow")))


def test_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, looser = tmp_path / "p.yaml", tmp_path / "q.yaml"
    good.write_text(text(rule("a", "allow", "{tool: pay, args.n: {max: 5}}")))
    looser.write_text(good.read_text().replace("5", "6"))
    (tmp_path / "p.test.yaml").write_text("version: 1\ntests: [{call: {tool: pay, args: {n: 6}}, expect: allow}]")

    def said(code: int, wanted: int) -> Any:
        assert code == wanted
        return json.loads(capsys.readouterr().out)

    checked = said(check.check(good, as_json=True), 0)
    assert (checked["ok"], checked["rules"], checked["tests"], checked["findings"]) == (True, 1, 1, [])
    tested = said(test.run_tests(good, as_json=True), 1)
    assert (tested["ok"], tested["tests"][0]["verdict"], tested["untested"]) == (False, "hold", ["a"])
    explained = said(explain.explain("{tool: pay, args: {n: 5}}", good, as_json=True), 0)
    assert (explained["verdict"], explained["rule"]) == ("allow", "a")
    differing = said(diff.diff(good, looser, as_json=True), 0)
    assert [call["example"]["args"] for call in differing["calls"]] == [{"n": 6}]
    looser.write_text(good.read_text().replace("max", "mxa"))
    broken = said(check.check(looser, as_json=True), 1)
    assert [(one["line"], one["column"]) for one in broken["problems"]] == [(8, 32)]
    assert check.check(looser) == 1
    assert "q.yaml:8:32: 'mxa' is no test\n  hint: did you mean 'max'?" in capsys.readouterr().out
