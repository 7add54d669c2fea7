"""Files of archived runs: written, read back, renamed, and only then are the runs marked.

``NAME.partial`` is being written, ``NAME.pending`` is whole but the journal may not know of it, ``NAME`` is done. Each
is locked by the process that works on it, so what is not locked was left by one that died.
"""

import asyncio
import contextlib
import fcntl
import itertools
import logging
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote
from uuid import UUID

from penstock.journal.archive import Archive, Part, addresses_in
from penstock.journal.archive_writer import ArchiveWriter, rewrite
from penstock.kernel.clock import Clock
from penstock.kernel.errors import ArchiveInvalid, ChainBroken, EventUnreadable
from penstock.kernel.ids import new_id
from penstock.ports.journal import Journal
from penstock.ports.records import Payload, PayloadKey, Row, RunRow
from penstock.ports.retention import Marking

EVENTS_AT_ONCE = 2000
PAYLOADS_AT_ONCE = 16
"""Payloads held in memory while a run is archived; each may be as large as ``payload_max_bytes``."""
TOGETHER = 64
TOGETHER_BYTES = 16 * 1024 * 1024
"""Small runs are read together, up to so many and so much as it is stored."""
SUFFIX = ".penstock.zst"
PARTIAL, PENDING = ".partial", ".pending"

_logger = logging.getLogger("penstock.runs")


@dataclass(slots=True)
class Archived:
    """What came of archiving some runs. ``name`` is empty when no file is left."""

    name: str = ""
    size: int = 0
    marked: list[UUID] = field(default_factory=list)
    broken: list[UUID] = field(default_factory=list)  # their records do not verify: they stay where they are
    read: int = 0  # of the rows given, those that were looked at


async def archive(
    journal: Journal,
    clock: Clock,
    folder: Path,
    rows: Sequence[RunRow],
    ended_before: int,
    *,
    content: bool,
    max_bytes: int,
) -> Archived:
    """Write runs of one tenant to a new file in ``folder``, read it back, mark them. Nothing is deleted here.

    Stops taking runs when the file has ``max_bytes``.

    Raises:
        ArchiveInvalid: the folder cannot be written, or the file does not read back as it was written.
        JournalError: whether the runs are marked is decided by `recover`, at the next round.
    """
    tenant = rows[0].tenant
    name = _new_name(tenant, clock)
    origin = await journal.retention.origin()
    done = Archived(name)
    partial, pending = folder / (name + PARTIAL), folder / (name + PENDING)
    with _created(partial) as file:
        try:
            writer = ArchiveWriter(file, tenant, clock.now_us(), origin)
            while done.read < len(rows) and writer.size < max_bytes:
                group = await _group(journal, rows[done.read : done.read + TOGETHER])
                done.read += len(group)
                if len(group) > 1:
                    await _write_together(journal, writer, group, content=content)
                else:
                    await _write(journal, writer, group[0], content=content)
            await asyncio.to_thread(writer.finish)
            done.broken = await asyncio.to_thread(_read_back, partial, tenant)
        except BaseException:
            partial.unlink()
            raise
        _move(partial, pending)
        runs = [
            (part.run, part.last_seq, part.head, part.keyed) for part in writer.parts if part.run not in done.broken
        ]
        done.marked = await journal.retention.mark(Marking(tenant, runs, ended_before, name, str(folder), writer.size))
        done.size = await asyncio.to_thread(_settle, folder, name, set(done.marked))
    if not done.marked:
        done.name = ""
    return done


async def recover(journal: Journal, folder: Path) -> list[str]:
    """Bring to an end what a process that died has left in the folder; names of the files that were.

    Whole files of other databases are left alone.
    """
    ours = await journal.retention.origin()
    found = []
    for path in _left(folder, PARTIAL):
        with _locked(path) as free:
            if free:
                path.unlink(missing_ok=True)
                found.append(path.name)
    for path in _left(folder, PENDING):
        with _locked(path) as free:
            if not free:
                continue
            name = path.name.removesuffix(PENDING)
            try:
                with Archive(path) as whole:
                    tenant, origin = whole.tenant, whole.manifest.origin
            except ArchiveInvalid as error:
                _logger.error("%s; look at it and remove it", error.what)
                continue
            if origin != ours:
                continue
            # Marks nothing: the name is used up, so that a session which still works on the mark cannot succeed later.
            marked = await journal.retention.mark(Marking(tenant, [], 0, name, str(folder)))
            await asyncio.to_thread(_settle, folder, name, set(marked))
            found.append(path.name)
    return found


def _left(folder: Path, suffix: str) -> list[Path]:
    return sorted(folder.glob(f"*{SUFFIX}{suffix}"))


def redact(path: Path, subject: str) -> int:
    """Take a subject's payloads and key out of an archive, in place; how many of its runs were the subject's.

    A crash leaves either the old file or the new one, and perhaps a ``.partial`` one.

    Raises:
        ArchiveInvalid: it is no whole archive.
    """
    with Archive(path) as source:
        source.check()
        parts = [part for part in source.parts if part.subject == subject and (part.keyed or part.payloads)]
        if parts:
            _replace(source, path, path, None, subject)
    return len(parts)


async def _group(journal: Journal, rows: Sequence[RunRow]) -> Sequence[RunRow]:
    """The first of these runs that are small enough to be read in one go; one by itself, whatever its size."""
    own = list(itertools.takewhile(lambda row: row.subject == str(row.id), rows))
    while len(own) > 1:
        weight = await journal.retention.weigh(own[0].tenant, [row.id for row in own])
        if weight.bytes <= TOGETHER_BYTES:
            return own
        own = own[: len(own) // 4]
    return rows[:1]


async def _write_together(journal: Journal, writer: ArchiveWriter, rows: Sequence[RunRow], *, content: bool) -> None:
    """Runs that are their own subjects, with a few calls for all of them."""
    tenant = rows[0].tenant
    tapes = await journal.tapes([(tenant, row.id) for row in rows])
    keys: list[bytes | None] = [None] * len(rows)
    payloads: dict[str, list[Payload]] = {}
    if content:
        keys = await asyncio.gather(*(journal.subject_key(tenant, row.subject) for row in rows))
        wanted: dict[PayloadKey, None] = {}
        for row in rows:
            for where in _referred(tapes[tenant, row.id]):
                wanted[tenant, row.subject, where] = None
        for payload in (await journal.fetch_payloads(list(wanted))).values():
            payloads.setdefault(payload.subject, []).append(payload)

    def write() -> None:
        for row, key in zip(rows, keys, strict=True):
            writer.begin(row, key)
            writer.add_events(tapes[tenant, row.id])
            writer.add_payloads(payloads.get(row.subject, ()))
            writer.end()

    await asyncio.to_thread(write)


def _referred(events: Sequence[Row]) -> list[bytes]:
    """Addresses that events refer to; one that cannot be read is found again when the file is read back."""
    found: list[bytes] = []
    for event in events:
        with contextlib.suppress(EventUnreadable):
            found += addresses_in(event.body)
    return found


async def _write(journal: Journal, writer: ArchiveWriter, row: RunRow, *, content: bool) -> None:
    key = await journal.subject_key(row.tenant, row.subject) if content else None
    writer.begin(row, key)
    wanted: dict[bytes, None] = {}
    after = 0
    while True:
        events = await journal.tape(row.tenant, row.id, after=after, limit=EVENTS_AT_ONCE)
        wanted.update(dict.fromkeys(_referred(events)))
        await asyncio.to_thread(writer.add_events, events)
        if len(events) < EVENTS_AT_ONCE:
            break
        after = events[-1].seq
    if content:
        async for payloads in _payloads(journal, row, list(wanted)):
            await asyncio.to_thread(writer.add_payloads, payloads)
    await asyncio.to_thread(writer.end)


async def _payloads(journal: Journal, row: RunRow, wanted: Sequence[bytes]) -> AsyncIterator[list[Payload]]:
    for start in range(0, len(wanted), PAYLOADS_AT_ONCE):
        found = await journal.get_payloads(row.tenant, row.subject, wanted[start : start + PAYLOADS_AT_ONCE])
        yield list(found.values())


def _read_back(path: Path, tenant: str) -> list[UUID]:
    """Verify a file just written, as its readers will; the runs whose records do not hold, and did not before."""
    broken = []
    with Archive(path) as written:
        if written.tenant != tenant:
            raise ArchiveInvalid(f"{path} was written for another tenant")
        written.check()
        for part in written.parts:
            try:
                written.verify(part)
            except (ChainBroken, EventUnreadable) as error:
                _logger.error("run %s of %s is kept, for it does not verify: %s", part.run, tenant, error.what)
                broken.append(part.run)
    return broken


def _settle(folder: Path, name: str, marked: set[UUID]) -> int:
    """Give a pending file its name, without the runs that were not marked; its size, 0 when nothing is left of it."""
    pending = folder / (name + PENDING)
    if not marked:
        pending.unlink()
        _sync(folder)
        return 0
    with Archive(pending) as written:
        kept = [part for part in written.parts if part.run in marked]
        if len(kept) < len(written.parts):
            _replace(written, pending, folder / name, marked, None)
            pending.unlink()
            _sync(folder)
        else:
            _move(pending, folder / name)
    return (folder / name).stat().st_size


def _replace(source: Archive, path: Path, target: Path, keep: set[UUID] | None, subject: str | None) -> list[Part]:
    partial = path.with_name(path.name + PARTIAL) if path == target else target.with_name(target.name + PARTIAL)
    partial.unlink(missing_ok=True)
    with _created(partial) as file:
        writer = rewrite(source, file, keep=keep, redact=subject)
        with Archive(partial) as written:
            written.check()
            for part in written.parts:
                written.verify(part)
        _move(partial, target)
    return writer.parts


@contextlib.contextmanager
def _created(path: Path) -> Iterator[BinaryIO]:
    """A new file for its owner alone, locked until the block ends, whatever its name is then."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    except OSError as error:
        raise ArchiveInvalid(
            f"{path} cannot be written: {error.strerror or error}", hint="name a folder that this account may write"
        ) from error
    with os.fdopen(descriptor, "w+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield file


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Whether nobody works on the file; if so, nobody else does while the block runs."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        yield False
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield path.exists()


def _move(path: Path, target: Path) -> None:
    path.replace(target)
    _sync(target.parent)


def _sync(folder: Path) -> None:
    """Make renames in the folder last."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _new_name(tenant: str, clock: Clock) -> str:
    day = datetime.fromtimestamp(clock.now_us() / 1e6, UTC).strftime("%Y%m%d")
    return f"{quote(tenant, safe='')}-{day}-{new_id(clock).hex}{SUFFIX}"
