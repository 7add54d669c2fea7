"""How keys are shown."""

from typing import Any

from penstock.cli.output import plain
from penstock.ports.access import KeyRecord


def shown(key: KeyRecord) -> dict[str, Any]:
    """A key's document."""
    document: dict[str, Any] = plain(key)
    return document
