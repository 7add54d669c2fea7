"""The environments file: TOML, one table for each environment. Secrets are read where it says, when they are needed."""

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from penstock.adapters.egress.targets import parse_target
from penstock.kernel.errors import EnvironmentInvalid
from penstock.ports.environments import DENY, Environment, SecretSource

VERSION = 1
"""Of the form of the file; a file that says nothing is of the first."""
BYTES_MAX = 1024 * 1024
ENVIRONMENTS_MAX = 100
ENTRIES_MAX = 1000
"""Tools, secrets, or hosts of one environment, at most."""
SECRET_MAX_BYTES = 64 * 1024
PROBLEMS_MAX = 50

_ADDRESS = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
_SECRET = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,255}")
_KNOWN = ("tools", "writes", "secrets", "egress")


def read_environments(path: Path) -> dict[str, Environment]:
    """All environments of a file, by name.

    Raises:
        EnvironmentInvalid: it cannot be read; ``fields["problems"]`` says everything that is wrong with it.
    """
    try:
        data = path.read_bytes()
        if len(data) > BYTES_MAX:
            raise EnvironmentInvalid(f"{path} has more than {BYTES_MAX:,} bytes")
        known = tomllib.loads(data.decode("utf-8-sig"))
    except OSError as error:
        words = f"{path} cannot be read: {error.strerror or error}"
        raise EnvironmentInvalid(words, hint="PENSTOCK_ENVIRONMENTS names a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise EnvironmentInvalid(f"{path} is no TOML file: {error}") from error
    reading = _Reading()
    found = reading.file(known)
    if reading.problems:
        raise invalid(str(path), reading.problems)
    return found


def invalid(where: str, problems: list[str]) -> EnvironmentInvalid:
    """The error for these problems; its words are the first, and how many more there are."""
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return EnvironmentInvalid(f"{where}: {problems[0]}{more}", problems=problems[:PROBLEMS_MAX])


class _Reading:
    """One pass over a file, which collects what is wrong with it."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def file(self, known: dict[str, Any]) -> dict[str, Environment]:
        version = known.pop("version", VERSION)
        if type(version) is not int or version < 1:
            self.problems.append(f"version is {version!r}; it is a whole number, from 1 on")
        elif version > VERSION:
            self.problems.append(f"it is of version {version}, and this installation reads version {VERSION}")
            return {}
        if len(known) > ENVIRONMENTS_MAX:
            self.problems.append(f"it has {len(known):,} environments; at most {ENVIRONMENTS_MAX} are allowed")
            return {}
        return {name: self.environment(name, table) for name, table in known.items()}

    def environment(self, name: str, table: Any) -> Environment:
        if not 0 < len(name) <= 64 or not name.isprintable():
            self.problems.append(f"{name[:80]!r} is no environment's name: it has 1 to 64 printable characters")
        if not isinstance(table, dict):
            self.problems.append(f"{name} is no table: write [{name}]")
            return Environment(name)
        for key in table:
            if key not in _KNOWN:
                self.problems.append(f"[{name}] has {key!r}; there are {', '.join(_KNOWN)}")
        return Environment(
            name,
            dict(self.tools(name, table.get("tools", {}))),
            self.writes(name, table.get("writes", "any")),
            dict(self.secrets(name, table.get("secrets", {}))),
            self.egress(name, table.get("egress")),
        )

    def tools(self, name: str, table: Any) -> Iterator[tuple[str, str]]:
        place = f"[{name}.tools]"
        seen = set()
        for tool, value in self._entries(place, table):
            inner = value.items() if isinstance(value, dict) else [("", value)]  # agent.tool without quotes: a table
            for suffix, bound in inner:
                label = f"{tool}.{suffix}" if suffix else tool
                if label in seen:
                    self.problems.append(f"{place} names {label} twice")
                seen.add(label)
                if bound == DENY or (isinstance(bound, str) and _ADDRESS.fullmatch(bound)):
                    yield label, bound
                else:
                    self.problems.append(f'{place} {label} is {bound!r}; it is "module:tool" or "{DENY}"')

    def writes(self, name: str, value: Any) -> Literal["any", "bound"]:
        if value == "bound":
            return "bound"
        if value != "any":
            self.problems.append(f"[{name}] writes is {value!r}; it is 'any' or 'bound'")
        return "any"

    def secrets(self, name: str, table: Any) -> Iterator[tuple[str, SecretSource]]:
        place = f"[{name}.secrets]"
        for secret, value in self._entries(place, table):
            if not _SECRET.fullmatch(secret):
                self.problems.append(f"{place} {secret[:80]!r} is no name of a secret")
            elif (source := _source(value)) is not None:
                yield secret, source
            else:  # what stands there may be the secret itself, and is not repeated
                self.problems.append(f'{place} {secret} is neither {{env = "VARIABLE"}} nor {{file = "/path"}}')

    def egress(self, name: str, value: Any) -> tuple[str, ...] | None:
        if value is None:
            return None
        if not isinstance(value, list) or len(value) > ENTRIES_MAX:
            self.problems.append(f"[{name}] egress is a list of at most {ENTRIES_MAX:,} hosts and networks")
            return ()
        for entry in value:
            try:
                parse_target(entry)
            except ValueError as error:
                self.problems.append(f"[{name}] egress: {error}")
        return tuple(str(entry) for entry in value)

    def _entries(self, place: str, table: Any) -> list[tuple[str, Any]]:
        if not isinstance(table, dict):
            self.problems.append(f"{place} is no table")
            return []
        if len(table) > ENTRIES_MAX:
            self.problems.append(f"{place} has {len(table):,} entries; at most {ENTRIES_MAX:,} are allowed")
            return []
        return list(table.items())


def _source(value: Any) -> SecretSource | None:
    if not isinstance(value, dict) or len(value) != 1:
        return None
    [(kind, where)] = value.items()
    if kind == "env" and isinstance(where, str) and _VARIABLE.fullmatch(where):
        return SecretSource(env=where)
    if kind == "file" and isinstance(where, str) and where.startswith("/") and "\0" not in where:
        return SecretSource(file=where)
    return None


class EnvironmentSecrets:
    """Implements `penstock.ports.environments.SecretStore`; see there.

    Args:
        sources: of one environment.
        variable: the value of a variable of this process, None = it is not set.
    """

    def __init__(self, sources: Mapping[str, SecretSource], variable: Callable[[str], str | None]) -> None:
        self._sources = dict(sources)
        self._variable = variable

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._sources)

    def place(self, name: str) -> str:
        source = self._sources.get(name)
        return "" if source is None else source.place

    def read(self, name: str) -> str | None:
        source = self._sources.get(name)
        if source is None:
            return None
        if source.env:
            return self._variable(source.env) or None
        try:
            with Path(source.file).open("rb") as file:
                data = file.read(SECRET_MAX_BYTES + 1)
            if len(data) > SECRET_MAX_BYTES:
                return None
            return data.decode("utf-8").rstrip("\r\n") or None
        except (OSError, UnicodeDecodeError):
            return None
