"""What became of the calls that were open when a kill was sealed."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from penstock.events import ModelOutcome, ToolDoubted, ToolOutcome
from penstock.ports.journal import Journal
from penstock.ports.records import OpenIntent
from penstock.views.trace import read_events


@dataclass(slots=True, frozen=True)
class OpenCall:
    """An intent and how it stands now. ``status`` is its outcome's; ``in_doubt`` when there is none and none can come
    any more from the call itself; ``open`` while it may still be running."""

    tenant: str
    run: UUID
    path: str
    name: str
    attempt: int
    ends_by: int
    status: str


async def look_up(journal: Journal, intents: Sequence[OpenIntent]) -> list[OpenCall]:
    """How the calls of some open intents stand now, in the same order."""
    now = await journal.now()
    outcomes: dict[tuple[UUID, str, int], str] = {}
    for tenant, run in dict.fromkeys((intent.tenant, intent.run) for intent in intents):
        for event in await read_events(journal, tenant, run):
            if isinstance(event, ModelOutcome | ToolOutcome):
                outcomes[(run, event.path, event.attempt)] = event.status
            elif isinstance(event, ToolDoubted):
                outcomes[(run, event.path, event.attempt)] = "in_doubt"
    calls = []
    for intent in intents:
        passed = "in_doubt" if intent.ends_by <= now else "open"
        status = outcomes.get((intent.run, intent.path, intent.attempt), passed)
        calls.append(
            OpenCall(intent.tenant, intent.run, intent.path, intent.name, intent.attempt, intent.ends_by, status)
        )
    return calls
