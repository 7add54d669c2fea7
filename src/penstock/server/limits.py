"""Bounds of what a request may take: bytes, time, and how many are under way at once."""

import asyncio
from dataclasses import dataclass

from starlette.types import Message, Receive, Scope

from penstock.kernel.clock import wall_seconds
from penstock.kernel.errors import RequestInvalid, RequestTimedOut, RequestTooLarge, ServerBusy
from penstock.server.exchange import exchange_of

TARGET_MAX_BYTES = 8_192
"""Bytes of path and query."""
HEADERS_MAX_BYTES = 32_768
"""Bytes of all headers together."""

STRANGERS_MAX = 100
"""Requests under way that need neither key nor session, signing in: nobody can take the places of those with a key."""
STRANGERS_BODY_MAX_BYTES = 16_384
BODY_SECONDS: float | None = 20.0
"""How long a body may take to arrive: who sends it slowly holds a place that others need."""


class Seats:
    """Counts the requests that are under way, and refuses those beyond the bound: waiting would only move the queue
    into the server's memory."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken = 0

    def take(self) -> "Seat":
        """A place for a request.

        Raises:
            ServerBusy: there is none.
        """
        if self.taken >= self.most:
            raise ServerBusy(f"{self.most:,} requests are under way", retry_after_seconds=1)
        self.taken += 1
        return Seat(self)


@dataclass(slots=True)
class Seat:
    """A place among the requests that are under way."""

    seats: Seats
    held: bool = True

    def leave(self) -> None:
        """Give it back; again is no error."""
        if self.held:
            self.held = False
            self.seats.taken -= 1


def leave_seat(scope: Scope) -> None:
    """For a request that from here on only waits, or streams: it does not count among those under way any more. Its
    route bounds such requests itself."""
    seat = exchange_of(scope).seat
    if seat is not None:
        seat.leave()


def check_head(scope: Scope) -> None:
    """Refuse a request whose address or headers are too long, or whose address holds what no text of ours can.

    Raises:
        RequestTooLarge: with status 414 or 431.
        RequestInvalid: there is a NUL character.
    """
    if "\0" in scope["path"] or b"%00" in scope["query_string"] or b"\0" in scope["query_string"]:
        raise RequestInvalid("there is a NUL character in the address", errors=[])
    target = len(scope.get("raw_path") or scope["path"].encode()) + len(scope["query_string"])
    if target > TARGET_MAX_BYTES:
        raise RequestTooLarge(
            f"the address has {target:,} bytes; {TARGET_MAX_BYTES:,} are allowed", hint="shorten it", http_status=414
        )
    headers = sum(len(name) + len(value) for name, value in scope["headers"])
    if headers > HEADERS_MAX_BYTES:
        raise RequestTooLarge(
            f"the headers have {headers:,} bytes; {HEADERS_MAX_BYTES:,} are allowed",
            hint="shorten them",
            http_status=431,
        )


def bounded(scope: Scope, receive: Receive, most: int) -> Receive:
    """``receive`` that refuses a body of more than ``most`` bytes: by what the header says, else when it gets there;
    and one that takes longer than `BODY_SECONDS`.

    Raises:
        RequestTooLarge: the header says so; later raised by what is returned.
    """
    said = dict(scope["headers"]).get(b"content-length", b"")
    if said.isdigit() and (len(said) > 18 or int(said) > most):
        raise _too_large(most)
    received, left = 0, BODY_SECONDS

    async def receive_bounded() -> Message:
        nonlocal received, left
        begun = wall_seconds()
        try:
            async with asyncio.timeout(left):
                message = await receive()
        except TimeoutError:
            raise RequestTimedOut(f"the body was not here within {BODY_SECONDS:g} s", hint="send it faster") from None
        # Whatever is waited for after the body is the reader's going away, which may take its time.
        left = None if left is None or not message.get("more_body", False) else left - (wall_seconds() - begun)
        received += len(message.get("body", b""))
        if received > most:
            raise _too_large(most)
        return message

    return receive_bounded


def _too_large(most: int) -> RequestTooLarge:
    return RequestTooLarge(f"the body has more than the {most:,} bytes that are allowed")
