"""Failed attempts by address: so many a minute, then no more are looked at."""

import ipaddress
from collections import OrderedDict

from penstock.kernel.clock import Clock
from penstock.kernel.errors import TooManyFailures

MINUTE_NS = 60_000_000_000
ADDRESSES_MAX = 20_000
"""Addresses that are remembered; beyond it the one that failed longest ago is forgotten."""


class Failures:
    """Counts failures by address within a sliding minute (two fixed minutes, the older one by its share that is left).

    IPv6 addresses count by their /64, which is what one subscriber has.
    """

    def __init__(self, clock: Clock, per_minute: int) -> None:
        self._clock = clock
        self._per_minute = per_minute
        self._counts: OrderedDict[str, tuple[int, int, int]] = (
            OrderedDict()
        )  # minute, failures in it, in the one before

    def note(self, address: str) -> None:
        """One more."""
        place = _place(address)
        minute, now, before = self._current(place)
        self._counts[place] = minute, now + 1, before
        self._counts.move_to_end(place)
        while len(self._counts) > ADDRESSES_MAX:
            self._counts.popitem(last=False)

    def check(self, address: str) -> None:
        """Refuse an address that has failed too often.

        Raises:
            TooManyFailures: it has.
        """
        _, now, before = self._current(_place(address))
        left = 1 - (self._clock.boot_ns() % MINUTE_NS) / MINUTE_NS
        if now + before * left >= self._per_minute:
            raise TooManyFailures("too many failed attempts from this address", retry_after_seconds=60)

    def forget(self, address: str) -> None:
        """Begin again with an address."""
        self._counts.pop(_place(address), None)

    def _current(self, place: str) -> tuple[int, int, int]:
        minute = self._clock.boot_ns() // MINUTE_NS
        known, now, before = self._counts.get(place, (minute, 0, 0))
        if known == minute:
            return known, now, before
        return minute, 0, now if known == minute - 1 else 0


def _place(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if parsed.version == 6 and parsed.ipv4_mapped is None:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed.ipv4_mapped if parsed.version == 6 else parsed)
