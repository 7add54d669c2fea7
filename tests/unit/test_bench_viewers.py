"""The benchmark's viewers: what they take from the wire, and that they notice what is lost."""

import json
from collections import Counter

import pytest
from benchmarks.viewers import Spent, Watched
from benchmarks.viewers_worker import Book, Viewer, _events, _late, _lines

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def event(seq: int) -> bytes:
    """An event of a run, which happened at a second of that number."""
    said = {"seq": seq, "at": seq * 1_000_000, "body": {"kind": "tool.intent", "words": "ä: {}\r\n5\r\n"}}
    return b"id: run:%d\nevent: event\ndata: %s\n\n" % (seq, json.dumps(said, ensure_ascii=False).encode())


def lines(*runs: tuple[str, str]) -> bytes:
    """News of the topic of runs."""
    changed = [{"id": run, "status": status, "created_at": 0} for run, status in runs]
    return b"event: runs\ndata: %s\n\n" % json.dumps({"changed": changed}).encode()


def chunk(*frames: bytes) -> bytes:
    """Frames that the server wrote at once."""
    data = b"".join(frames)
    return b"%x\r\n%s\r\n" % (len(data), data)


async def watched(book: Book, wire: bytes, size: int = 1 << 20) -> Viewer:
    """A viewer to whom these bytes came in pieces of that size."""
    viewer = Viewer(book, b"")
    for start in range(0, len(wire), size):
        viewer.data_received(wire[start : start + size])
    return viewer


@pytest.mark.parametrize("size", [1, 7, 64, 4096])
async def test_frames_are_whole_however_the_bytes_come(size: int) -> None:
    book = Book("event")
    book.since = 2.0
    beat = b"event: heartbeat\ndata: {}\n\n"
    wire = HEAD + chunk(b"retry: 1000\n\n") + chunk(event(1)) + chunk(beat) + chunk(event(2), beat, event(3))
    viewer = await watched(book, wire + b"0\r\n\r\n", size)
    assert viewer.over.done()
    assert [book.frames[number].said["seq"] for number in viewer.seen] == [1, 2, 3]
    assert sum(_late(book).values()) == 2  # the first was before it counted
    found = _events(book, [viewer, await watched(book, wire)])
    assert [seq for seq, _ in found["seen"]] == [1, 2, 3]


@pytest.mark.parametrize("other", [[1, 3], [1, 2, 2, 3], [2, 1, 3]])
async def test_an_event_that_one_of_them_missed_is_found(other: list[int]) -> None:
    book = Book("event")
    whole = await watched(book, HEAD + chunk(*map(event, [1, 2, 3])))
    lacking = await watched(book, HEAD + chunk(*map(event, other)))
    assert "2 different sequences" in _events(book, [whole, lacking])["wrong"]


async def test_lists_are_the_same_whatever_the_way_to_them() -> None:
    book = Book("runs")
    early = await watched(book, HEAD + chunk(lines(("a", "queued"))) + chunk(lines(("a", "ended"), ("b", "queued"))))
    late = await watched(book, HEAD + chunk(lines(("a", "ended"), ("b", "queued"))))
    assert _lines(book, [early, late])["lines"]["a"]["status"] == "ended"
    old = await watched(book, HEAD + chunk(lines(("a", "queued"), ("b", "queued"))))
    assert "2 different lists" in _lines(book, [early, late, old])["wrong"]


async def test_a_viewer_that_is_refused_says_so() -> None:
    viewer = await watched(Book("event"), b"HTTP/1.1 503 Service Unavailable\r\n\r\n")
    with pytest.raises(RuntimeError, match="503"):
        await viewer.over


def test_a_share_of_the_deliveries_was_there_within() -> None:
    still = Spent(1.0, 0.0, 0)
    late = Counter({10: 50, 1_000: 45, 20_000: 5})
    one = Watched(1, still, still, late, 100, 0.0)
    assert [one.late_ms(share) for share in (0.49, 0.5, 0.94, 0.95, 0.99)] == [1, 100, 100, 2_000, 2_000]
