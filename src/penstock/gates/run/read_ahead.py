"""Reading ahead: what a replay will ask for next is known from its tape, so it is read many at a time."""

import asyncio
from typing import TYPE_CHECKING

from penstock.events import ModelOutcome, NoteRecorded, ToolOutcome
from penstock.gates.run.ledger import first_ref
from penstock.journal.payloads import ref_address

if TYPE_CHECKING:
    from penstock.gates.order.tape import Tape
    from penstock.gates.run.services import Services
    from penstock.ports.records import Claim

WORTH_IT = 8  # calls on the tape, below which each payload is read as it is asked for
MOST = 500
MOST_BYTES = 1024 * 1024
"""Of one read, exceeded by one payload at most: what each run holds of what its code has not come to yet."""


class ReadAhead:
    """The payloads of one run's recorded outcomes, in the order in which they were released."""

    def __init__(self, tape: "Tape") -> None:
        self._order: list[bytes] = []
        self._place: dict[bytes, int] = {}
        self._held: dict[bytes, bytes] = {}
        self._reading = asyncio.Lock()
        if len(tape.order) < WORTH_IT:
            return
        for path in tape.order:
            last = tape.calls[path][-1]
            name = _PAYLOADS.get(type(last))
            ref = first_ref(last, name) if name else ""
            if ref and (where := ref_address(ref)) not in self._place:
                self._place[where] = len(self._order)
                self._order.append(where)

    async def read(self, services: "Services", claim: "Claim", subject: str, where: bytes) -> bytes:
        """One payload's data, and in the same request those that will be asked for next.

        Raises:
            PayloadMissing: it is not there.
        """
        if where not in self._place or subject != claim.subject:
            return await services.reader.read(claim.tenant, subject, where)
        async with self._reading:  # branches ask side by side: one of them reads for all
            if where not in self._held and where in self._place:
                place = self._place[where]
                wanted = self._order[place : place + MOST]
                self._held = await services.reader.read_some(claim.tenant, subject, wanted, MOST_BYTES)
        self._place.pop(where, None)  # what is asked for twice is the cache's business
        data = self._held.pop(where, None)
        return await services.reader.read(claim.tenant, subject, where) if data is None else data


_PAYLOADS = {ModelOutcome: "response", ToolOutcome: "result", NoteRecorded: "value"}
