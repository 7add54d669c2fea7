"""Writing archives, and writing them again with less in them; see `penstock.journal.archive` for their form."""

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import IO, BinaryIO, Final, cast
from uuid import UUID

import msgspec
import zstandard

from penstock.journal.archive import (
    FORMAT,
    MARK,
    SKIPPABLE,
    TRAILER,
    Archive,
    EventLine,
    Line,
    Manifest,
    Part,
    PayloadLine,
    RunLine,
)
from penstock.ports.records import Payload, Row, RunRow

LEVEL: Final = 9
"""Of zstd: archives are written once and kept long, and JSON is small beside what payloads are."""

_encoder = msgspec.json.Encoder()


@dataclass(slots=True)
class _Metered:
    """Counts and digests what goes through to the file."""

    file: BinaryIO
    size: int = 0
    digest: "hashlib._Hash" = None  # type: ignore[assignment]

    def begin(self) -> None:
        self.size, self.digest = 0, hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.size += len(data)
        self.digest.update(data)
        return self.file.write(data)

    def flush(self) -> None:
        """The file is flushed once, at its end."""


class ArchiveWriter:
    """Writes an archive into an open, empty file. Nothing else may write to it meanwhile."""

    def __init__(self, file: BinaryIO, tenant: str, made_at: int, origin: UUID) -> None:
        self._file = file
        self._tenant = tenant
        self._made_at = made_at
        self._origin = origin
        self._out = _Metered(file)
        self._compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True)
        self._stream: zstandard.ZstdCompressionWriter | None = None
        self._run: RunLine | None = None
        self._payloads = 0
        self.parts: list[Part] = []
        self.size = 0
        """Bytes written so far."""

    def begin(self, row: RunRow, key: bytes | None) -> None:
        """Begin a run."""
        self._run, self._payloads = RunLine(row, key), 0
        self._open()
        self._write(self._run)

    def add_events(self, rows: Iterable[Row]) -> None:
        """Events of the run, in order."""
        for row in rows:
            try:
                text, body = row.body.decode(), b""
            except UnicodeDecodeError:
                text, body = "", row.body
            self._write(EventLine(row.seq, row.at, row.hash, text, body))

    def add_payloads(self, payloads: Iterable[Payload]) -> None:
        """Payloads of the run, after its events."""
        for payload in payloads:
            self._write(PayloadLine(payload.address, payload.codec, payload.size, payload.data))
            self._payloads += 1

    def end(self) -> None:
        """The run is complete."""
        assert self._run is not None
        row, key = self._run.row, self._run.key
        offset = self._close()
        self.parts.append(
            Part(
                row.id,
                row.agent,
                row.subject,
                row.last_seq,
                row.head,
                key is not None,
                self._payloads,
                offset,
                self._out.size,
                self._out.digest.digest(),
            )
        )
        self._run = None

    def copy(self, source: "Archive", part: Part) -> None:
        """Take a run over from another archive, byte by byte."""
        offset = self.size
        for chunk in source.raw(part):
            self._file.write(chunk)
        self.size += part.size
        self.parts.append(msgspec.structs.replace(part, offset=offset))

    def finish(self) -> None:
        """Write the manifest, and wait until all of it is on the disk."""
        self._open()
        self._write(Manifest(FORMAT, self._tenant, self._made_at, self._origin, self.parts))
        offset = self._close()
        digest = self._out.digest.digest()
        self._file.write(TRAILER.pack(SKIPPABLE, TRAILER.size - 8, offset, self._out.size, digest, MARK))
        self._file.flush()
        os.fsync(self._file.fileno())
        self.size += TRAILER.size

    def _open(self) -> None:
        self._out.begin()
        self._stream = self._compressor.stream_writer(cast("IO[bytes]", self._out), closefd=False)

    def _write(self, line: "Line | Manifest") -> None:
        assert self._stream is not None
        self._stream.write(_encoder.encode(line) + b"\n")

    def _close(self) -> int:
        assert self._stream is not None
        self._stream.flush(zstandard.FLUSH_FRAME)
        offset, self.size = self.size, self.size + self._out.size
        return offset


def rewrite(
    source: Archive, file: BinaryIO, *, keep: "set[UUID] | None" = None, redact: str | None = None
) -> ArchiveWriter:
    """Write an archive again, with some of its runs, and without the content and key of one subject.

    Args:
        source: what is to be written again.
        file: an open, empty file.
        keep: runs that stay; None = all.
        redact: a subject; of a run that is its own subject, its id.
    """
    writer = ArchiveWriter(file, source.tenant, source.manifest.made_at, source.manifest.origin)
    for part in source.parts:
        if keep is not None and part.run not in keep:
            continue
        if part.subject != redact:
            writer.copy(source, part)
            continue
        writer.begin(source.head(part).row, None)
        writer.add_events(line.as_row() for line in source.lines(part) if isinstance(line, EventLine))
        writer.end()
    writer.finish()
    return writer
