"""Layer 9: the command line. One file a command; `commands` lists them in order, `application` runs them."""

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code. ``arguments``: without the program's name; default those of the process."""
    from penstock.cli.application import run_command

    return run_command(arguments)
