"""``penstock version``."""

import platform

from penstock.cli.exits import ExitCode
from penstock.cli.options import AsJson
from penstock.cli.output import print_json, say


def version(as_json: AsJson = False) -> int:
    """Show the version of Penstock and of Python."""
    from penstock import __version__

    if as_json:
        print_json({"penstock": __version__, "python": platform.python_version()})
    else:
        say(f"penstock {__version__} (Python {platform.python_version()})")
    return ExitCode.OK
