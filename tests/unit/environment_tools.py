"""Tools that the tests of environments call: the real ones, and what takes their place; some run in processes."""

import os
import socket
import urllib.request

from penstock.agents.tool import tool
from penstock.ports.tools import IdempotencyKey, ToolContext

SECRET = "sk-test-7e40c2"
said: list[str] = []


@tool(effect="write", risk="low", permission="auto", in_doubt="idempotent")
async def refund(order: str, cents: int = 100) -> str:
    """Refund an order."""
    said.append(f"real refund of {order}")
    return "real"


@tool(effect="write", risk="low", permission="auto", in_doubt="keyed")
async def charge(order: str, *, key: IdempotencyKey) -> str:
    """Charge."""
    said.append(f"real charge of {order}")
    return "real"


@tool(effect="read")
async def look(order: str) -> str:
    """Look an order up."""
    said.append(f"real look at {order}")
    return "real"


class Sandbox:
    """What staging has in the place of them."""

    @tool(name="refund", effect="write", risk="low", permission="auto", in_doubt="idempotent")
    async def refund(order: str, cents: int = 100) -> str:  # noqa: N805
        """Refund, in the sandbox."""
        said.append(f"sandbox refund of {order}")
        return "sandbox"

    @tool(name="look", effect="read", secrets=["shop_key"])
    async def look(order: str, context: ToolContext) -> str:  # noqa: N805
        """Look, in the sandbox."""
        said.append(f"sandbox look at {order} with {context.secret('shop_key')}")
        return "sandbox"

    @tool(name="refund", effect="write")
    async def other_arguments(order: str, currency: str = "EUR") -> str:  # noqa: N805
        """Takes something else."""
        return "sandbox"

    @tool(name="refund", effect="read")
    async def only_reads(order: str, cents: int = 100) -> str:  # noqa: N805
        """Reads."""
        return "sandbox"

    @tool(name="charge", effect="write")
    async def without_key(order: str) -> str:  # noqa: N805
        """Takes no key."""
        return "sandbox"


no_tool = "a text"


@tool(effect="write", risk="low", permission="auto", in_doubt="idempotent", secrets=["shop_key"])
def wire(what: str, context: ToolContext) -> list[str]:
    """A synchronous write: in a process of its own. What that knows, and what it says of it."""
    key = context.secret("shop_key")
    if what == "raise":
        raise ValueError(f"the shop refuses {key}")
    if what == "undeclared":
        return [context.secret("bank_key")]
    return [key, repr(context), str(os.environ.get("SHOP_KEY")), str(os.environ.get("OTHER_KEY"))]


@tool(effect="write", risk="low", permission="auto", in_doubt="escalate")
def send(url: str) -> str:
    """A synchronous write over HTTP, in a process of its own."""
    return fetch(url)


@tool(effect="read")
def fetch_in_thread(url: str) -> str:
    """A synchronous read over HTTP, in a thread."""
    return fetch(url)


def fetch(url: str) -> str:
    if url.startswith("udp:"):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"x", ("127.0.0.1", int(url[4:])))
        return "sent"
    with urllib.request.urlopen(url, timeout=5) as answer:
        return str(answer.read().decode())
