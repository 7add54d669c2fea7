"""Live words inside one process."""

from collections.abc import Callable, Collection, Sequence
from uuid import UUID

from penstock.adapters.memory.records import Store
from penstock.ports.live import Piece
from penstock.ports.records import RunKey


class MemoryLive:
    """Implements `penstock.ports.live.Live` for one process."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._watched: set[UUID] = set()
        self._listeners: list[Callable[[Piece], None]] = []

    async def heads(self, runs: Sequence[RunKey]) -> dict[RunKey, int]:
        return {run: self._store.runs[run].last_seq for run in runs if run in self._store.runs}

    def look_at(self, runs: Collection[UUID]) -> None:
        self._watched = set(runs)

    def is_watched(self, run: UUID) -> bool:
        return run in self._watched

    def say(self, piece: Piece) -> None:
        if piece.run in self._watched:
            for listener in self._listeners:
                listener(piece)

    def hear(self, listener: Callable[[Piece], None]) -> None:
        self._listeners.append(listener)
