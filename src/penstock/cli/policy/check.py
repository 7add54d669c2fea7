"""``penstock policy check``."""

from typing import Annotated

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.options import AsJson
from penstock.cli.output import note, print_json, say
from penstock.cli.policy.options import PolicyPath, load, say_call, say_problems
from penstock.cli.text import plural, safe
from penstock.kernel.errors import PolicyInvalid, ProverMissing


def check(
    path: PolicyPath = None,
    prove: Annotated[
        bool | None,
        typer.Option(
            help="Look for rules that can never decide, and for rules at odds; needs penstock[policy]. Default: where"
            " that is installed.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Read a policy; name every mistake with file, line, column and what to do; prove what can be proved."""
    from penstock.rules.policy.cases import read_cases
    from penstock.rules.policy.policy_set import TEST_ENDINGS
    from penstock.rules.policy.proving import analyse

    try:
        policy = load(path)
        tests = sum(len(read_cases(name, text)) for name, text in policy.sources.items() if name.endswith(TEST_ENDINGS))
    except PolicyInvalid as error:
        if as_json:
            print_json({"ok": False, "problems": error.fields.get("problems") or [{"what": error.what}]})
        else:
            say_problems(error)
        return ExitCode.FAILED
    proofs = []
    try:
        proofs = analyse(policy) if prove is not False else []
    except ProverMissing as error:
        if prove:
            raise
        if not as_json:
            note(f"nothing was proved: {error.what}; {error.advice}")
    faults = [proof for proof in proofs if proof.is_fault]
    if as_json:
        said = {"version": policy.version, "rules": len(policy.rules), "tests": tests}
        print_json({"ok": not faults, **said, "findings": [proof.plain() for proof in proofs]})
        return ExitCode.FAILED if faults else ExitCode.OK
    for proof in proofs:
        say(f"{safe(proof.place) + ': ' if proof.place else ''}{safe(proof.words)}")
        shown = proof.plain()["example"]
        if shown is not None:
            say_call(shown)
    words = f"{plural(len(policy.rules), 'rule')}, {plural(tests, 'test')}, version {policy.version[:12]}"
    say(f"{'not sound' if faults else 'sound'}: {words}")
    return ExitCode.FAILED if faults else ExitCode.OK
