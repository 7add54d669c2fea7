"""What goes over the line between a process and its parent: kinds, lengths, and plain values.

A frame is one byte of kind, eight bytes of length and a body. To a process goes one frame a call: a `Request` and its
arguments. Back come at most two: that the call starts, and how it ended.
"""

import io
import pickle
import struct
from dataclasses import dataclass
from typing import IO, Any

from penstock.adapters.isolation.address import Address

HEADER = struct.Struct("!cQ")

CALL = b"C"
STARTING = b"S"  # sent before the start allowance is checked: without it, the tool was certainly not called
LATE = b"L"  # the start allowance was over; not called
REFUSED = b"N"  # the tool or its arguments could not be loaded; not called. Body: what, hint
RETURNED = b"R"  # body: the plain result
RAISED = b"X"  # body: see faults.py
UNUSABLE = b"U"  # it ran, but its result cannot be sent. Body: why
WORDS_MAX_BYTES = 64 * 1024
ANSWERS = frozenset((LATE, REFUSED, RETURNED, RAISED, UNUSABLE))


class TooLarge(Exception):
    """A body over its bound."""


class Garbled(Exception):
    """What came over the line is no frame: something else wrote to it."""


@dataclass(slots=True, frozen=True)
class Request:
    """One call. ``arguments`` is read only when the tool's module is loaded: it may hold values of its classes."""

    address: Address
    start_by_boot_ns: int
    timeout_ns: int
    answer_max_bytes: int
    arguments: bytes
    egress: tuple[str, ...] | None = None  # what may be connected to; None = anything


class _Bounded:
    """A file for the pickler that refuses to grow beyond a bound, so that nothing huge is ever copied."""

    def __init__(self, most: int) -> None:
        self.written = bytearray()
        self._most = most

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        if len(self.written) + size > self._most:
            raise TooLarge
        self.written += data
        return size


class _PlainUnpickler(pickle.Unpickler):
    """Reads plain values and nothing else: what a process sends can make no class and call nothing here."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name} is no plain value")


def pack(value: Any, most: int) -> bytes:
    """The value pickled.

    Raises:
        TooLarge: it takes more than ``most`` bytes.
        Exception: it cannot be pickled.
    """
    file = _Bounded(most)
    pickle.Pickler(file, protocol=pickle.HIGHEST_PROTOCOL).dump(value)
    return bytes(file.written)


def unpack_plain(body: bytes) -> Any:
    """The plain value that was packed.

    Raises:
        Exception: it is not one.
    """
    return _PlainUnpickler(io.BytesIO(body)).load()


def unpack_trusted(body: bytes) -> Any:
    """What the parent sent to its own child, of any class."""
    return pickle.loads(body)  # noqa: S301 - it comes from the parent, whose code this process runs anyway


def frame(kind: bytes, body: bytes = b"") -> bytes:
    """The frame's bytes."""
    return HEADER.pack(kind, len(body)) + body


def read_frame(stream: IO[bytes]) -> tuple[bytes, bytes] | None:
    """The next frame of a blocking stream, or None at its end."""
    header = stream.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    kind, length = HEADER.unpack(header)
    body = stream.read(length)
    return (kind, body) if len(body) == length else None


class FrameReader:
    """Frames out of bytes as they arrive."""

    def __init__(self, body_max_bytes: int) -> None:
        self._buffer = bytearray()
        self._most = body_max_bytes

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next(self) -> tuple[bytes, bytes] | None:
        """The next whole frame, or None.

        Raises:
            Garbled: there is none to come.
        """
        if len(self._buffer) < HEADER.size:
            return None
        kind, length = HEADER.unpack_from(self._buffer)
        if length > self._most or kind not in ANSWERS | {STARTING}:
            raise Garbled
        end = HEADER.size + length
        if len(self._buffer) < end:
            return None
        body = bytes(memoryview(self._buffer)[HEADER.size : end])
        del self._buffer[:end]
        return kind, body
