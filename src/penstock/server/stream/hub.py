"""The hub: one read of the journal for all who look at the same thing."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from penstock.events import decode
from penstock.kernel.errors import JournalError, PenstockError, RequestInvalid, RunUnknown, ServerBusy
from penstock.ports.journal import Journal
from penstock.ports.live import Piece
from penstock.server.stream.feed import RunFeed, Viewer, encoded
from penstock.server.stream.filters import MakeFilter
from penstock.server.stream.sse import HEARTBEAT, HEARTBEAT_SECONDS, frame, with_cursor

LOOK_SECONDS = 0.1
"""How often the hub looks how far the watched runs have come."""
PAGE = 500
"""Events read at a time."""
RUNS_A_STREAM = 20
PIECE_BYTES = 64 * 1024

Source = Callable[[str], Awaitable[Any]]
"""What a topic says for a tenant, as JSON; asked again and again while somebody looks."""


@dataclass(slots=True, frozen=True)
class Topic:
    """Something that a tenant can look at."""

    source: Source
    seconds: float
    changes: Callable[[Any, Any], Any] = lambda before, now: now if now != before else None
    """What to tell of a new value, given the one before; None = nothing."""


@dataclass(slots=True)
class _TopicFeed:
    """A topic as somebody of a tenant looks at it."""

    value: Any = None
    number: int = 0  # of the latest news
    latest: bytes = b""  # for those who come now: all of it
    news: bytes = b""  # for those who saw the number before
    viewers: set[Viewer] = field(default_factory=set)
    task: "asyncio.Task[None] | None" = None


@dataclass(slots=True, eq=False)
class _Reader:
    """Who reads, and what they have been told: the last event of each run, and the numbers of what was said last of how
    it stands and of each topic."""

    tenant: str
    seen: dict[UUID, int]
    stood: dict[UUID, int]
    heard: dict[str, int]
    words: bool
    viewer: Viewer = field(default_factory=Viewer)


class _Beat:
    """Wakes a viewer when a heartbeat is due."""

    def __init__(self, viewer: Viewer) -> None:
        self.is_due = False
        self._viewer = viewer
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """The next is due after `HEARTBEAT_SECONDS`."""
        self.is_due = False
        self._timer = asyncio.get_running_loop().call_later(HEARTBEAT_SECONDS, self._fall_due)

    def stop(self) -> None:
        """No more of them."""
        if self._timer is not None:
            self._timer.cancel()

    def _fall_due(self) -> None:
        self.is_due = True
        self._viewer.news.set()


def _joined(frames: Iterable[bytes]) -> Iterator[bytes]:
    """The frames in pieces of about `PIECE_BYTES`: each piece is a system call."""
    piece: list[bytes] = []
    size = 0
    for data in frames:
        piece.append(data)
        size += len(data)
        if size >= PIECE_BYTES:
            yield b"".join(piece)
            piece, size = [], 0
    if piece:
        yield b"".join(piece)


def cursor_of(seen: Mapping[UUID, int]) -> str:
    """What a reader sends back to go on where it was: the last event it has of each run."""
    return ",".join(f"{run}:{last}" for run, last in seen.items())


def read_cursor(text: str) -> dict[UUID, int]:
    """The last event of each run, of what `cursor_of` gave.

    Raises:
        RequestInvalid: it is nothing of the kind.
    """
    seen: dict[UUID, int] = {}
    try:
        for part in filter(None, text.split(",")):
            run, _, last = part.partition(":")
            seen[UUID(run)] = max(0, min(int(last), 2**31 - 1))
    except ValueError:
        raise RequestInvalid(f"{text[:100]!r} is no Last-Event-ID of these streams") from None
    return seen


class Hub:
    """Streams of a server.

    Args:
        journal: what is read.
        topics: by name.
        viewers_max: streams at a time.
        filters: what a model's words pass before they leave.
    """

    def __init__(
        self,
        journal: Journal,
        topics: Mapping[str, Topic],
        *,
        viewers_max: int,
        filters: Sequence[MakeFilter] = (),
    ) -> None:
        self.topics = dict(topics)
        self.viewers = 0
        self._journal = journal
        self._filters = list(filters)
        self._most = viewers_max
        self._runs: dict[UUID, RunFeed] = {}
        self._feeds: dict[tuple[str, str], _TopicFeed] = {}
        self._watched = asyncio.Event()

    @contextlib.asynccontextmanager
    async def going(self) -> AsyncIterator[None]:
        """Look as long as the block runs."""
        self._journal.live.hear(self._on_words)
        looking = asyncio.create_task(self._look())
        try:
            yield
        finally:
            tasks = [looking, *(feed.task for feed in self._feeds.values() if feed.task is not None)]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def stream(
        self,
        tenant: str,
        topics: Sequence[str],
        runs: Mapping[UUID, int],
        *,
        words: bool,
        may_go_on: Callable[[], Awaitable[bool]],
        until_end: bool = False,
    ) -> AsyncGenerator[bytes, None]:
        """Frames for one reader.

        Args:
            runs: those to follow, each with the last event that the reader has.
            words: also what models say while they speak.
            may_go_on: asked with each heartbeat, however much there is to tell; the stream ends when it says no.
            until_end: end when all the runs have ended.

        Raises:
            ServerBusy: as many streams as there may be are open.
            RunUnknown: no such run for this tenant.
        """
        if self.viewers >= self._most:
            raise ServerBusy(f"{self.viewers:,} streams are open", retry_after_seconds=5)
        known = await self._journal.live.heads([(tenant, run) for run in runs]) if runs else {}
        for run in runs:
            if (tenant, run) not in known:
                raise RunUnknown(f"there is no run {run} for tenant {tenant!r}")
        reader = _Reader(tenant, dict(runs), dict.fromkeys(runs, 0), dict.fromkeys(topics, 0), words)
        return self._frames(reader, may_go_on, until_end)

    async def _frames(
        self, reader: "_Reader", may_go_on: Callable[[], Awaitable[bool]], until_end: bool
    ) -> AsyncGenerator[bytes, None]:
        viewer = reader.viewer
        beat = _Beat(viewer)
        self.viewers += 1
        try:
            for run in reader.seen:
                self._follow(reader.tenant, run, viewer)
            for topic in reader.heard:
                self._attend(reader.tenant, topic, viewer)
            beat.start()
            while True:
                viewer.news.clear()
                if beat.is_due:
                    # However much there is to tell: a reader who may not go on is not told it.
                    if not await may_go_on():
                        return
                    beat.start()
                    yield HEARTBEAT
                for run in reader.seen:
                    async for data in self._catch_up(reader, run):
                        yield data
                for data in _joined(self._ready(reader)):
                    yield data
                if until_end and all(self._is_over(run, last) for run, last in reader.seen.items()):
                    yield frame("end", {})
                    return
                await viewer.news.wait()
        finally:
            self.viewers -= 1
            beat.stop()
            self._leave(reader.tenant, viewer, reader.seen, list(reader.heard))

    async def _catch_up(self, reader: "_Reader", run: UUID) -> AsyncGenerator[bytes, None]:
        """Events that are too old to be kept."""
        seen = reader.seen
        while self._runs[run].after(seen[run]) is None:
            rows = await self._journal.tape(reader.tenant, run, seen[run], PAGE)
            if not rows:
                return
            for row in rows:
                seen[run] = row.seq
                yield with_cursor(encoded(run, row, decode(row.body)), cursor_of(seen))

    def _ready(self, reader: "_Reader") -> Iterator[bytes]:
        """What is kept and the reader has not been told."""
        for run, last in reader.seen.items():
            feed = self._runs[run]
            for entry in feed.after(last) or ():
                reader.seen[run] = entry.seq
                yield with_cursor(entry.data, cursor_of(reader.seen))
            if feed.status_number > reader.stood[run]:
                reader.stood[run] = feed.status_number
                yield feed.status
        for topic, number in reader.heard.items():
            said = self._feeds[reader.tenant, topic]
            if said.number > number:
                reader.heard[topic] = said.number
                yield said.latest if said.number - number > 1 or number == 0 else said.news
        while reader.viewer.words:
            _, data = reader.viewer.words.popleft()
            if reader.words:
                yield data

    def _is_over(self, run: UUID, last: int) -> bool:
        feed = self._runs[run]
        return feed.ended and last >= feed.last_seq

    def _follow(self, tenant: str, run: UUID, viewer: Viewer) -> None:
        feed = self._runs.get(run)
        if feed is None:
            feed = self._runs[run] = RunFeed((tenant, run), self._filters)
            self._look_at()
        feed.viewers.add(viewer)
        self._watched.set()

    def _attend(self, tenant: str, topic: str, viewer: Viewer) -> None:
        feed = self._feeds.setdefault((tenant, topic), _TopicFeed())
        feed.viewers.add(viewer)
        if feed.task is None:
            feed.task = asyncio.create_task(self._ask(tenant, self.topics[topic], topic, feed))

    def _leave(self, tenant: str, viewer: Viewer, runs: Mapping[UUID, int], topics: Sequence[str]) -> None:
        for run in runs:
            feed = self._runs.get(run)
            if feed is not None:
                feed.viewers.discard(viewer)
                if not feed.viewers:
                    del self._runs[run]
        for topic in topics:
            attended = self._feeds.get((tenant, topic))
            if attended is not None:
                attended.viewers.discard(viewer)
                if not attended.viewers:
                    del self._feeds[tenant, topic]
                    if attended.task is not None:
                        attended.task.cancel()
        self._look_at()

    def _look_at(self) -> None:
        self._journal.live.look_at(self._runs)

    def _on_words(self, piece: Piece) -> None:
        feed = self._runs.get(piece.run)
        if feed is not None:
            feed.say(piece)

    async def _look(self) -> None:
        """Read what has been added to the runs that somebody looks at."""
        while True:
            if not self._runs:
                self._watched.clear()
                await self._watched.wait()
            with contextlib.suppress(JournalError):  # readers see the heartbeats, and that nothing comes
                await self._look_once()
            await asyncio.sleep(LOOK_SECONDS)

    async def _look_once(self) -> None:
        going = [feed for feed in self._runs.values() if not feed.ended]
        heads = await self._journal.live.heads([feed.key for feed in going])
        for feed in going:
            last = heads.get(feed.key, 0)
            if not feed.last_seq and last:
                feed.last_seq = max(0, last - PAGE)  # what is older is read by those who need it
            while feed.last_seq < last:
                rows = await self._journal.tape(*feed.key, feed.last_seq, PAGE)
                if not rows:
                    feed.ended = True  # the record was archived or pruned: nothing more comes
                    break
                row = await self._journal.get_run(*feed.key)
                feed.take(rows)
                if row is not None:
                    feed.stands(row)  # together with the events: a reader who sees the end has seen how it stands

    async def _ask(self, tenant: str, topic: Topic, name: str, feed: _TopicFeed) -> None:
        """Ask a topic's source again and again, and tell those who look when there is something new."""
        while True:
            try:
                now = await topic.source(tenant)
            except PenstockError as error:
                now = feed.value
                self._tell(feed, frame("unavailable", {"topic": name, "code": error.code}))
            said = topic.changes(feed.value, now)
            if said is not None:
                feed.value = now
                feed.latest = frame(name, now)
                self._tell(feed, frame(name, said))
            await asyncio.sleep(topic.seconds)

    def _tell(self, feed: _TopicFeed, data: bytes) -> None:
        feed.news = data
        feed.latest = feed.latest or data
        feed.number += 1
        for viewer in feed.viewers:
            viewer.news.set()
