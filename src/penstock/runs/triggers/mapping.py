"""From an event to a run's input: a template with paths into the event.

A template is plain JSON. A text in it that begins with ``$`` stands for a part of the event; ``$$`` begins a text that
begins with a dollar sign. What a path may be is a small part of JSONPath (RFC 9535): names and indexes.
"""

import re
from dataclasses import dataclass
from typing import Any

from penstock.kernel.errors import InputInvalid, TriggerInvalid

_OWN = ("$name", "$key", "$dedup")
_PATH = re.compile(r"\$(?:\.[A-Za-z_][A-Za-z0-9_-]*|\[(?:0|[1-9][0-9]{0,5})\])*")
_STEP = re.compile(r"\.([A-Za-z_][A-Za-z0-9_-]*)|\[([0-9]+)\]")
DEPTH_MOST = 32


@dataclass(slots=True, frozen=True)
class Arrived:
    """An event as a template sees it: ``$name``, ``$key``, ``$dedup``; the value is ``$``, parts of it ``$.a[0].b``."""

    name: str
    key: str
    dedup: str
    value: Any


def check_template(template: Any, depth: int = 0) -> None:
    """Refuse a template that has paths which cannot be read. Pure.

    Raises:
        TriggerInvalid: says which.
    """
    if depth > DEPTH_MOST:
        raise TriggerInvalid(f"the template is nested deeper than {DEPTH_MOST} levels")
    if isinstance(template, dict):
        for part in template.values():
            check_template(part, depth + 1)
    elif isinstance(template, list):
        for part in template:
            check_template(part, depth + 1)
    elif isinstance(template, str) and not _is_readable(template):
        hint = "use $name, $key, $dedup, $ (the value), parts of it such as $.order.items[0]; $$ for a dollar sign"
        raise TriggerInvalid(f"{template[:100]!r} is no path into an event", hint=hint)


def _is_readable(text: str) -> bool:
    plain = not text.startswith("$") or text.startswith("$$")
    return plain or text in _OWN or _PATH.fullmatch(text) is not None


def filled(template: Any, event: Arrived) -> Any:
    """The template with the event's parts in it. Pure.

    Raises:
        InputInvalid: the event has no such part.
    """
    if isinstance(template, dict):
        return {name: filled(part, event) for name, part in template.items()}
    if isinstance(template, list):
        return [filled(part, event) for part in template]
    if not isinstance(template, str) or not template.startswith("$"):
        return template
    if template.startswith("$$"):
        return template[1:]
    if template in _OWN:
        return getattr(event, template[1:])
    return _part(template, event)


def filled_text(template: str, event: Arrived, what: str) -> str:
    """As `filled`, for what is a text: a number or true is written as JSON writes it.

    Raises:
        InputInvalid: the event has no such part, or it is none that can be a short text.
    """
    part = filled(template, event)
    if isinstance(part, str):
        return part
    if isinstance(part, bool):
        return "true" if part else "false"
    if isinstance(part, int):
        return str(part)
    raise InputInvalid(f"{template} of the event {event.name} is no text for the {what}")


def _part(path: str, event: Arrived) -> Any:
    part = event.value
    for step in _STEP.finditer(path):
        name, index = step.groups()
        if name is not None and isinstance(part, dict) and name in part:
            part = part[name]
        elif index is not None and isinstance(part, list) and int(index) < len(part):
            part = part[int(index)]
        else:
            raise InputInvalid(f"the value of the event {event.name} has no {path}")
    return part
