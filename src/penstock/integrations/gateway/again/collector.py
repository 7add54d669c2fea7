"""The events of a stream, held until its end."""

MAX_BYTES = 8 * 1024 * 1024
"""A longer stream is not kept."""


class Collector:
    """Attributes: ``events``, the data of each but for the mark of the end; None = there were too many bytes."""

    def __init__(self) -> None:
        self.events: list[bytes] | None = []
        self._size = 0

    def take(self, data: bytes) -> None:
        """The data of one more event."""
        if self.events is None or not data or data == b"[DONE]":
            return
        self._size += len(data)
        if self._size > MAX_BYTES:
            self.events = None
        else:
            self.events.append(data)
