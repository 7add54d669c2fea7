"""What the payloads of events say, as plain values; what was erased or lost is named instead of guessed at."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from penstock.events import Event
from penstock.events.messages import Message, decode_message
from penstock.journal.payloads import ref_address, unpack
from penstock.kernel.errors import EventUnreadable
from penstock.ports.journal import Journal

FETCH = 2000
"""Payloads asked for in one request to the store."""

_MESSAGES = ("messages", "response")
_TEXTS = ("reason",)


@dataclass(slots=True, frozen=True)
class Missing:
    """Stands for content that cannot be shown."""

    missing: str  # why


ERASED = Missing("not in the store: erased with its subject, or lost")
DAMAGED = Missing("damaged, or written by a newer penstock")


class Contents:
    """Payloads of one run by reference."""

    def __init__(self, data: dict[str, bytes | Missing]) -> None:
        self._data = data

    @property
    def absent(self) -> int:
        """How many of them are not there or cannot be read."""
        return sum(isinstance(data, Missing) for data in self._data.values())

    def raw(self, ref: str) -> bytes | Missing:
        """The bytes of a payload."""
        return self._data.get(ref, ERASED)

    def all(self, event: Event, name: str) -> list[Any]:
        """The values of an event's payloads of that name, in order."""
        return [self._decode(name, ref) for ref in event.payloads.get(name, ())]

    def one(self, event: Event, name: str) -> Any:
        """The first of them; None when the event has none."""
        found = event.payloads.get(name)
        return self._decode(name, found[0]) if found else None

    def messages(self, event: Event, name: str) -> list[Message | Missing]:
        """The messages of an event's payloads of that name."""
        return [value for value in self.all(event, name) if isinstance(value, Message | Missing)]

    def _decode(self, name: str, ref: str) -> Any:
        data = self._data.get(ref, ERASED)
        if isinstance(data, Missing):
            return data
        try:
            if name in _MESSAGES:
                return decode_message(data)
            if name in _TEXTS:
                return data.decode(errors="replace")
            return msgspec.json.decode(data)
        except EventUnreadable:
            return DAMAGED
        except (msgspec.DecodeError, UnicodeDecodeError):
            return data.decode(errors="replace")


async def read_contents(journal: Journal, tenant: str, subject: str, events: Iterable[Event]) -> Contents:
    """The payloads that some events of one run talk about."""
    refs = list(dict.fromkeys(ref for event in events for refs in event.payloads.values() for ref in refs))
    data: dict[str, bytes | Missing] = {}
    for start in range(0, len(refs), FETCH):
        part = {ref: ref_address(ref) for ref in refs[start : start + FETCH]}
        stored = await journal.get_payloads(tenant, subject, list(part.values()))
        for ref, where in part.items():
            payload = stored.get(where)
            if payload is None:
                data[ref] = ERASED
                continue
            try:
                data[ref] = unpack(payload)
            except EventUnreadable:
                data[ref] = DAMAGED
    return Contents(data)
