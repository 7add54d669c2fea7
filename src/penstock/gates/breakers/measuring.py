"""Finding out how far off answers are, beside the runs that they were given to."""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from penstock.gates.breakers.circuit import LiveCircuit
from penstock.kernel.errors import JournalError

if TYPE_CHECKING:
    from penstock.gates.breakers.guard import BreakerGuard, Covered
    from penstock.ports.embeddings import Embedder

MEASURED_AT_ONCE = 32
"""Answers whose distance is being found out; those that come meanwhile are passed over."""
_logger = logging.getLogger("penstock.breakers")


class AnswerMeter:
    """Measures answers of models for the breakers that watch for drift. ``make`` makes the embedder, at the first."""

    def __init__(self, guard: "BreakerGuard", make: "Callable[[], Embedder] | None") -> None:
        self._guard = guard
        self._make = make
        self._embedder: Embedder | None = None
        self._under_way = 0

    def take(self, circuits: "Covered", text: str) -> None:
        """A model has answered."""
        watching = [circuit for circuit in circuits if circuit.detector.drift is not None and not circuit.is_shut]
        if watching and text and self._make is not None and self._under_way < MEASURED_AT_ONCE:
            self._under_way += 1
            self._guard.beside(self._measure(self._make, watching, text))

    async def _measure(self, make: "Callable[[], Embedder]", circuits: list[LiveCircuit], text: str) -> None:
        try:
            embedder = self._embedder = self._embedder or make()
            for circuit in circuits:
                drift, detector = circuit.drifting(embedder), circuit.detector
                point = await asyncio.to_thread(drift.vector, text)
                if circuit.detector is not detector or circuit.is_shut:
                    continue
                if drift.has_learned:
                    self._guard.changed(circuit, detector.answer(drift.e_value(point)))
                elif (learned := drift.learn(point)) is not None:
                    drift.adopt(await self._guard.store.learn(circuit.key, learned))
        except JournalError as error:
            _logger.warning("what answers are compared to could not be kept: %s", error.what)
        except Exception:  # the answer itself was given, whatever becomes of this
            _logger.exception("the distance of an answer could not be found out")
        finally:
            self._under_way -= 1
