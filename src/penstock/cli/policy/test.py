"""``penstock policy test``."""

from penstock.cli.exits import ExitCode
from penstock.cli.options import AsJson
from penstock.cli.output import note, print_json, say
from penstock.cli.policy.options import PolicyPath, load
from penstock.cli.text import plural, safe


def run_tests(path: PolicyPath = None, as_json: AsJson = False) -> int:
    """Run the tests beside a policy (*.test.yaml), and name the rules that decide none of them."""
    from penstock.rules.policy.cases import run_cases

    policy = load(path)
    report = run_cases(policy)
    failed = report.failed
    if as_json:
        results = [
            {
                "name": one.case.name,
                "place": str(one.case.place),
                "passed": one.passed,
                "verdict": one.decision.verdict.name.lower(),
                "rule": one.decision.clause,
                "reason": one.decision.reason,
            }
            for one in report.results
        ]
        print_json({"ok": not failed, "version": policy.version, "tests": results, "untested": report.untested})
        return ExitCode.FAILED if failed else ExitCode.OK
    for one in failed:
        say(f"failed: {safe(one.words())}")
    if report.untested:
        note(f"no test is decided by: {safe(', '.join(report.untested))}")
    say(f"{plural(len(report.results), 'test')}, {len(failed)} failed")
    return ExitCode.FAILED if failed else ExitCode.OK
