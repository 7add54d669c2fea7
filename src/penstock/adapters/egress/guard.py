"""A list of egress in force: what it allows by name, by address, and by what its names have led to.

A connection is made to an address, and says nothing of the name that it was found by. So what an allowed name was
resolved to is remembered, and may be connected to on that name's ports. A name decides on its own addresses, and its
owner may be anybody: those of this machine and of its link (loopback, 169.254.0.0/16 with the metadata of clouds) are
reached only where the list has them as addresses, or as ``localhost``, or where the installation itself is configured
to go there.
"""

import threading
from collections import OrderedDict, deque
from collections.abc import Iterable

from penstock.adapters.egress.targets import Address, Target, address_of, normal_name, parse_target
from penstock.kernel.clock import Clock, SystemClock
from penstock.kernel.errors import EgressDenied

REMEMBERED_MAX = 4096
"""Addresses that allowed names have led to; those asked for longest ago are forgotten first."""
PASSING_MAX = 1000
"""Hosts that were allowed for now, at most."""
REMEMBERED_NS = 3600 * 10**9
"""How long: whoever connects again by name resolves it again."""


class Egress:
    """What may be connected to. Its methods may be called from any thread.

    Args:
        entries: as `parse_target` reads them.
        clock: whose ``boot_ns`` tells how old a resolution is.
    """

    def __init__(self, entries: Iterable[str], clock: Clock | None = None) -> None:
        self.entries = tuple(entries)
        self._targets = [parse_target(entry) for entry in self.entries]
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._own: list[Target] = []
        self._passing: deque[Target] = deque(maxlen=PASSING_MAX)
        self._led_to: OrderedDict[tuple[Address, int], int] = OrderedDict()  # and port → when, by the boot clock

    def allow_also(self, host: str, port: int, *, own: bool) -> None:
        """Allow what the installation itself is to reach: ``own`` by its settings, wherever the name leads; else for
        now, and under a name no address of this machine."""
        address = address_of(host)
        shown = f"[{host}]:{port}" if address is not None and address.version == 6 else f"{host}:{port}"
        try:
            target = parse_target(shown if port else host)
        except ValueError:  # no host that could be reached
            return
        with self._lock:
            known = self._own if own else self._passing
            if target not in known:
                known.append(target)

    def check_name(self, host: str, port: int = 0) -> None:
        """Whether a name may be resolved, or connected to as it is.

        Raises:
            EgressDenied: it may not.
        """
        address = address_of(host)
        if address is not None:
            if not self._has(address, port):
                raise _denied(host, port)
            return
        if not self._of_name(host, port):
            raise _denied(host, port)

    def check_address(self, host: str, port: int) -> None:
        """Whether a connection may be made to an address, or to a name that the system resolves by itself.

        Raises:
            EgressDenied: it may not.
        """
        address = address_of(host)
        if address is None:
            self.check_name(host, port)
        elif not self._has(address, port):
            raise _denied(host, port)

    def remember(self, host: str, addresses: Iterable[str]) -> None:
        """What an allowed name was resolved to."""
        targets = self._of_name(host, 0)
        if not targets or address_of(host) is not None:
            return
        ports = {target.port for target in targets}
        may_be_near = normal_name(host) == "localhost" or any(target in self._own for target in targets)
        now = self._clock.boot_ns()
        with self._lock:
            for text in addresses:
                address = address_of(text)
                if address is None or (_is_near(address) and not may_be_near):
                    continue
                for port in ports:
                    self._led_to[address, port] = now
                    self._led_to.move_to_end((address, port))
            while len(self._led_to) > REMEMBERED_MAX:
                self._led_to.popitem(last=False)

    def _of_name(self, host: str, port: int) -> list[Target]:
        name = normal_name(host)
        return [target for target in self._all() if name and target.has_name(name) and target.has_port(port)]

    def _all(self) -> list[Target]:
        with self._lock:
            return [*self._targets, *self._own, *self._passing]

    def _has(self, address: Address, port: int) -> bool:
        for target in self._all():
            if target.has_address(address) and target.has_port(port):
                return True
        with self._lock:
            if not port:  # to be resolved: only the connection says where to
                return any(known == address for known, _ in self._led_to)
            found = [self._led_to.get((address, known)) for known in {port, 0}]
        now = self._clock.boot_ns()
        return any(at is not None and now - at < REMEMBERED_NS for at in found)


def _is_near(address: Address) -> bool:
    """Whether it is of this machine, of its link, or of nobody in particular."""
    return address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast


def _denied(host: str, port: int) -> EgressDenied:
    target = f"{host[:200]}:{port}" if port else host[:200]
    return EgressDenied(f"this environment does not let {target!r} be reached", target=target)
