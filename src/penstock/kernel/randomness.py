"""Randomness. Nothing else in the package draws any."""

import contextvars
import hashlib
import os
import random

GENERATOR: contextvars.ContextVar[random.Random | None] = contextvars.ContextVar("penstock_generator", default=None)
"""What is drawn from in this context instead of the operating system: only a simulation, which must be repeatable,
sets it. Tasks inherit it from where they were started."""


def token_bytes(count: int) -> bytes:
    """``count`` unpredictable bytes from the operating system."""
    generator = GENERATOR.get()
    return os.urandom(count) if generator is None else generator.randbytes(count)


def seeded(*parts: str | int) -> random.Random:
    """A generator that depends on ``parts`` alone: the same parts give the same numbers on every machine."""
    text = "\x1f".join(str(part) for part in parts)
    return random.Random(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big"))


def jitter(low: float, high: float) -> float:
    """A number in ``[low, high)`` that needs no replay: back-off, polling."""
    generator = GENERATOR.get()
    return random.uniform(low, high) if generator is None else generator.uniform(low, high)
