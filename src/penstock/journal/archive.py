"""Archives: the whole record of ended runs of one tenant, in one file that verifies and replays by itself.

The file is a sequence of zstd frames of JSON Lines, so ``zstdcat FILE | jq`` reads it. Each run is one frame (a
*part*): its row with its subject's key, its events with their exact bytes and hashes, its payloads as they were stored.
The frame after the last part is the manifest, with place and SHA-256 of each. Last comes a skippable frame (RFC 8878,
3.1.2) that says where the manifest is. Of a part no more than a line is held in memory.
"""

import hashlib
import io
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, BinaryIO, Final, Self, cast
from uuid import UUID

import msgspec
import zstandard

from penstock.journal.chain import verify
from penstock.journal.payloads import MAX_SIZE, ref_address, ref_text, unpack
from penstock.kernel.errors import ArchiveInvalid, ChainBroken, EventUnreadable
from penstock.ports.records import Payload, Row, RunRow

FORMAT: Final = 1
CHUNK: Final = 1024 * 1024
MANIFEST_MAX: Final = 256 * 1024 * 1024
LINE_MAX: Final = 2 * MAX_SIZE
"""A payload of the largest size in base64, and more."""

TRAILER: Final = struct.Struct(
    "<IIQQ32s8s"
)  # magic of a skippable frame, its size, offset and size of the manifest, digest
SKIPPABLE: Final = 0x184D2A5E
MARK: Final = b"PENSTOCK"


class RunLine(msgspec.Struct, tag_field="line", tag="run", frozen=True):
    """The first line of a part. ``key``: of the run's subject; None when it was erased, or content was left out."""

    row: RunRow
    key: bytes | None


class EventLine(msgspec.Struct, tag_field="line", tag="event", frozen=True, omit_defaults=True):
    """One event. Its bytes are ``text`` in UTF-8, or ``body`` where they are no text."""

    seq: int
    at: int
    hash: bytes
    text: str = ""
    body: bytes = b""

    def as_row(self) -> Row:
        """The event as it was stored."""
        return Row(self.seq, self.body or self.text.encode(), self.hash, self.at)


class PayloadLine(msgspec.Struct, tag_field="line", tag="payload", frozen=True):
    """One payload as it was stored."""

    address: bytes
    codec: str
    size: int
    data: bytes


Line = RunLine | EventLine | PayloadLine


class Part(msgspec.Struct, frozen=True):
    """One run in an archive. ``offset`` and ``size`` are of its compressed bytes, ``sha256`` is theirs."""

    run: UUID
    agent: str
    subject: str
    last_seq: int
    head: bytes
    keyed: bool
    payloads: int
    offset: int
    size: int
    sha256: bytes


class Manifest(msgspec.Struct, frozen=True):
    """What an archive holds."""

    format: int
    tenant: str
    made_at: int
    origin: UUID  # the database it was made from
    parts: list[Part]


class _Payloads(msgspec.Struct):
    payloads: dict[str, list[str]] = {}


_lines = msgspec.json.Decoder(Line)
_manifests = msgspec.json.Decoder(Manifest)
_refs = msgspec.json.Decoder(_Payloads)


def addresses_in(body: bytes) -> list[bytes]:
    """Addresses of the payloads that an event refers to.

    Raises:
        EventUnreadable: the event cannot be read.
    """
    try:
        return [ref_address(ref) for refs in _refs.decode(body).payloads.values() for ref in refs]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise EventUnreadable(f"an event cannot be read: {error}") from error


class Archive:
    """An archive open for reading.

    Raises:
        ArchiveInvalid: on opening, and in all methods: it is no archive, or not as it was written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise ArchiveInvalid(
                f"{path} cannot be read: {error.strerror or error}", hint="name the file of an archive"
            ) from error
        try:
            self.manifest = self._read_manifest()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def tenant(self) -> str:
        return self.manifest.tenant

    @property
    def parts(self) -> Sequence[Part]:
        return self.manifest.parts

    def raw(self, part: Part) -> Iterator[bytes]:
        """The compressed bytes of a part, which must be those of the manifest."""
        self._file.seek(part.offset)
        left, digest = part.size, hashlib.sha256()
        while left:
            chunk = self._file.read(min(CHUNK, left))
            if not chunk:
                raise self._bad(f"the part of run {part.run} is cut off")
            digest.update(chunk)
            left -= len(chunk)
            yield chunk
        if digest.digest() != part.sha256:
            raise self._bad(f"the part of run {part.run} is not what the manifest says")

    def check(self) -> None:
        """Compare all of the file with its manifest: each part's digest, and that nothing lies between them."""
        expected = 0
        for part in self.parts:
            if part.offset != expected:
                raise self._bad(f"{abs(part.offset - expected)} bytes before the part of run {part.run} are no part's")
            for _ in self.raw(part):
                pass
            expected += part.size
        if expected != self._manifest_at:
            raise self._bad("there are bytes between the last part and the manifest")

    def lines(self, part: Part) -> Iterator[Line]:
        """The lines of a part, one after the other. The digest is not looked at: see `check`."""
        window = cast("IO[bytes]", _Window(self._file, part.offset, part.size))
        try:
            with zstandard.ZstdDecompressor().stream_reader(window, closefd=False) as stream:
                reader = io.BufferedReader(stream, CHUNK)
                while line := reader.readline(LINE_MAX):
                    yield _lines.decode(line)
                reader.detach()
        except (zstandard.ZstdError, msgspec.DecodeError, UnicodeDecodeError, OSError) as error:
            raise self._bad(f"the part of run {part.run} cannot be read: {error}") from error

    def head(self, part: Part) -> RunLine:
        """A part's run."""
        first = next(self.lines(part), None)
        if not isinstance(first, RunLine):
            raise self._bad(f"the part of run {part.run} does not begin with its row")
        if (first.row.tenant, first.row.id) != (self.tenant, part.run):
            raise self._bad(f"the part of run {part.run} holds another run")
        return first

    def verify(self, part: Part) -> None:
        """Check a run's chain, and each payload against what its event committed to, in one pass.

        Raises:
            ChainBroken: names the first event that does not fit.
        """
        run = self.head(part)
        row, lines = run.row, self.lines(part)
        next(lines)
        wanted: dict[bytes, int] = {}
        rest: list[PayloadLine] = []
        verify(row.tenant, row.id, _events(lines, wanted, rest), row.head, row.last_seq)
        for line in _chained(rest, lines):
            if not isinstance(line, PayloadLine):
                raise self._bad(f"the part of run {part.run} has lines out of order")
            if wanted.pop(line.address, None) is not None:
                unpack(Payload(row.tenant, row.subject, line.address, line.data, line.codec, line.size), run.key)
        if wanted and run.key is not None:
            where, seq = min(wanted.items(), key=lambda item: item[1])
            words = f"payload {ref_text(where)} of event {seq} of run {row.id} is not in the archive"
            raise ChainBroken(words, run=row.id, seq=seq, problem="payload_missing")

    def _read_manifest(self) -> Manifest:
        size = self._file.seek(0, io.SEEK_END)
        if size < TRAILER.size:
            raise self._bad("it is too short")
        self._file.seek(size - TRAILER.size)
        magic, length, offset, stored, digest, mark = TRAILER.unpack(self._file.read(TRAILER.size))
        if (magic, length, mark) != (SKIPPABLE, TRAILER.size - 8, MARK):
            raise self._bad("it does not end as an archive does; it may be cut off")
        if offset + stored + TRAILER.size != size:
            raise self._bad("its manifest is not where it should be")
        self._manifest_at = offset
        self._file.seek(offset)
        data = self._file.read(stored)
        if hashlib.sha256(data).digest() != digest:
            raise self._bad("its manifest was changed")
        try:
            found = zstandard.ZstdDecompressor().decompressobj().decompress(data)
            if len(found) > MANIFEST_MAX:
                raise self._bad("its manifest is too large")
            manifest = _manifests.decode(found)
        except (zstandard.ZstdError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self._bad(f"its manifest cannot be read: {error}") from error
        if manifest.format != FORMAT:
            raise ArchiveInvalid(
                f"{self.path} has format {manifest.format}; this installation reads {FORMAT}",
                hint="upgrade this installation of penstock",
            )
        return manifest

    def _bad(self, words: str) -> ArchiveInvalid:
        return ArchiveInvalid(f"{self.path} is no whole archive: {words}")


class _Window(io.RawIOBase):
    """A stretch of a file, read from its beginning; keeps its own place, so that several may be open."""

    def __init__(self, file: BinaryIO, offset: int, size: int) -> None:
        self._file, self._at, self._end = file, offset, offset + size

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        left = self._end - self._at
        self._file.seek(self._at)
        data = self._file.read(left if size < 0 else min(size, left))
        self._at += len(data)
        return data


def _events(lines: Iterator[Line], wanted: dict[bytes, int], rest: list[PayloadLine]) -> Iterator[Row]:
    """The events among the lines, up to the first that is none, which is left in ``rest``; notes what they refer to."""
    for line in lines:
        if isinstance(line, PayloadLine):
            rest.append(line)
            return
        if isinstance(line, EventLine):
            row = line.as_row()
            for where in addresses_in(row.body):
                wanted.setdefault(where, row.seq)
            yield row


def _chained(first: list[PayloadLine], lines: Iterator[Line]) -> Iterator[Line]:
    yield from first
    yield from lines
