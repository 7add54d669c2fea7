"""What a server says of its tools: read with bounds, known again by a digest, kept in a lock file.

A server is an untrusted party: what it says of a tool is shown to models as instructions, and may change after somebody
has looked at it. So a definition counts only as long as its digest is the one that was agreed to.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock.integrations.mcp.schema import check_schema
from penstock.kernel.canonical import check_plain, stable_json
from penstock.kernel.errors import InputInvalid, McpLockInvalid, McpToolInvalid

NAME_MAX_CHARS = 64
DEFINITION_MAX_BYTES = 64 * 1024
TOOLS_MAX = 512
"""Tools that are read of one server, at most."""
LOCK_MAX_BYTES = 64 * 1024 * 1024
LOCK_VERSION = 1
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_PINNED = ("name", "title", "description", "inputSchema", "outputSchema", "annotations")
_UNSEEN = re.compile("[\U000e0000-\U000e007f\u202a-\u202e\u2066-\u2069\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
"""Characters that a person who reads a description does not see, and a model does: tags, changes of direction,
controls."""


@dataclass(frozen=True, slots=True)
class ToolDefinition:
    """One tool as its server describes it. ``said`` is the plain JSON of what is pinned."""

    name: str
    said: dict[str, Any]
    digest: str

    @property
    def description(self) -> str:
        return str(self.said.get("description") or "")

    @property
    def schema(self) -> dict[str, Any]:
        schema: dict[str, Any] = self.said["inputSchema"]
        return schema

    @property
    def hints(self) -> dict[str, Any]:
        """What the server says of its effect, which nobody has to believe."""
        hints = self.said.get("annotations")
        return hints if isinstance(hints, dict) else {}


def read_definition(server: str, raw: Mapping[str, Any]) -> ToolDefinition:
    """A tool's definition from the JSON of a listing.

    Raises:
        McpToolInvalid: its name, description or schema cannot be accepted.
    """
    name = raw.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise McpToolInvalid(f"the server {server} has a tool named {str(name)[:80]!r}, which no model could call")
    said = {key: raw[key] for key in _PINNED if raw.get(key) is not None}
    try:
        check_plain(said, "definition")
        data = stable_json(said)
    except (InputInvalid, ValueError, TypeError, RecursionError) as error:
        raise McpToolInvalid(f"the tool {name} of {server} has a definition that cannot be stored: {error}") from error
    if len(data) > DEFINITION_MAX_BYTES:
        raise McpToolInvalid(f"the definition of {name} of {server} has {len(data):,} bytes; {DEFINITION_MAX_BYTES:,}")
    for text in _texts(said):
        if unseen := _UNSEEN.search(text):
            raise McpToolInvalid(
                f"the definition of {name} of {server} holds U+{ord(unseen[0]):04X}, which a reader does not see"
            )
    check_schema(server, name, said.get("inputSchema"))
    return ToolDefinition(name, said, f"sha256:{hashlib.sha256(data).hexdigest()}")


def _texts(value: Any) -> Iterator[str]:
    """Every text in plain JSON."""
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            todo += [*item, *item.values()]
        elif isinstance(item, list):
            todo += item


def read_listing(server: str, raw: Iterable[Mapping[str, Any]]) -> tuple[dict[str, ToolDefinition], dict[str, str]]:
    """The definitions by name; and, by name, why others are not accepted. One bad tool does not take the rest along."""
    found: dict[str, ToolDefinition] = {}
    refused: dict[str, str] = {}
    for item in raw:
        try:
            definition = read_definition(server, item)
        except McpToolInvalid as error:
            refused[str(item.get("name"))[:NAME_MAX_CHARS]] = error.what
            continue
        if definition.name in found:
            refused[definition.name] = f"the server {server} has two tools named {definition.name}"
        found[definition.name] = definition
    for name in refused:
        found.pop(name, None)
    return found, refused


class Lock:
    """The definitions that somebody has agreed to, by server and tool, in a file that is reviewed like code."""

    def __init__(self, path: Path, servers: dict[str, dict[str, ToolDefinition]] | None = None) -> None:
        self.path = path
        self.servers = servers or {}

    @classmethod
    def read(cls, path: Path) -> "Lock":
        """What the file says.

        Raises:
            McpLockInvalid: it cannot be read, or a definition in it has not the digest that stands beside it.
        """
        try:
            if path.stat().st_size > LOCK_MAX_BYTES:
                raise McpLockInvalid(f"{path} has more than {LOCK_MAX_BYTES:,} bytes")
            document = json.loads(path.read_bytes())
            if document["version"] != LOCK_VERSION:
                raise McpLockInvalid(f"{path} is of version {document['version']!r}; this program reads {LOCK_VERSION}")
            servers = {
                server: {name: _checked(path, server, name, item) for name, item in tools.items()}
                for server, tools in document["servers"].items()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise McpLockInvalid(f"{path} cannot be read: {type(error).__name__}: {error}") from error
        return cls(path, servers)

    def write(self) -> None:
        """Replace the file, whole."""
        servers = {
            server: {name: {"digest": tool.digest, "definition": tool.said} for name, tool in sorted(tools.items())}
            for server, tools in sorted(self.servers.items())
        }
        text = json.dumps({"version": LOCK_VERSION, "servers": servers}, indent=2, sort_keys=True, ensure_ascii=False)
        beside = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        beside.write_text(text + "\n", encoding="utf-8")
        beside.replace(self.path)


def _checked(path: Path, server: str, name: str, item: Mapping[str, Any]) -> ToolDefinition:
    try:
        found = read_definition(server, item["definition"])
    except McpToolInvalid as error:
        raise McpLockInvalid(f"{path}: {error.what}") from error
    if found.digest != item["digest"] or found.name != name:
        raise McpLockInvalid(f"{path}: the definition of {name} of {server} is not the one that was pinned")
    return found
