"""What a server's tool does to the world, said by whoever uses it: the server's own word for it is only a hint."""

from dataclasses import dataclass
from typing import Unpack

from penstock.integrations.tool_effects import ToolEffect


@dataclass(frozen=True, slots=True)
class McpEffect:
    """A declaration, as for `penstock.tool`. ``key_argument``: the tool's own argument that takes the idempotency key
    of ``in_doubt="keyed"``; models neither see nor set it."""

    said: ToolEffect
    key_argument: str = ""


def read(**said: Unpack[ToolEffect]) -> McpEffect:
    """A tool that changes nothing."""
    return McpEffect({**said, "effect": "read"})


def write(*, key_argument: str = "", **said: Unpack[ToolEffect]) -> McpEffect:
    """A tool that changes something: a person approves it first unless ``permission="auto"``; in doubt it is settled
    by ``in_doubt``: "idempotent", "keyed" (with ``key_argument``), "confirm", else "escalate"."""
    return McpEffect({**said, "effect": "write"}, key_argument)
