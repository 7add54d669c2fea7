"""``penstock releases keygen``."""

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
    """Make a key that signs releases, and print its public half, for PENSTOCK_RELEASE_TRUSTED_FILE of workers."""
    from penstock.runs.rollouts.signing import make_key

    key, public = make_key(file)
    if as_json:
        print_json({"key": key, "file": str(file), "public": public})
    else:
        note(f"key {key} is in {file}; set PENSTOCK_RELEASE_KEY_FILE to it where releases are drafted")
        say(public.rstrip())
    return ExitCode.OK
