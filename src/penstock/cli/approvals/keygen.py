"""``penstock approvals keygen``."""

from pathlib import Path
from typing import Annotated

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.options import AsJson
from penstock.cli.output import note, print_json, say


def keygen(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file for the private key.")],
    as_json: AsJson = False,
) -> int:
    """Make a key that signs decisions, and print its public half, for PENSTOCK_DECISION_TRUSTED_FILE of workers."""
    from penstock.journal.keyring import make_key_file
    from penstock.kernel.errors import DecisionKeyInvalid

    key, public = make_key_file(file, DecisionKeyInvalid)
    if as_json:
        print_json({"key": key, "file": str(file), "public": public})
    else:
        note(f"key {key} is in {file}; set PENSTOCK_DECISION_KEY_FILE to it where people decide")
        say(public.rstrip())
    return ExitCode.OK
