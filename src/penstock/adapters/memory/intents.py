"""Which calls on a tape have no outcome yet."""

from collections.abc import Sequence
from uuid import UUID

from penstock.events import ModelIntent, ModelOutcome, ToolIntent, ToolOutcome, decode
from penstock.ports.records import OpenIntent, Row


def intents_of(tenant: str, run: UUID, tape: Sequence[Row]) -> list[OpenIntent]:
    """Model and tool intents without an outcome, in the order they were written."""
    still_open: dict[tuple[str, str, int], OpenIntent] = {}
    for row in tape:
        event = decode(row.body)
        match event:
            case ToolIntent(path=path, attempt=attempt, tool=tool):
                ends_by = row.at + event.allowance + event.timeout
                still_open["tool", path, attempt] = OpenIntent(tenant, run, path, tool, attempt, ends_by)
            case ModelIntent(path=path, attempt=attempt, model=model):
                ends_by = row.at + event.timeout
                still_open["model", path, attempt] = OpenIntent(tenant, run, path, model, attempt, ends_by)
            case ToolOutcome(path=path, attempt=attempt):
                still_open.pop(("tool", path, attempt), None)
            case ModelOutcome(path=path, attempt=attempt):
                still_open.pop(("model", path, attempt), None)
            case _:
                pass
    return list(still_open.values())
