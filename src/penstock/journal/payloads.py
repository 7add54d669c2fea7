"""Payloads: what events talk about, stored once per subject under a keyed address.

The address is at once where a payload is found, a commitment that hides it (without the subject's key nobody can test
a guess), and a proof against change (with the key anybody can recompute it).
"""

import asyncio
import binascii
import hashlib
import hmac
import threading
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence

import zstandard

from penstock.kernel.errors import ChainBroken, EventUnreadable, PayloadMissing
from penstock.ports.journal import Journal
from penstock.ports.records import Payload, PayloadKey

COMPRESS_FROM = 256
"""Bytes from which compression is tried. Below, zstd's frame and the time cost more than they save."""
LEVEL = 3
MAX_SIZE = 256 * 1024 * 1024
"""No payload is expanded beyond this, whatever its row says."""

FETCH_AT_ONCE = 100
"""Payloads of one request to the store, at most: each may have as many bytes as one payload may."""
BULK_AT_ONCE = 1000
BULK_BYTES = 8 * 1024 * 1024
"""Of one request for many payloads that are expected to be small; raw bytes, exceeded by one payload at most."""

HELD_OVERHEAD = 300
"""Bytes that the reader's memory counts for the key and the entry of each payload it keeps."""

_local = threading.local()  # zstd contexts are costly to make and not safe to share between threads


def address(key: bytes, data: bytes) -> bytes:
    """HMAC-SHA256 of the data under the subject's key, 32 bytes."""
    return hmac.digest(key, data, "sha256")


class Committer:
    """`address` for one key, at a third of the price: what HMAC does with the key alone is done once (RFC 2104)."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        block = (key if len(key) <= 64 else hashlib.sha256(key).digest()).ljust(64, b"\0")
        self._inner = hashlib.sha256(block.translate(_INNER))
        self._outer = hashlib.sha256(block.translate(_OUTER))

    def address(self, data: bytes) -> bytes:
        """HMAC-SHA256 of the data, 32 bytes."""
        inner = self._inner.copy()
        inner.update(data)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.digest()


_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))


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
    size = len(data)
    if size >= COMPRESS_FROM:
        packed = _compressor().compress(data)
        if len(packed) < size:
            return Payload(tenant, subject, where, packed, "zstd", size)
    return Payload(tenant, subject, where, data, "raw", size)


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

    What many runs ask for in the same step of the event loop is read in one request: a worker that has claimed a
    hundred runs reads their inputs at once.

    Args:
        journal: where they are.
        capacity: bytes kept, at most; larger payloads than that pass through.
    """

    def __init__(self, journal: Journal, capacity: int = 64 * 1024 * 1024) -> None:
        self._journal = journal
        self._capacity = capacity
        self._held: OrderedDict[PayloadKey, bytes] = OrderedDict()
        self._size = 0
        self._asked: dict[PayloadKey, asyncio.Future[bytes]] = {}
        self._fetching: set[asyncio.Task[None]] = set()

    async def read(self, tenant: str, subject: str, where: bytes) -> bytes:
        """One payload's data.

        Raises:
            PayloadMissing: not there: erased, lost, or another tenant's or subject's.
        """
        key = (tenant, subject, where)
        data = self._held.get(key)
        if data is not None:
            self._held.move_to_end(key)
            return data
        return await asyncio.shield(self._ask(key))

    async def read_many(self, tenant: str, subject: str, wanted: Iterable[bytes]) -> dict[bytes, bytes]:
        """The data of several payloads by address, in one request to the store.

        Raises:
            PayloadMissing: one of them is not there.
        """
        addresses = list(dict.fromkeys(wanted))
        data = await asyncio.gather(*(self.read(tenant, subject, where) for where in addresses))
        return dict(zip(addresses, data, strict=True))

    async def read_in_bulk(self, tenant: str, subject: str, wanted: Iterable[bytes]) -> dict[bytes, bytes]:
        """The same for thousands of payloads that are read once: past the cache, in requests of bounded size.

        Raises:
            PayloadMissing: one of them is not there.
        """
        left = deque(dict.fromkeys(wanted))
        found: dict[bytes, bytes] = {}
        while left:
            part = [left.popleft() for _ in range(min(BULK_AT_ONCE, len(left)))]
            stored = await self._journal.snapshots.payloads([(tenant, subject, where) for where in part], BULK_BYTES)
            for key, payload in stored.items():
                found[key[2]] = unpack(payload)
            missing = [where for where in part if where not in found]
            is_whole = sum(payload.size for payload in stored.values()) < BULK_BYTES
            if missing and is_whole:
                raise PayloadMissing(f"payload {ref_text(missing[0])} of subject {subject!r} is not in the store")
            left.extendleft(reversed(missing))
        return found

    async def read_some(
        self, tenant: str, subject: str, wanted: Sequence[bytes], most_bytes: int
    ) -> dict[bytes, bytes]:
        """Those of the first payloads that exist, in one request of bounded size; past the cache."""
        stored = await self._journal.snapshots.payloads([(tenant, subject, where) for where in wanted], most_bytes)
        return {key[2]: unpack(payload) for key, payload in stored.items()}

    def forget(self, tenant: str, subject: str) -> None:
        """Drop what is held of a subject that was erased."""
        for key in [key for key in self._held if key[:2] == (tenant, subject)]:
            self._size -= len(self._held.pop(key)) + HELD_OVERHEAD

    def _ask(self, key: PayloadKey) -> "asyncio.Future[bytes]":
        future = self._asked.get(key)
        if future is None:
            loop = asyncio.get_running_loop()
            if not self._asked:
                loop.call_soon(self._fetch_asked)
            future = self._asked[key] = loop.create_future()
        return future

    def _fetch_asked(self) -> None:
        asked, self._asked = self._asked, {}
        task = asyncio.get_running_loop().create_task(self._fetch(asked))
        self._fetching.add(task)
        task.add_done_callback(self._fetching.discard)

    async def _fetch(self, asked: "dict[PayloadKey, asyncio.Future[bytes]]") -> None:
        keys = list(asked)
        try:
            for start in range(0, len(keys), FETCH_AT_ONCE):
                part = keys[start : start + FETCH_AT_ONCE]
                stored = await self._journal.fetch_payloads(part)
                for key in part:
                    self._answer(asked[key], key, stored.get(key))
        except BaseException as error:
            for future in asked.values():
                if not future.done():
                    future.set_exception(
                        error if isinstance(error, Exception) else PayloadMissing("the read was cut off")
                    )
            if not isinstance(error, Exception):
                raise

    def _answer(self, future: "asyncio.Future[bytes]", key: PayloadKey, payload: Payload | None) -> None:
        if future.done():
            return
        if payload is None:
            future.set_exception(
                PayloadMissing(f"payload {ref_text(key[2])} of subject {key[1]!r} is not in the store")
            )
            return
        try:
            data = unpack(payload)
        except EventUnreadable as error:
            future.set_exception(error)
            return
        self._hold(key, data)
        future.set_result(data)

    def _hold(self, key: PayloadKey, data: bytes) -> None:
        if len(data) > self._capacity or key in self._held:
            return
        self._held[key] = data
        self._size += len(data) + HELD_OVERHEAD
        while self._size > self._capacity:
            _, dropped = self._held.popitem(last=False)
            self._size -= len(dropped) + HELD_OVERHEAD
