"""Where the texts of a policy come from."""

from collections.abc import Mapping
from typing import Protocol

Stamp = tuple[tuple[str, int, int, int], ...]
"""What tells one state of the texts from another, without reading them: name, time of change (ns), size, inode."""


class PolicySource(Protocol):
    """The files of a policy."""

    @property
    def place(self) -> str:
        """In words."""
        ...

    def stamp(self) -> Stamp:
        """Of the files as they are now; empty when there is nothing."""
        ...

    def read(self) -> Mapping[str, str]:
        """The texts by the names of their files.

        Raises:
            PolicyInvalid: they cannot be read, or are more than a policy may be.
        """
        ...
