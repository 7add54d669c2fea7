"""What a run that has not ended waits for."""

import msgspec

from penstock.events import Waiting
from penstock.ports.records import RunRow, Status

_decoder = msgspec.json.Decoder(list[Waiting])


def waits_of(row: RunRow) -> list[Waiting]:
    """What the run's row says it waits for; nothing once it has ended or is set aside."""
    return _decoder.decode(row.waiting) if row.status in (Status.PARKED, Status.RUNNING) else []
