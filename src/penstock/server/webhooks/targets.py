"""Which targets may be called: the guard against requests into the inner network (SSRF).

A name is resolved here, every address that it has is checked, and the connection goes to a checked address: nothing
resolves it a second time. So it is at each attempt, for names change hands.

An address is allowed when it is globally reachable, or in a network that the server's owner allows. What is globally
reachable is written down from the IANA special-purpose address registries (RFC 6890): of IPv6 only what is allocated as
global unicast (2000::/3), which excludes loopback, link-local, unique local, IPv4-mapped, NAT64 and multicast addresses
by construction.
"""

import asyncio
import re
import socket
from collections.abc import Iterable
from concurrent.futures import Executor
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from penstock.adapters.egress.hook import allow_also
from penstock.kernel.errors import SettingInvalid, WebhookTargetRefused

Network = IPv4Network | IPv6Network
PORTS = frozenset({80, 443})
"""Of the ports below 1024."""
LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")

_SPECIAL = [
    ip_network(text)
    for text in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",
        "100.64.0.0/10",  # shared address space; metadata of some clouds
        "127.0.0.0/8",
        "168.63.129.16/32",  # a cloud's host, from within it
        "169.254.0.0/16",  # link-local; metadata of most clouds
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "2001::/23",  # protocol assignments; Teredo holds an IPv4 address
        "2001:db8::/32",
        "2002::/16",  # 6to4 holds an IPv4 address
        "3fff::/20",
    )
]
_GLOBAL_V6 = ip_network("2000::/3")
_FORM = "write it as https://hooks.example.com/path"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a message goes. ``path`` with the query; ``host`` as in the URL, without brackets."""

    secure: bool
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """As the header Host has it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"


def parse_target(url: str, *, allow_http: bool) -> Target:
    """The target that a URL names.

    Raises:
        WebhookTargetRefused: it cannot be read, or is of a kind that is not called.
    """
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise WebhookTargetRefused("the URL holds characters that are not allowed", hint="write names as xn--…, escape")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise WebhookTargetRefused(f"the URL cannot be read: {error}", hint=_FORM) from None
    secure = parts.scheme == "https"
    if not secure and parts.scheme != "http":
        raise WebhookTargetRefused("the URL is not https", hint=_FORM)
    if not secure and not allow_http:
        raise WebhookTargetRefused("the URL is http, which sends messages for all to read", hint="use https")
    if "@" in parts.netloc or parts.fragment:
        raise WebhookTargetRefused("the URL holds a user name or a fragment", hint="leave it out; messages are signed")
    host = parts.hostname or ""
    if "%" in host or not (":" in host or all(LABEL.fullmatch(label) for label in host.rstrip(".").split("."))):
        raise WebhookTargetRefused("the URL names no host that can be called", hint=_FORM)
    port = (443 if secure else 80) if port is None else port
    if port not in PORTS and port < 1024:
        raise WebhookTargetRefused(f"port {port} is not called", hint="use 443, 80, or one from 1024 on")
    return Target(secure, host, port, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))


def parse_networks(text: str) -> list[Network]:
    """Networks as in the setting, with commas between.

    Raises:
        SettingInvalid: one of them is none.
    """
    try:
        return [ip_network(part.strip()) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise SettingInvalid(f"PENSTOCK_WEBHOOK_ALLOWED_NETWORKS: {error}") from None


def is_allowed(address: str, allowed: Iterable[Network] = ()) -> bool:
    """Whether an address may be connected to. One with a zone never is."""
    if "%" in address:
        return False
    try:
        known = ip_address(address)
    except ValueError:
        return False
    if any(known in network for network in allowed):
        return True
    if known.version == 6 and known not in _GLOBAL_V6:
        return False
    return not any(known in network for network in _SPECIAL)


async def resolve(target: Target, allowed: Iterable[Network], executor: Executor) -> list[str]:
    """The addresses of a target, all of them checked.

    Raises:
        WebhookTargetRefused: one of them is not allowed: a name that has both kinds is a trap.
        OSError: it has none.
    """
    addresses = await asyncio.get_running_loop().run_in_executor(executor, _look_up, target)
    for address in addresses:
        if not is_allowed(address, allowed):
            raise WebhookTargetRefused(f"{target.host} is at {address[:60]}, which is not called")
    return addresses


def _look_up(target: Target) -> list[str]:
    allow_also(target.host, target.port)
    found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(item[4][0]) for item in found))
