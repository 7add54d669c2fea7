"""The events of one run as many look at them: read once, encoded once."""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import msgspec

from penstock.agents.hybrid import PROVISIONAL, SETTLED
from penstock.events import ANSWERED, Event, ModelIntent, ModelOutcome, NoteRecorded, RunEnded, decode
from penstock.ports.live import Piece
from penstock.ports.records import Row, RunKey, RunRow
from penstock.server.stream.filters import Filters, MakeFilter
from penstock.server.stream.sse import frame
from penstock.views.lines import event_line

KEPT = 1_000
"""Events that a feed keeps for those who come later or are slow; older ones are read from the journal again."""
_ANSWERS = {PROVISIONAL: "provisional", SETTLED: "settled", RunEnded.__name__: "final"}
"""Events after which the caller has an answer, or knows more of the one it has."""
WORDS_KEPT = 200
"""Pieces of a model's words that wait for a slow reader; he loses those beyond, never an event."""


@dataclass(slots=True)
class Entry:
    """One event, encoded for the wire but for its cursor, which differs from reader to reader."""

    seq: int
    data: bytes


@dataclass(slots=True, eq=False)
class Viewer:
    """One who looks at runs: woken when there is something new."""

    words: deque[tuple[UUID, bytes]] = field(default_factory=lambda: deque(maxlen=WORDS_KEPT))
    news: asyncio.Event = field(default_factory=asyncio.Event)


class RunFeed:
    """What is known of one run that somebody looks at."""

    def __init__(self, key: RunKey, filters: list[MakeFilter]) -> None:
        self.key = key
        self.entries: deque[Entry] = deque(maxlen=KEPT)
        self.last_seq = 0
        self.ended = False
        self.viewers: set[Viewer] = set()
        self.status = b""  # how the run stands, and its number
        self.status_number = 0
        self._makers = filters
        self._texts: dict[tuple[str, int], _Text] = {}

    @property
    def first_kept(self) -> int:
        """The first event that need not be read from the journal."""
        return self.entries[0].seq if self.entries else self.last_seq + 1

    def take(self, rows: list[Row]) -> None:
        """Events that follow the last."""
        for row in rows:
            if row.seq != self.last_seq + 1:
                continue
            event = decode(row.body)
            self.entries.append(Entry(row.seq, encoded(self.key[1], row, event)))
            self.last_seq = row.seq
            self.ended |= isinstance(event, RunEnded)
            if kind := _ANSWERS.get(event.name if isinstance(event, NoteRecorded) else event.__class__.__name__):
                self.entries[-1].data += frame("answer", {"run": self.key[1], "seq": row.seq, "kind": kind})
            if isinstance(event, ModelOutcome):
                self._complete(event)
            elif isinstance(event, ModelIntent):
                self._text(event.path, event.attempt)
        self.wake()

    def stands(self, row: RunRow) -> None:
        """The run's row as it is after the events taken."""
        summary = row.summary
        said = {
            "run": row.id,
            "seq": row.last_seq,
            "status": row.status,
            "outcome": row.outcome,
            "code": row.code,
            "stop": row.stop,
            "steps": summary.steps,
            "tokens": summary.tokens,
            "nano": summary.nano,
            "reserved_nano": summary.reserved_nano,
            "open_intents": summary.open_intents,
        }
        data = frame("status", said)
        if data != self.status:
            self.status = data
            self.status_number += 1
            self.wake()

    def say(self, piece: Piece) -> None:
        """Words of a model, on their way to the viewers."""
        text = self._text(piece.path, piece.attempt)
        if text.over:
            return
        if piece.reset:
            self._give(piece.path, piece.attempt, 0, "", reset=True)
        elif piece.offset == text.heard:
            text.heard += len(piece.text)
            self._pass_on(piece.path, piece.attempt, text, text.filters.feed(piece.text))
        else:
            # Something was dropped on the way: what the filters held back does not fit to what comes now.
            text.over = True

    def _text(self, path: str, attempt: int) -> "_Text":
        text = self._texts.get((path, attempt))
        if text is None:
            text = self._texts[path, attempt] = _Text(Filters(self._makers))
        return text

    def _complete(self, event: ModelOutcome) -> None:
        text = self._texts.pop((event.path, event.attempt), None)
        if text is not None and not text.over:
            text.over = True
            if event.status in ANSWERED:
                self._pass_on(event.path, event.attempt, text, text.filters.end())

    def _pass_on(self, path: str, attempt: int, text: "_Text", words: str) -> None:
        if words:
            self._give(path, attempt, text.given, words)
            text.given += len(words)

    def _give(self, path: str, attempt: int, offset: int, words: str, *, reset: bool = False) -> None:
        run = self.key[1]
        said = {"run": run, "path": path, "attempt": attempt, "offset": offset, "text": words, "reset": reset}
        data = frame("tokens", said)
        for viewer in self.viewers:
            viewer.words.append((run, data))
        self.wake()

    def wake(self) -> None:
        """Tell the viewers that there is something new."""
        for viewer in self.viewers:
            viewer.news.set()

    def after(self, seq: int) -> list[Entry] | None:
        """Events after ``seq``; None when some of them have to be read from the journal."""
        if seq + 1 < self.first_kept:
            return None
        return [entry for entry in self.entries if entry.seq > seq]


@dataclass(slots=True)
class _Text:
    """The words of one attempt, as far as they are known."""

    filters: Filters
    heard: int = 0  # characters that came
    given: int = 0  # characters that left
    over: bool = False


def encoded(run: UUID, row: Row, event: Event) -> bytes:
    """An event as it goes over the wire."""
    body: dict[str, Any] = msgspec.json.decode(row.body)
    said = {
        "run": run,
        "seq": row.seq,
        "at": row.at,
        "kind": body.get("kind", ""),
        "path": event.path,
        "line": event_line(event),
        "body": body,
    }
    return frame("event", said)
