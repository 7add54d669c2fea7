"""Live words between processes, by NOTIFY: whoever looks says so every few seconds; whoever speaks sends it once.

Nothing is stored, so nothing is left behind by a process that died: what it looked at is forgotten when it has not said
so again in time.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, ClassVar
from uuid import UUID

import msgspec

from penstock.adapters.postgres.queries import HEADS, NOTIFY_LIVE
from penstock.adapters.postgres.signals import Signals
from penstock.kernel.clock import SystemClock
from penstock.kernel.errors import JournalError
from penstock.kernel.ids import new_id
from penstock.ports.live import Piece
from penstock.ports.records import RunKey

WATCH_CHANNEL = "penstock_watch"
WORDS_CHANNEL = "penstock_words"
RENEW_SECONDS = 5.0
FORGET_SECONDS = 3 * RENEW_SECONDS
FLUSH_SECONDS = 0.05
MESSAGE_BYTES = 7_000
"""Of one NOTIFY; the server takes 8,000."""
MESSAGES_A_FLUSH = 10
"""What is beyond is dropped: each NOTIFY takes a lock that all notifying commits share."""
RUNS_A_MESSAGE = 150
WATCHED_MAX = 10_000
"""Runs that others look at, before those that they have ceased to look at are put out."""


class Watch(msgspec.Struct, array_like=True):
    """What a process looks at."""

    origin: str
    runs: list[UUID]


class Words(msgspec.Struct, array_like=True):
    """What was said in a process."""

    origin: str
    pieces: list[Piece]


class PostgresLive:
    """Implements `penstock.ports.live.Live` for all processes on one database."""

    _decode_watch: ClassVar = msgspec.json.Decoder(Watch).decode
    _decode_words: ClassVar = msgspec.json.Decoder(Words).decode

    def __init__(self, signals: Signals, fetch: Callable[..., Awaitable[Sequence[Sequence[Any]]]]) -> None:
        self._signals = signals
        self._fetch = fetch
        self._clock = SystemClock()
        self._origin = new_id(self._clock).hex
        self._looked_at: set[UUID] = set()  # by this process
        self._elsewhere: dict[UUID, int] = {}  # by others: until when, in nanoseconds since boot
        self._listeners: list[Callable[[Piece], None]] = []
        self._waiting: list[Piece] = []
        self._renewer: asyncio.Task[None] | None = None
        self._flusher: asyncio.Task[None] | None = None
        signals.hear(WATCH_CHANNEL, self._on_watch)
        signals.hear(WORDS_CHANNEL, self._on_words)

    async def heads(self, runs: Sequence[RunKey]) -> dict[RunKey, int]:
        found = await self._fetch(HEADS, [tenant for tenant, _ in runs], [run for _, run in runs])
        return {(tenant, run): last for tenant, run, last in found}

    def look_at(self, runs: Collection[UUID]) -> None:
        fresh = set(runs) - self._looked_at
        self._looked_at = set(runs)
        self._signals.listen()
        if fresh:
            if self._renewer is not None:
                self._renewer.cancel()
            self._renewer = asyncio.create_task(self._renew())

    def is_watched(self, run: UUID) -> bool:
        if run in self._looked_at:
            return True
        until = self._elsewhere.get(run)
        if until is None:
            return False
        if until > self._clock.boot_ns():
            return True
        del self._elsewhere[run]
        return False

    def say(self, piece: Piece) -> None:
        if piece.run in self._looked_at:
            self._give(piece)
        if piece.run in self._elsewhere:
            self._waiting.append(piece)
            if self._flusher is None:
                self._flusher = asyncio.create_task(self._flush_soon())

    def hear(self, listener: Callable[[Piece], None]) -> None:
        self._listeners.append(listener)

    async def close(self) -> None:
        """Stop saying and renewing."""
        tasks = [task for task in (self._renewer, self._flusher) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _renew(self) -> None:
        while self._looked_at:
            runs = sorted(self._looked_at)
            for start in range(0, len(runs), RUNS_A_MESSAGE):
                await self._tell(WATCH_CHANNEL, Watch(self._origin, runs[start : start + RUNS_A_MESSAGE]))
            await asyncio.sleep(RENEW_SECONDS)

    async def _flush_soon(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(FLUSH_SECONDS)
                waiting, self._waiting = self._waiting, []
                for pieces in _messages(_joined(waiting))[:MESSAGES_A_FLUSH]:
                    await self._tell(WORDS_CHANNEL, Words(self._origin, pieces))
        finally:
            self._flusher = None

    async def _tell(self, channel: str, message: Watch | Words) -> None:
        with contextlib.suppress(JournalError):  # for eyes only: the journal has it all in the end
            await self._fetch(NOTIFY_LIVE, channel, msgspec.json.encode(message).decode())

    def _on_watch(self, text: str) -> None:
        watch = self._decode_watch(text)
        if watch.origin == self._origin:
            return
        until = self._clock.boot_ns() + int(FORGET_SECONDS * 1e9)
        if len(self._elsewhere) > WATCHED_MAX:
            now = self._clock.boot_ns()
            self._elsewhere = {run: end for run, end in self._elsewhere.items() if end > now}
        self._elsewhere.update(dict.fromkeys(watch.runs, until))

    def _on_words(self, text: str) -> None:
        words = self._decode_words(text)
        if words.origin == self._origin:
            return
        for piece in words.pieces:
            if piece.run in self._looked_at:
                self._give(piece)

    def _give(self, piece: Piece) -> None:
        for listener in self._listeners:
            listener(piece)


def _joined(pieces: list[Piece]) -> list[Piece]:
    """Pieces of the same attempt that follow each other, as one."""
    joined: list[Piece] = []
    for piece in pieces:
        last = joined[-1] if joined else None
        if last is not None and (last.run, last.path, last.attempt) == (piece.run, piece.path, piece.attempt):
            follows = piece.offset == last.offset + len(last.text) and not piece.reset
            if follows and len(last.text) + len(piece.text) < MESSAGE_BYTES // 6:
                joined[-1] = msgspec.structs.replace(last, text=last.text + piece.text)
                continue
        joined.append(piece)
    return joined


def _messages(pieces: list[Piece]) -> list[list[Piece]]:
    """The pieces in messages that a NOTIFY can carry; one that is too long by itself is left out."""
    messages: list[list[Piece]] = [[]]
    room = MESSAGE_BYTES
    for piece in pieces:
        size = len(msgspec.json.encode(piece)) + 1
        if size > MESSAGE_BYTES:
            continue
        if size > room:
            messages.append([])
            room = MESSAGE_BYTES
        messages[-1].append(piece)
        room -= size
    return [message for message in messages if message]
