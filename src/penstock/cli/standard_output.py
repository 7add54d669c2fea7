"""Standard output as the process finds it: closed, in a narrow encoding, or gone."""

import io
import os
import sys


def prepare() -> None:
    """Make standard output take every character, also where the locale's encoding has it not; and give it a place when
    it was closed, so that what is opened next does not become it."""
    if sys.stdout is None:
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def silence() -> None:
    """Let standard output lead nowhere: what it still holds would be tried again when the process ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
