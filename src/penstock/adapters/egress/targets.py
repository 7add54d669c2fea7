"""Hosts and networks as a list of egress names them. Pure.

An entry is a host name (``api.bank.example``), all names below one (``*.internal.example``), an address or a network
(``10.0.0.0/8``, ``2001:db8::/32``), each with a port behind it or for all ports: ``api.bank.example:443``,
``10.0.0.0/8:5432``, ``[2001:db8::/32]:443``.
"""

import ipaddress
import re
from dataclasses import dataclass

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NAME_MAX_CHARS = 253
_PORT_MAX = 65_535


@dataclass(slots=True, frozen=True)
class Target:
    """One entry. ``name`` or ``network`` is set; ``below``: all names below the name, not the name itself."""

    name: str = ""
    below: bool = False
    network: Network | None = None
    port: int = 0

    def has_name(self, name: str) -> bool:
        """Whether a normal name is this one's."""
        if not self.name:
            return False
        return name.endswith(f".{self.name}") if self.below else name == self.name

    def has_address(self, address: Address) -> bool:
        return self.network is not None and address.version == self.network.version and address in self.network

    def has_port(self, port: int) -> bool:
        """Whether a port is this one's; 0 = some port that is not known yet."""
        return not self.port or not port or port == self.port


def parse_target(text: object) -> Target:
    """The entry that a text is.

    Raises:
        ValueError: it is none; says why.
    """
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"{text!r} is no host: write a text such as 'api.example.com:443'")
    host, port = _split(text.strip())
    below = host.startswith("*.")
    plain = host[2:] if below else host
    network = None if below else _network(text, plain)
    if network is not None:
        return Target(network=network, port=port)
    name = normal_name(plain)
    if not name or "*" in plain or name.replace(".", "").isdigit():
        raise ValueError(f"{text!r} is neither a host name, '*.' and a name, an address nor a network")
    return Target(name, below, None, port)


def _split(text: str) -> tuple[str, int]:
    """Host and port, 0 = all."""
    host, port = text, ""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f"{text!r} is no address in brackets")
        port = rest[1:]
        if rest and not port:
            raise ValueError(f"{text!r} has no port after its colon")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
        if not port:
            raise ValueError(f"{text!r} has no port after its colon")
    if not port:
        return host, 0
    if not port.isascii() or not port.isdigit() or not 0 < int(port) <= _PORT_MAX:
        raise ValueError(f"{text!r} has the port {port!r}; it is a number up to {_PORT_MAX:,}")
    return host, int(port)


def _network(text: str, host: str) -> Network | None:
    try:
        return ipaddress.ip_network(host)
    except ValueError as error:
        if "/" in host or ":" in host:
            raise ValueError(f"{text!r} is no network: {error}") from None
        return None


def normal_name(name: str) -> str:
    """A host name in lower case, in its ASCII form, without the dot at its end; "" = it cannot be one."""
    plain = name.rstrip(".").lower()
    if not plain.isascii():
        try:
            plain = plain.encode("idna").decode("ascii")
        except UnicodeError:
            return ""
    if not 0 < len(plain) <= _NAME_MAX_CHARS:
        return ""
    return plain if all(_LABEL.fullmatch(label) for label in plain.split(".")) else ""


def address_of(host: str) -> Address | None:
    """The address that a text is written as; an IPv4 one that is mapped into IPv6 as itself. None = it is a name.

    What only the C library takes for an address, such as ``127.1`` or ``0x7f000001``, is a name here, and no entry can
    have it.
    """
    try:
        found = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found
