"""Payloads: what events talk about, stored once per subject under a keyed address.

The address is at once where a payload is found, a commitment that hides it (without the subject's key nobody can test
a guess), and a proof against change (with the key anybody can recompute it).
"""

import binascii
import hmac
import threading
from collections import OrderedDict
from collections.abc import Iterable

import zstandard

from penstock.kernel.errors import ChainBroken, EventUnreadable, PayloadMissing
from penstock.ports.journal import Journal, Payload

COMPRESS_FROM = 256
"""Bytes from which compression is tried. Below, zstd's frame and the time cost more than they save."""
LEVEL = 3
MAX_SIZE = 256 * 1024 * 1024
"""No payload is expanded beyond this, whatever its row says."""

_local = threading.local()  # zstd contexts are costly to make and not safe to share between threads


def address(key: bytes, data: bytes) -> bytes:
    """HMAC-SHA256 of the data under the subject's key, 32 bytes."""
    return hmac.digest(key, data, "sha256")


def ref_text(where: bytes) -> str:
    """An address as events carry it: base64url without padding, 43 characters."""
    return binascii.b2a_base64(where, newline=False).rstrip(b"=").translate(_TO_URL).decode()


def ref_address(ref: str) -> bytes:
    """The address of a reference.

    Raises:
        EventUnreadable: not a reference.
    """
    try:
        where = binascii.a2b_base64(ref.encode().translate(_FROM_URL) + b"=", strict_mode=True)
    except (ValueError, UnicodeEncodeError) as error:
        raise EventUnreadable(f"{ref!r} is not a reference to a payload") from error
    if len(where) != 32:
        raise EventUnreadable(f"{ref!r} is not a reference to a payload")
    return where


_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_", b"+/")


def make_payload(tenant: str, subject: str, where: bytes, data: bytes) -> Payload:
    """A payload as it is stored: compressed when that makes it smaller."""
    if len(data) >= COMPRESS_FROM:
        packed = _compressor().compress(data)
        if len(packed) < len(data):
            return Payload(tenant, subject, where, packed, "zstd", len(data))
    return Payload(tenant, subject, where, data, "raw", len(data))


def unpack(payload: Payload, key: bytes | None = None) -> bytes:
    """The data of a stored payload; with the subject's key also proves that they are the ones committed to.

    Raises:
        EventUnreadable: damaged, larger than it claims, or of a codec that this installation does not know.
        ChainBroken: another payload than the one that was committed to.
    """
    data = _expand(payload)
    if len(data) != payload.size:
        raise EventUnreadable(f"a payload has {len(data)} bytes; its row says {payload.size}")
    if key is not None and not hmac.compare_digest(address(key, data), payload.address):
        raise ChainBroken(f"payload {ref_text(payload.address)} is not what was recorded", problem="payload")
    return data


def _expand(payload: Payload) -> bytes:
    if payload.codec == "raw":
        return payload.data
    if payload.codec != "zstd":
        raise EventUnreadable(f"a payload is stored as {payload.codec!r}, which this installation cannot read")
    try:
        # The frame's own header decides how much memory is taken, so it is read before anything is expanded.
        claimed = zstandard.frame_content_size(payload.data)
        if claimed != payload.size or claimed > MAX_SIZE:
            raise EventUnreadable(f"a payload would expand to {claimed} bytes; its row says {payload.size}")
        return _decompressor().decompress(payload.data, max_output_size=payload.size)
    except zstandard.ZstdError as error:
        raise EventUnreadable(f"a payload is damaged: {error}") from error


def _compressor() -> zstandard.ZstdCompressor:
    if not hasattr(_local, "compressor"):
        _local.compressor = zstandard.ZstdCompressor(level=LEVEL)
    compressor: zstandard.ZstdCompressor = _local.compressor
    return compressor


def _decompressor() -> zstandard.ZstdDecompressor:
    if not hasattr(_local, "decompressor"):
        _local.decompressor = zstandard.ZstdDecompressor()
    decompressor: zstandard.ZstdDecompressor = _local.decompressor
    return decompressor


class PayloadReader:
    """Reads payloads, and keeps the last ones used in memory.

    Args:
        journal: where they are.
        capacity: bytes kept, at most; larger payloads than that pass through.
    """

    def __init__(self, journal: Journal, capacity: int = 64 * 1024 * 1024) -> None:
        self._journal = journal
        self._capacity = capacity
        self._held: OrderedDict[tuple[str, str, bytes], bytes] = OrderedDict()
        self._size = 0

    async def read(self, tenant: str, subject: str, where: bytes) -> bytes:
        """One payload's data.

        Raises:
            PayloadMissing: not there: erased, lost, or another tenant's or subject's.
        """
        found = await self.read_many(tenant, subject, (where,))
        return found[where]

    async def read_many(self, tenant: str, subject: str, wanted: Iterable[bytes]) -> dict[bytes, bytes]:
        """The data of several payloads by address, in one request to the store.

        Raises:
            PayloadMissing: one of them is not there.
        """
        found: dict[bytes, bytes] = {}
        absent = []
        for where in dict.fromkeys(wanted):
            data = self._held.get((tenant, subject, where))
            if data is None:
                absent.append(where)
            else:
                self._held.move_to_end((tenant, subject, where))
                found[where] = data
        if absent:
            stored = await self._journal.get_payloads(tenant, subject, absent)
            for where in absent:
                if where not in stored:
                    raise PayloadMissing(f"payload {ref_text(where)} of subject {subject!r} is not in the store")
                found[where] = data = unpack(stored[where])
                self._hold((tenant, subject, where), data)
        return found

    def forget(self, tenant: str, subject: str) -> None:
        """Drop what is held of a subject that was erased."""
        for key in [key for key in self._held if key[:2] == (tenant, subject)]:
            self._size -= len(self._held.pop(key))

    def _hold(self, key: tuple[str, str, bytes], data: bytes) -> None:
        if len(data) > self._capacity or key in self._held:
            return
        self._held[key] = data
        self._size += len(data)
        while self._size > self._capacity:
            _, dropped = self._held.popitem(last=False)
            self._size -= len(dropped)
