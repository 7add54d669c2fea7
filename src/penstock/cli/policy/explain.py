"""``penstock policy explain``."""

from pathlib import Path
from typing import Annotated

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.options import AsJson
from penstock.cli.output import print_json, say
from penstock.cli.policy.options import PolicyPath, load
from penstock.cli.text import safe

SIGNS = {"yes": "+", "no": "-", "undecided": "?"}


def explain(
    call: Annotated[
        str,
        typer.Argument(
            metavar="CALL",
            help="The call as a test writes it, in YAML or JSON: '{tool: refund, args: {cents: 900}}'; or @FILE.",
        ),
    ],
    path: PolicyPath = None,
    all_rules: Annotated[bool, typer.Option("--all", help="Also the rules that do not apply.")] = False,
    as_json: AsJson = False,
) -> int:
    """Say what a policy makes of a call: the rules that apply, each condition with what was found, the strictest."""
    from penstock.kernel.errors import InputInvalid
    from penstock.rules.policy import cases, explaining

    policy = load(path)
    if call.startswith("@"):
        try:
            call = Path(call[1:]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputInvalid(f"{call[1:]} cannot be read: {error}") from error
    explanation = explaining.explain(policy, cases.read_call("call", call).made(policy))
    plain = explanation.plain(all_rules=all_rules)
    if as_json:
        print_json(plain)
        return ExitCode.OK
    say(f"{plain['verdict']}: {safe(plain['reason'])} (version {policy.version[:12]})")
    for rule in plain["rules"]:
        say(f"  {SIGNS[rule['answer']]} {safe(rule['name'])} {rule['then']}s ({safe(rule['place'])})")
        for line in rule["conditions"]:
            under = "  unless " if line["under"] == "unless" else "  "
            say(f"    {SIGNS[line['answer']]}{under}{safe(line['words'])}; found {safe(line['found'])}")
    return ExitCode.OK
