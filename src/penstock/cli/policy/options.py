"""What the commands of ``penstock policy`` have in common."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.output import say
from penstock.cli.text import safe
from penstock.kernel.errors import PolicyInvalid, UsageError

if TYPE_CHECKING:
    from penstock.rules.policy.policy_set import PolicySet

PolicyPath = Annotated[
    Path | None,
    typer.Argument(
        metavar="[PATH]",
        help="A file, or a folder of *.yaml files; default PENSTOCK_POLICY.",
        show_default=False,
    ),
]


def load(path: Path | None) -> "PolicySet":
    """The policy at that place, else the configured one.

    Raises:
        UsageError: none is named.
        PolicyInvalid: it cannot be read.
    """
    from penstock.adapters.policy_files import PolicyFiles
    from penstock.rules.policy.policy_set import PolicySet

    if path is None:
        from penstock.cli.opening import configured

        path = configured().policy
    if path is None:
        raise UsageError("no policy is named", hint="give a file or a folder, or set PENSTOCK_POLICY")
    return PolicySet.compile(PolicyFiles(path).read())


def say_problems(error: PolicyInvalid) -> None:
    """Each with its place, as compilers do."""
    problems: list[dict[str, Any]] = error.fields.get("problems") or []
    if not problems:
        say(f"error: {safe(error.what)}")
    for problem in problems:
        say(f"{safe(problem['file'])}:{problem['line']}:{problem['column']}: {safe(problem['what'])}")
        say(f"  hint: {safe(problem['fix'])}")


def say_call(call: dict[str, Any], indent: str = "    ") -> None:
    """An example, as a test would write it."""
    import json

    say(f"{indent}for example: {safe(json.dumps(call, ensure_ascii=False)[:1000])}")
