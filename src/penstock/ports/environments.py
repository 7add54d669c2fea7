"""What an environment has of its own: which tools act in it, which secrets there are, and what may be reached."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

DENY = "deny"
"""In place of a tool's name: it is not called in that environment."""


class Secrets:
    """Values by name, each for who asks for it by name: they cannot be gone through, and a repr does not hold them."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        self._values = dict(values or {})

    def of(self, name: str) -> str | None:
        """The value; None = there is none of that name here."""
        return self._values.get(name)

    def __repr__(self) -> str:
        return f"<secrets: {', '.join(self._values) or 'none'}>"


@dataclass(slots=True, frozen=True)
class SecretSource:
    """Where a secret is kept: in a variable of the process, or in a file. Exactly one of them is set."""

    env: str = ""
    file: str = ""

    @property
    def place(self) -> str:
        return f"the variable {self.env}" if self.env else f"the file {self.file}"


@dataclass(slots=True, frozen=True)
class Environment:
    """One environment as its file declares it.

    Attributes:
        tools: ``tool`` or ``agent.tool`` → ``module:tool`` that takes its place, or `DENY`.
        writes: ``bound``: a write that ``tools`` does not name is denied; ``any``: it is called as declared.
        egress: what its processes may connect to; None = anything.
    """

    name: str
    tools: Mapping[str, str] = field(default_factory=dict)
    writes: Literal["any", "bound"] = "any"
    secrets: Mapping[str, SecretSource] = field(default_factory=dict)
    egress: tuple[str, ...] | None = None


class SecretStore(Protocol):
    """Where the secrets of one environment are read."""

    @property
    def names(self) -> tuple[str, ...]:
        """Those that are declared."""
        ...

    def place(self, name: str) -> str:
        """Where one is kept, in words; "" = it is not declared."""
        ...

    def read(self, name: str) -> str | None:
        """Its value now; None = it is not declared, or not there. A file is read each time."""
        ...
