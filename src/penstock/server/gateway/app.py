"""The gateway as an ASGI application: `/openai/v1/…` and `/anthropic/v1/…`, without a framework on its way."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from penstock.adapters.upstream import UpstreamFailed
from penstock.integrations.gateway.config import Api
from penstock.integrations.gateway.gateway import Gateway
from penstock.integrations.gateway.problems import Problem, problem_of, rendered
from penstock.integrations.gateway.runs import NAME_MAX_CHARS, Who, Wishes
from penstock.integrations.gateway.shapes import CHAT, EMBEDDINGS, MESSAGES, RESPONSES, Shape, Unfit
from penstock.kernel.errors import InputInvalid, PenstockError, PermissionMissing, Unauthenticated
from penstock.runs.tag_header import read_tags
from penstock.server.access.doorkeeper import Doorkeeper

Headers = list[tuple[bytes, bytes]]
Receive = Callable[[], Any]
Send = Callable[[dict[str, Any]], Any]

CALLS: dict[str, Shape] = {
    "/openai/v1/chat/completions": CHAT,
    "/openai/v1/responses": RESPONSES,
    "/openai/v1/embeddings": EMBEDDINGS,
    "/anthropic/v1/messages": MESSAGES,
}
FREE: dict[tuple[str, str], tuple[Api, str]] = {
    ("GET", "/openai/v1/models"): ("openai", "/models"),
    ("GET", "/anthropic/v1/models"): ("anthropic", "/v1/models"),
    ("POST", "/anthropic/v1/messages/count_tokens"): ("anthropic", "/v1/messages/count_tokens"),
}
"""What costs nothing is passed on without a run."""
DEFAULT_AGENT = "gateway"
WATCH_SECONDS = 0.05
"""From when on a client that leaves is noticed: most calls that fail do so sooner, and looking costs them."""
_PASSED = {"openai": (b"openai-beta",), "anthropic": (b"anthropic-version", b"anthropic-beta")}
_DEFAULT_VERSION = (b"anthropic-version", b"2023-06-01")
_BOUND_KEPT = 10_000


class GatewayApp:
    """The application. ``prefix`` is the path below which it is mounted."""

    def __init__(self, gateway: Gateway, doorkeeper: Doorkeeper, prefix: str = "") -> None:
        self._gateway = gateway
        self._doorkeeper = doorkeeper
        self._prefix = prefix
        self._bound: dict[Any, tuple[int, Who]] = {}

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path: str = scope["path"].removeprefix(self._prefix)
        client = HttpClient(receive, send)
        api: Api = "anthropic" if path.startswith("/anthropic/") else "openai"
        try:
            await self._serve(scope, path, api, client)
        except (Unfit, PenstockError) as error:
            await client.respond(*rendered(problem_of(error), api))
        except UpstreamFailed as failed:
            await client.respond(*rendered(Problem(502, f"upstream_{failed.code}", failed.words), api))
        finally:
            client.close()

    async def _serve(self, scope: Mapping[str, Any], path: str, api: Api, client: "HttpClient") -> None:
        method: str = scope["method"]
        if path == "/healthz" and method == "GET":
            await client.respond(200, [(b"content-type", b"text/plain")], b"ok")
            return
        headers: Headers = scope["headers"]
        shape = CALLS.get(path) if method == "POST" else None
        free = None if shape is not None else FREE.get((method, path))
        if shape is None and free is None:
            words = f"the gateway has no {method} {path[:200]}"
            await client.respond(*rendered(Problem(404, "not_found", words), api))
            return
        who = await self._who(headers, scope)
        data = await client.body(self._gateway.config.body_max_bytes, headers)
        passed = [(name, value) for name, value in headers if name in _PASSED[api]]
        if api == "anthropic" and all(name != _DEFAULT_VERSION[0] for name, _ in passed):
            passed.append(_DEFAULT_VERSION)
        if shape is not None:
            await self._gateway.serve(who, shape, data, wishes_of(headers, passed), client)
        elif free is not None:
            await self._pass_through(who, method, free, data, passed, client)

    async def _pass_through(
        self, who: Who, method: str, free: tuple[Api, str], data: bytes, passed: Headers, client: "HttpClient"
    ) -> None:
        api, path = free
        provider = self._gateway.targets.first(api)
        answer = await self._gateway.pass_through(who, provider, method, path, data, passed)
        try:
            body = await answer.read()
        finally:
            answer.close()
        kind = answer.header(b"content-type") or b"application/json"
        await client.respond(answer.status, [(b"content-type", kind)], body)

    async def _who(self, headers: Headers, scope: Mapping[str, Any]) -> Who:
        """Whose call it is.

        Raises:
            Unauthenticated, PermissionMissing, TooManyFailures: nobody's who may call.
        """
        text = ""
        for name, value in headers:
            if name == b"authorization" and value[:7].lower() == b"bearer ":
                text = value[7:].decode("latin-1").strip()
            elif name == b"x-api-key" and not text:
                text = value.decode("latin-1").strip()
        if not text:
            raise Unauthenticated("the request has no key")
        client = scope.get("client")
        caller = await self._doorkeeper.by_key(text, client[0] if client else "")
        caller.demand("gateway:call")
        known = self._bound.get(caller.credential)
        now = self._gateway.services.clock.boot_ns()
        if known is not None and known[0] > now:
            return known[1]
        binding = await self._gateway.services.journal.gateway.binding(caller.tenant, caller.credential)
        if binding is None and "admin" not in caller.roles:
            raise PermissionMissing("the key is bound to no agent", permission="gateway:call")
        called = caller.actor.removeprefix("key:")
        if binding is None:
            who = Who(caller.tenant, caller.credential, called, DEFAULT_AGENT)
        else:
            who = Who(caller.tenant, caller.credential, called, binding.agent, binding.tags, binding.budget)
        if len(self._bound) >= _BOUND_KEPT:
            self._bound.clear()
        # A binding never changes; it is looked up again so that what is not asked for any more is forgotten.
        self._bound[caller.credential] = now + 3_600_000_000_000, who
        return who


def wishes_of(headers: Headers, passed: Headers) -> Wishes:
    """What the request's headers say.

    Raises:
        Unfit: a header that cannot be.
    """
    run, end, store = "", False, True
    tags: list[str] = []
    for name, value in headers:
        if not name.startswith(b"penstock-"):
            continue
        text = value.decode("latin-1").strip()
        if name == b"penstock-run":
            run = text
            if not 0 < len(run) <= NAME_MAX_CHARS or not run.isprintable() or not run.isascii():
                words = f"Penstock-Run must be 1 to {NAME_MAX_CHARS} printable ASCII characters"
                raise Unfit("invalid_header", words, "Penstock-Run")
        elif name == b"penstock-run-end":
            end = text.lower() == "true"
        elif name == b"penstock-cache":
            store = text.lower() != "no-store"
            if store:
                raise Unfit("invalid_header", "Penstock-Cache of a request can only be no-store", "Penstock-Cache")
        elif name == b"penstock-tags":
            tags.append(text)
    try:
        return Wishes(run, end, read_tags(tags), passed, store)
    except InputInvalid as error:
        raise Unfit("invalid_header", f"{error.what}; {error.advice}", "Penstock-Tags") from error


class HttpClient:
    """The client of one request."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self.gone = False
        self._receive = receive
        self._send = send
        self._acts: list[Callable[[], None]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._watch: asyncio.Task[None] | None = None
        self._answered = False

    async def body(self, most: int, headers: Headers) -> bytes:
        """The request's body.

        Raises:
            Unfit: it is too large.
            Unauthenticated: the client left before it had sent all of it; nobody hears that.
        """
        for name, value in headers:
            if name == b"content-length" and value.isdigit() and int(value) > most:
                raise Unfit("too_large", f"the request has more than {most:,} bytes")
        message = await self._receive()
        data: bytes = message.get("body", b"")
        if not message.get("more_body"):
            return data
        whole, size = [data], len(data)
        while message.get("more_body"):
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self.gone = True
                raise Unfit("invalid_json", "the body did not come to its end")
            whole.append(message.get("body", b""))
            size += len(whole[-1])
            if size > most:
                raise Unfit("too_large", f"the request has more than {most:,} bytes")
        return b"".join(whole)

    def on_gone(self, act: Callable[[], None]) -> None:
        """Do this when the client leaves."""
        self._acts.append(act)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(WATCH_SECONDS, self._begin_watch)

    def give_up(self) -> None:
        """It was answered already: whatever comes now finds it gone."""
        self.gone = True

    async def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """A whole answer."""
        length = (b"content-length", str(len(body)).encode())
        self._answered = True
        await self._send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
        await self._send({"type": "http.response.body", "body": body})

    async def start(self, status: int, headers: Headers) -> None:
        """The head of a streamed answer."""
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, data: bytes) -> None:
        """Some of it; waits while the client is slow."""
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def finish(self) -> None:
        """The end of a streamed answer."""
        self._answered = True
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    def close(self) -> None:
        """The request is over."""
        self._acts.clear()
        if self._timer is not None:
            self._timer.cancel()
        if self._watch is not None:
            self._watch.cancel()

    def _begin_watch(self) -> None:
        self._watch = asyncio.get_running_loop().create_task(self._watch_client())

    async def _watch_client(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if not self._answered:
            self.gone = True
            for act in self._acts:
                act()
