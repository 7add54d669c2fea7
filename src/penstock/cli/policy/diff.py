"""``penstock policy diff``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.options import AsJson
from penstock.cli.output import note, print_json, say
from penstock.cli.policy.options import load, say_call
from penstock.cli.text import safe
from penstock.kernel.errors import ProverMissing

if TYPE_CHECKING:
    from penstock.rules.policy.proving import Proof


def diff(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="The policy before: a file or a folder.")],
    new: Annotated[
        Path | None,
        typer.Argument(metavar="[NEW]", help="The policy after; default PENSTOCK_POLICY.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Say in words what a change of a policy changes, and show a call that it newly allows, holds or denies."""
    from penstock.rules.policy.comparing import compare
    from penstock.rules.policy.proving import newly

    before, after = load(old), load(new)
    changes = compare(before, after)
    found: list[Proof] = []
    missing = ""
    if before.version != after.version:
        try:
            found = newly(before, after)
        except ProverMissing as error:
            missing = f"no example calls: {error.what}; {error.advice}"
    if as_json:
        print_json(
            {
                "old": before.version,
                "new": after.version,
                "changes": [change.plain() for change in changes],
                "proved": not missing,
                "calls": [proof.plain() for proof in found],
            }
        )
        return ExitCode.OK
    for change in changes:
        say(f"{change.how} {safe(change.rule)}")
        for line in change.lines:
            say(f"    {safe(line)}")
    for proof in found:
        say(safe(proof.words))
        shown = proof.plain()["example"]
        if shown is not None:
            say_call(shown)
    if missing:
        note(missing)
    if not changes and before.version == after.version:
        say("no difference")
    elif not missing and not found:
        say("no call fares differently")
    return ExitCode.OK
