"""What turns texts into vectors, so that near meanings are near."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


class Embedder(Protocol):
    """A function from text to a point on the unit sphere; the same text always gives the same point."""

    @property
    def name(self) -> str:
        """Which model and version made the vectors: vectors of different names must not be compared."""
        ...

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Vectors of shape ``(len(texts), dimensions)``, float32, each of length 1 (or 0 for a text without words).

        It blocks: tens of microseconds a sentence, plus the loading of the model at the first call.
        """
        ...
