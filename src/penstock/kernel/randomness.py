"""Randomness. Nothing else in the package draws any."""

import hashlib
import os
import random


def token_bytes(count: int) -> bytes:
    """``count`` unpredictable bytes from the operating system."""
    return os.urandom(count)


def seeded(*parts: str | int) -> random.Random:
    """A generator that depends on ``parts`` alone: the same parts give the same numbers on every machine."""
    text = "\x1f".join(str(part) for part in parts)
    return random.Random(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big"))


def jitter(low: float, high: float) -> float:
    """A number in ``[low, high)`` that needs no replay: back-off, polling."""
    return random.uniform(low, high)
