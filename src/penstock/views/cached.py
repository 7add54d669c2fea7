"""Where a cached answer came from, in words."""

from penstock.events import CacheSource


def source_words(source: CacheSource) -> str:
    """Such as ``what call 3 of run … came to``."""
    return f"what call {source.path} of run {source.run} came to"
