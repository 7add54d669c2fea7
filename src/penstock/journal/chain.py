"""The hash chain of a run: each event's hash covers its stored bytes and, through the previous hash, all before it.

The bytes hold commitments to payloads, not payloads (see `payloads.address`), so the chain still verifies after a
subject was erased. The chain alone cannot show that somebody rewrote all of it, head included, or cut it and its row;
for that its head must be held elsewhere (signed checkpoints).
"""

import hashlib
from collections.abc import Iterable
from uuid import UUID

import msgspec

from penstock.kernel.errors import ChainBroken
from penstock.ports.records import Row

_DOMAIN = b"penstock.journal.1"


class _Place(msgspec.Struct):
    """Of an event only where it says it belongs."""

    tenant: str = ""
    run: UUID | None = None
    seq: int = 0


_places = msgspec.json.Decoder(_Place)


def genesis(tenant: str, run: UUID) -> bytes:
    """What the first event of a run is linked to; differs for every run, so that no chain fits another run."""
    name = tenant.encode()
    return hashlib.sha256(_DOMAIN + len(name).to_bytes(4, "big") + name + run.bytes).digest()


def link(previous: bytes, body: bytes) -> bytes:
    """The hash of an event: SHA-256 of the previous hash and the stored bytes. 32 bytes."""
    return hashlib.sha256(previous + body).digest()


def verify(tenant: str, run: UUID, rows: Iterable[Row], head: bytes, last_seq: int) -> None:
    """Check a run's whole tape against its chain and its row.

    Args:
        tenant: whose run it is.
        run: its id.
        rows: all its events, in the order of ``seq``.
        head: the last hash as the run's row, or a checkpoint, has it.
        last_seq: the number of events as the same source has it.

    Raises:
        ChainBroken: names the first event that does not fit; ``fields`` hold ``seq`` and ``problem``, one of
            ``missing``, ``reordered``, ``changed``, ``foreign``, ``truncated``, ``extended``, ``head``.
    """
    previous = genesis(tenant, run)
    expected = 1
    for row in rows:
        if row.seq != expected:
            raise _out_of_place(run, row.seq, expected)
        if row.seq > last_seq:
            raise _broken(run, row.seq, "extended", f"the run ends with event {last_seq}, but there is another one")
        if link(previous, row.body) != row.hash:
            raise _misfit(tenant, run, row)
        _check_place(tenant, run, row)
        previous = row.hash
        expected += 1
    if expected <= last_seq:
        raise _broken(run, expected, "truncated", f"the events end before it; the run has {last_seq}")
    if previous != head:
        raise _broken(
            run, last_seq, "head", "its hash is not the head of the run: the chain was replaced as a whole, or the head"
        )


def _out_of_place(run: UUID, seq: int, expected: int) -> ChainBroken:
    if seq > expected:
        return _broken(run, expected, "missing", f"the next one found is event {seq}")
    return _broken(run, expected, "reordered", f"event {seq} stands in its place")


def _misfit(tenant: str, run: UUID, row: Row) -> ChainBroken:
    """A hash that does not fit: say when the event plainly came from elsewhere."""
    try:
        _check_place(tenant, run, row)
    except ChainBroken as error:
        return error
    return _broken(run, row.seq, "changed", "its bytes or hash, or those of the one before it, were changed")


def _check_place(tenant: str, run: UUID, row: Row) -> None:
    try:
        place = _places.decode(row.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return  # whether an event can be read is not the chain's question
    if place.tenant not in ("", tenant) or place.run not in (None, run):
        raise _broken(run, row.seq, "foreign", f"it says it belongs to run {place.run} of tenant {place.tenant!r}")
    if place.seq not in (0, row.seq):
        raise _broken(run, row.seq, "reordered", f"it says it is event {place.seq}")


def _broken(run: UUID, seq: int, problem: str, words: str) -> ChainBroken:
    return ChainBroken(f"event {seq} of run {run} is {_STATES[problem]}: {words}", run=run, seq=seq, problem=problem)


_STATES = {
    "missing": "missing",
    "reordered": "out of order",
    "changed": "not what was recorded",
    "foreign": "from another run",
    "truncated": "missing",
    "extended": "one too many",
    "head": "not what the run's row has",
}
