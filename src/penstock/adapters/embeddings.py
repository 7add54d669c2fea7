"""Sentence vectors by wordllama: 256 dimensions, CPU only, weights inside the wheel, no network."""

import logging
import threading
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from penstock.ports.embeddings import Vectors

DIMENSIONS = 256
_BATCH = 128


class WordLlamaEmbedder:
    """The embedder of this package; loads its 16 MB of weights at the first use (about half a second, once)."""

    def __init__(self) -> None:
        self._model: Any = None
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        return f"wordllama-{version('wordllama')}:l2_supercat_{DIMENSIONS}"

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Vectors of shape ``(len(texts), 256)``; see `penstock.ports.embeddings.Embedder`."""
        model = self._model or self._load()
        vectors = np.zeros((len(texts), DIMENSIONS), np.float32)
        # Neighbours of equal length share a batch: padding to the longest text costs as much as the words themselves.
        order = sorted((index for index, text in enumerate(texts) if text.strip()), key=lambda index: len(texts[index]))
        for start in range(0, len(order), _BATCH):
            batch = order[start : start + _BATCH]
            vectors[batch] = model.embed([texts[index] for index in batch], batch_size=_BATCH)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors /= np.where(lengths > 0, lengths, 1)
        return vectors

    def _load(self) -> Any:
        with self._lock:
            if self._model is None:
                self._model = _load_wordllama()
            return self._model


def _load_wordllama() -> Any:
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    import wordllama

    # Importing wordllama calls logging.basicConfig(level=INFO); a library must not reconfigure its user's logging.
    root.setLevel(level)
    root.handlers[:] = handlers
    home = Path(wordllama.__file__).parent
    return wordllama.WordLlama.load(cache_dir=home, dim=DIMENSIONS, disable_download=True)
