"""Many who look at one stream of events, in a process of their own: ``python -m benchmarks.viewers_worker OPTIONS``.

Each viewer is a connection over which the frames come. Frames that are equal, byte by byte, are read once: what is
measured is the server, not this. What a viewer has seen is the list of its frames' numbers.
"""

import asyncio
import hashlib
import json
import resource
import sys
import time
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.child import say, told

AT_A_TIME = 50
"""Connections that are opened side by side."""
PATIENCE_SECONDS = 60.0
TICKS = 10_000
"""Of a second: how exactly a delivery's time is told."""


@dataclass(slots=True)
class Frame:
    """One event of the stream, as the wire has it."""

    kind: str
    said: Any
    moments: list[float] = field(default_factory=list)
    """When what it tells happened, in seconds of the machine's clock: the journal's time of it."""


class Book:
    """All frames that came, each once, and how late each was at each viewer."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.frames: list[Frame] = []
        self.late = array("d")
        self.since = float("inf")
        self.arrived = asyncio.Event()
        self._numbers: dict[bytes, int] = {}
        self._known: set[str] = set()

    def number(self, data: bytes) -> int:
        """The number of a frame."""
        number = self._numbers.get(data)
        if number is None:
            number = self._numbers[data] = len(self.frames)
            self.frames.append(self._read(data))
        return number

    def _read(self, data: bytes) -> Frame:
        fields = dict(line.partition(": ")[::2] for line in data.decode().split("\n"))
        kind = fields.get("event", "")
        said: Any = json.loads(fields["data"]) if "data" in fields else None
        frame = Frame(kind, said)
        if kind == "event":
            frame.moments.append(said["at"] / 1e6)
        elif kind == "runs":
            new = [line for line in said["changed"] if line["id"] not in self._known]
            self._known.update(line["id"] for line in new)
            frame.moments += [line["created_at"] / 1e6 for line in new]
        return frame

    def take(self, frame: Frame, now: float) -> None:
        """A frame of the kind that is counted has come to a viewer."""
        self.late.extend(now - moment for moment in frame.moments if moment >= self.since)
        self.arrived.set()


class Viewer(asyncio.Protocol):
    """One connection: the head of the answer, then chunks, each some whole frames."""

    def __init__(self, book: Book, request: bytes) -> None:
        self.seen = array("l")
        self.over = asyncio.get_running_loop().create_future()
        self._book = book
        self._request = request
        self._buffer = bytearray()
        self._in_head = True
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.time()
        buffer = self._buffer
        buffer += data
        at = 0
        if self._in_head:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            if not buffer.startswith(b"HTTP/1.1 200") or b"chunked" not in buffer[:end].lower():
                self._end(RuntimeError(f"a viewer was answered with {bytes(buffer[:300])!r}"))
                return
            self._in_head, at = False, end + 4
        while (end := buffer.find(b"\r\n", at)) >= 0:
            size = int(buffer[at:end], 16)
            if len(buffer) < end + size + 4:
                break
            if size == 0:
                self._end()
                return
            for frame in bytes(buffer[end + 2 : end + 2 + size]).split(b"\n\n"):
                self._take(frame, now)
            at = end + size + 4
        del buffer[:at]

    def _take(self, data: bytes, now: float) -> None:
        book = self._book
        number = book.number(data)
        frame = book.frames[number]
        if frame.kind == book.kind:
            self.seen.append(number)
            book.take(frame, now)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc)

    def _end(self, error: Exception | None = None) -> None:
        if not self.over.done():
            if error is None:
                self.over.set_result(None)
            else:
                self.over.set_exception(error)
        if self._transport is not None:
            self._transport.close()

    def close(self) -> None:
        """Look no longer."""
        self._end()


async def _join(book: Book, port: int, request: bytes, count: int) -> list[Viewer]:
    loop = asyncio.get_running_loop()
    viewers: list[Viewer] = []
    for start in range(0, count, AT_A_TIME):
        made = range(min(AT_A_TIME, count - start))
        opened = (loop.create_connection(lambda: Viewer(book, request), "127.0.0.1", port) for _ in made)
        viewers += [viewer for _, viewer in await asyncio.gather(*opened)]
    return viewers


async def _until(book: Book, viewers: Sequence[Viewer], holds: Any) -> None:
    """Wait until something holds for all viewers."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        for viewer in viewers:
            while not holds(viewer):
                if viewer.over.done():
                    viewer.over.result()
                    raise RuntimeError("a viewer's stream ended too early")
                book.arrived.clear()
                await book.arrived.wait()


def _events(book: Book, viewers: Sequence[Viewer]) -> dict[str, Any]:
    """What all have seen, when it is the same."""
    seen = {viewer.seen.tobytes() for viewer in viewers}
    if len(seen) != 1:
        counts = Counter(len(viewer.seen) for viewer in viewers)
        return {"wrong": f"viewers saw {len(seen)} different sequences of events; how many each: {dict(counts)}"}
    return {"seen": [[book.frames[n].said["seq"], book.frames[n].said["body"]] for n in viewers[0].seen]}


def _lines(book: Book, viewers: Sequence[Viewer]) -> dict[str, Any]:
    """The list of runs as each viewer has put it together, when it is the same."""
    lists: dict[bytes, dict[str, Any]] = {}
    digests = set()
    for viewer in viewers:
        seen = viewer.seen.tobytes()
        if seen not in lists:
            lists[seen] = {line["id"]: line for n in viewer.seen for line in book.frames[n].said["changed"]}
            digests.add(hashlib.sha256(json.dumps(lists[seen], sort_keys=True).encode()).digest())
    if len(digests) != 1:
        return {"wrong": f"viewers ended with {len(digests)} different lists of runs"}
    return {"lines": next(iter(lists.values()))}


def _late(book: Book) -> dict[int, int]:
    """How often a delivery took so many ticks."""
    return dict(Counter(round(seconds * TICKS) for seconds in book.late))


async def main(port: int, key: str, path: str, kind: str, count: int) -> None:
    """Look, and on being asked: ``joined``, ``go`` (count from now), ``over``, ``lines``, ``stop``."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 100
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if hard < 0 else min(wanted, hard), hard))
    book = Book(kind)
    request = f"GET {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
    viewers = await _join(book, port, request, count)
    say(ready=True)
    while (word := await told()) != "stop":
        if word == "joined":
            await _until(book, viewers, lambda viewer: len(viewer.seen) > 0)
            say(joined=len(viewers))
        elif word == "go":
            book.since = time.time()
            say(going=True)
        elif word == "over":
            async with asyncio.timeout(PATIENCE_SECONDS):
                await asyncio.gather(*(viewer.over for viewer in viewers))
            say(late=_late(book), frames=sum(len(viewer.seen) for viewer in viewers), **_events(book, viewers))
        elif word == "lines":
            say(late=_late(book), frames=sum(len(viewer.seen) for viewer in viewers), **_lines(book, viewers))
    for viewer in viewers:
        viewer.close()


if __name__ == "__main__":
    asyncio.run(main(**json.loads(sys.argv[1])))
