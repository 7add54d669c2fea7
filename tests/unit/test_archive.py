"""Archives: what is written reads back the same, every change is found, and a subject can be taken out."""

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
import zstandard

from penstock.events import NoteRecorded, encode
from penstock.journal.archive import TRAILER, Archive, EventLine, PayloadLine
from penstock.journal.archive_writer import ArchiveWriter, rewrite
from penstock.journal.chain import genesis, link
from penstock.journal.payloads import address, make_payload, ref_text
from penstock.kernel.errors import ArchiveInvalid, ChainBroken
from penstock.ports.records import Payload, Row, RunRow, Status, Summary
from penstock.runs.retention.archiving import redact

ORIGIN = UUID(int=1)
KEY = b"k" * 32


def record(
    number: int, subject: str = "", *, text: bytes = b"secret words "
) -> tuple[RunRow, list[Row], list[Payload]]:
    """A run of four notes, the second with a payload."""
    run = UUID(int=number)
    subject = subject or str(run)
    data = text * 100 + bytes([number])
    where = address(KEY, data)
    rows: list[Row] = []
    head = genesis("acme", run)
    for seq in range(1, 5):
        note = NoteRecorded(tenant="acme", run=run, agent="clerk", name="ü", seq=seq)
        if seq == 2:
            note.payloads = {"data": [ref_text(where)]}
        body = encode(note)
        head = link(head, body)
        rows.append(Row(seq, body, head, seq))
    row = RunRow(
        tenant="acme",
        id=run,
        agent="clerk",
        release="r1",
        env="",
        status=Status.ENDED,
        outcome="succeeded",
        code="",
        stop=None,
        epoch=1,
        last_seq=4,
        head=head,
        subject=subject,
        key=None,
        session="",
        priority=0,
        parent=None,
        parent_path="",
        root=run,
        worker=None,
        claims=0,
        wake_at=None,
        created_at=1,
        ended_at=2,
        deadline=0,
        summary=Summary(nano=3),
        waiting=b"[]",
        tags={"customer": "c"},
    )
    return row, rows, [make_payload("acme", subject, where, data)]


def write(path: Path, *records: tuple[RunRow, list[Row], list[Payload]], key: bytes | None = KEY) -> Path:
    with path.open("w+b") as file:
        writer = ArchiveWriter(file, "acme", 5, ORIGIN)
        for row, rows, payloads in records:
            writer.begin(row, key)
            writer.add_events(rows)
            writer.add_payloads(payloads)
            writer.end()
        writer.finish()
        assert writer.size == file.tell()
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "a.zst", record(1), record(2, "c-1"), record(3, "c-1"))


def test_what_was_written_reads_back_the_same(path: Path) -> None:
    row, rows, payloads = record(2, "c-1")
    with Archive(path) as archive:
        archive.check()
        part = archive.parts[1]
        assert (archive.tenant, archive.manifest.origin, archive.manifest.made_at) == ("acme", ORIGIN, 5)
        assert (archive.head(part).row, archive.head(part).key) == (row, KEY)
        lines = list(archive.lines(part))
        assert [line.as_row() for line in lines if isinstance(line, EventLine)] == rows
        [stored] = [line for line in lines if isinstance(line, PayloadLine)]
        assert (stored.address, stored.data, stored.codec) == (payloads[0].address, payloads[0].data, payloads[0].codec)
        for each in archive.parts:
            archive.verify(each)


def test_any_reader_of_zstd_sees_lines_of_json(path: Path) -> None:
    with path.open("rb") as file:
        text = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True).read()
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line.get("line") for line in lines[:6]] == ["run", "event", "event", "event", "event", "payload"]
    assert json.loads(lines[1]["text"])["name"] == "ü"


def test_an_event_that_is_no_text_keeps_its_bytes(tmp_path: Path) -> None:
    row, rows, _ = record(1)
    rows[0] = Row(1, b"\xff\xfe", rows[0].hash, 1)
    with Archive(write(tmp_path / "a.zst", (row, rows, []))) as archive:
        assert next(line for line in archive.lines(archive.parts[0]) if isinstance(line, EventLine)).as_row() == rows[0]


def test_every_changed_byte_is_found(path: Path) -> None:
    """Also such that the frame would not notice: the manifest's digests cover all bytes but the trailer's own."""
    whole = path.read_bytes()
    for place in [*range(0, len(whole), 37), len(whole) - 1, len(whole) - TRAILER.size]:
        changed = bytearray(whole)
        changed[place] ^= 0x20
        path.write_bytes(changed)
        with pytest.raises(ArchiveInvalid), Archive(path) as archive:
            archive.check()


@pytest.mark.parametrize("cut", [0, 1, 63, 64, 65, 500])
def test_what_is_cut_off_is_no_archive(path: Path, cut: int) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - cut] if cut else b"")
    with pytest.raises(ArchiveInvalid, match=r"a\.zst is no whole archive"):
        Archive(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ArchiveInvalid, match="cannot be read"):
        Archive(tmp_path / "none")


def drop_event(rows: list[Row], payloads: list[Payload]) -> None:
    del rows[2]


def change_event(rows: list[Row], payloads: list[Payload]) -> None:
    rows[2] = Row(3, rows[2].body.replace(b"clerk", b"clerc"), rows[2].hash, 3)


def truncate(rows: list[Row], payloads: list[Payload]) -> None:
    del rows[3]


def lose_payload(rows: list[Row], payloads: list[Payload]) -> None:
    payloads.clear()


def change_payload(rows: list[Row], payloads: list[Payload]) -> None:
    payloads[0] = make_payload("acme", payloads[0].subject, payloads[0].address, b"forged" * 100)


@pytest.mark.parametrize(
    ("tamper", "problem"),
    [
        (drop_event, "missing"),
        (change_event, "changed"),
        (truncate, "truncated"),
        (lose_payload, "payload_missing"),
        (change_payload, "payload"),
    ],
)
def test_a_forged_record_does_not_verify(
    tmp_path: Path, tamper: Callable[[list[Row], list[Payload]], None], problem: str
) -> None:
    row, rows, payloads = record(1)
    tamper(rows, payloads)
    with Archive(write(tmp_path / "a.zst", (row, rows, payloads))) as archive:
        archive.check()
        with pytest.raises(ChainBroken) as broken:
            archive.verify(archive.parts[0])
    assert broken.value.fields["problem"] == problem


def test_without_content_the_chain_still_verifies(tmp_path: Path) -> None:
    row, rows, _ = record(1)
    with Archive(write(tmp_path / "a.zst", (row, rows, []), key=None)) as archive:
        archive.verify(archive.parts[0])


def test_a_subject_is_taken_out_and_the_rest_stays(path: Path) -> None:
    assert redact(path, "c-1") == 2
    with Archive(path) as archive:
        archive.check()
        for part in archive.parts:
            archive.verify(part)
        assert [part.keyed for part in archive.parts] == [True, False, False]
        assert [part.payloads for part in archive.parts] == [1, 0, 0]
        assert archive.head(archive.parts[1]).key is None
    assert redact(path, "c-1") == 0
    assert redact(path, "nobody") == 0
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert path.stat().st_mode & 0o077 == 0


def test_runs_can_be_left_out(path: Path) -> None:
    out = io.BytesIO()
    out.fileno = lambda: os.open(path, os.O_RDONLY)  # type: ignore[method-assign]
    with Archive(path) as archive:
        rewrite(archive, out, keep={UUID(int=3)})
    path.write_bytes(out.getvalue())
    with Archive(path) as archive:
        archive.check()
        [part] = archive.parts
        archive.verify(part)
        assert part.run == UUID(int=3)
