"""The whole prompt of a recorded model call: each intent holds only what was new since an earlier one."""

from collections.abc import Mapping, Sequence

from penstock.events.envelope import Event
from penstock.events.model import ModelIntent


def prompt_refs(calls: Mapping[str, Sequence[Event]], intent: ModelIntent) -> list[str]:
    """Commitments of all messages that were sent, in order. ``calls`` are the run's events by call path."""
    parts: list[list[str]] = []
    count: int | None = None
    step: ModelIntent | None = intent
    while step is not None:
        refs = step.payloads.get("messages", [])
        # Of an earlier prompt only the first ``count`` messages belong to the later one.
        parts.append(refs if count is None else refs[: max(0, count - step.prefix_count)])
        count = step.prefix_count if count is None else min(count, step.prefix_count)
        step = _sender(calls.get(step.prefix_path, ())) if step.prefix_count else None
    return [ref for part in reversed(parts) for ref in part]


def _sender(events: Sequence[Event]) -> ModelIntent | None:
    """The attempt whose messages later prompts build upon: the last one that sent the conversation as it is."""
    return next((e for e in reversed(events) if isinstance(e, ModelIntent) and not e.shortened), None)
