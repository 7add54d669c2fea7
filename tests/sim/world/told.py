"""A run and its decoded tape, as the questions afterwards look at them."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec

from penstock.adapters.memory.records import Run, Store
from penstock.events import Event, RunEnded
from penstock.journal.payloads import ref_address, unpack
from penstock.ports.records import RunKey


@dataclass(slots=True)
class Told:
    """A run and its decoded tape."""

    run: Run
    events: list[Event]

    @property
    def key(self) -> RunKey:
        return self.run.key

    @property
    def id(self) -> UUID:
        return self.run.new.id

    @property
    def short(self) -> str:
        return self.id.hex[-6:]

    @property
    def end(self) -> RunEnded | None:
        last = self.events[-1]
        return last if isinstance(last, RunEnded) else None

    def value(self, stored: Store, event: Event, name: str) -> Any:
        """What a payload of one of its events holds; None when there is none."""
        refs = event.payloads.get(name)
        if not refs:
            return None
        new = self.run.new
        return msgspec.json.decode(unpack(stored.payloads[new.tenant, new.subject][ref_address(refs[0])]))
