"""One request as it goes through the server: what the log and the metrics say of it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.types import Scope

if TYPE_CHECKING:
    from penstock.server.access.caller import Caller
    from penstock.server.limits import Seat


@dataclass(slots=True)
class Exchange:
    """A request and its answer.

    Attributes:
        id: also the header X-Request-Id of the answer.
        actor: who asks; '' = not known.
        caller: the same, when it is known.
        seat: its place among the requests under way.
        status: of the answer; 0 = none has begun.
        size: bytes of the answer's body.
    """

    id: str
    actor: str = ""
    caller: "Caller | None" = None
    seat: "Seat | None" = None
    status: int = 0
    size: int = 0


def exchange_of(scope: Scope) -> Exchange:
    """The exchange of a request."""
    exchange = scope["penstock"]
    assert isinstance(exchange, Exchange)
    return exchange


def path_of(scope: Scope) -> str:
    """The path that routes see: without the one under which a proxy serves the application, if it passes that on."""
    root, path = str(scope.get("root_path", "")), str(scope["path"])
    return path[len(root) :] if root and (path == root or path.startswith(f"{root}/")) else path
