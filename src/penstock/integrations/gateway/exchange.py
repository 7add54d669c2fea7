"""One request of a client on its way to a provider and back, as a model of the model gate."""

import re
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import msgspec

from penstock.adapters.prices import PriceList
from penstock.adapters.upstream import Answer, UpstreamFailed
from penstock.adapters.upstream.client import Headers
from penstock.events import Amount, Failure
from penstock.events.messages import Message
from penstock.gates.filters.releasing import WITHHELD
from penstock.integrations.gateway.again.collector import Collector
from penstock.integrations.gateway.filtering import Wire
from penstock.integrations.gateway.shapes import Ask, Reply, Shape, Stream, Unfit
from penstock.integrations.gateway.shapes.base import Body
from penstock.integrations.gateway.targets import Target
from penstock.ports.model import ModelError, ModelRequest, ModelResponse, Price, ToolSpec

PROMPT_TOKENS = 256
TOOLS_TOKENS = 1024
"""What providers put around a prompt, and once for tools; sources in `penstock.adapters.providers.bound`. What they
put around single messages and tools is less than their JSON has around them."""
EVENT_MAX_BYTES = 8 * 1024 * 1024
_BILLED_UNKNOWN = (500, 502, 504)
"""Statuses that can come from a proxy that lost a working back end; with others nothing was done or billed."""
BROKEN = (ValueError, TypeError, AttributeError, KeyError, IndexError, msgspec.MsgspecError)
"""What reading an answer of another form than the format's comes to."""
_BOUNDARY = re.compile(rb"\r?\n\r?\n")
_PASSED = frozenset(
    {b"content-type", b"retry-after", b"x-should-retry", b"retry-after-ms", b"request-id", b"x-request-id"}
)
_PASSED_PREFIXES = (b"x-ratelimit-", b"anthropic-ratelimit-", b"openai-")


class Client(Protocol):
    """Who asked."""

    @property
    def gone(self) -> bool:
        """Whether it has left."""
        ...

    async def start(self, status: int, headers: Headers) -> None:
        """The head of a streamed answer."""
        ...

    async def write(self, data: bytes) -> None:
        """Some of it; waits while the client is slow."""
        ...


@dataclass(slots=True)
class Refused:
    """The provider's own error, to be passed on as it is."""

    status: int
    headers: Headers
    body: bytes


class Exchange:
    """What the attempts at one request share.

    Attributes:
        refused: the error that the provider last answered with.
        answer: the whole answer, and its headers, when it was not streamed.
        reader: what reads the streamed answer; its head has been sent to the client.
        has_called: some attempt was begun.
    """

    def __init__(
        self, shape: Shape, body: Body, ask: Ask, size: int, client: Client, own: Callable[[], Headers]
    ) -> None:
        """``size``: bytes of the request; ``own``: headers that tell of the run and the call."""
        self.shape = shape
        self.body = body
        self.ask = ask
        self.size = size
        self.client = client
        self.own = own
        self.learnt: tuple[int, int] | None = None
        """The provider's own count of the beginning of the prompt, and the bytes of that."""
        self.frame = ""
        """Digest of what is no message."""
        self.refs: list[str] = []
        """Commitments of the messages."""
        self.path = ""
        """Of the call in its run."""
        self.passed: Headers = []
        """The client's headers that go along."""
        self.refused: Refused | None = None
        self.answer: tuple[bytes, Headers] | None = None
        self.reader: Stream | None = None
        self.reply: Reply | None = None
        self.has_called = False
        self.keeps_for_an_hour = False
        """The prompt asks the provider to cache some of it for an hour, which costs more."""
        self.cache = "off"
        """hit | miss | off"""
        self.served: bytes | None = None
        """The whole answer that was given before."""
        self.collector: Collector | None = None
        """Holds the events of a stream whose answer may be kept."""
        self.wire: Wire | None = None
        """What the answer passes on its way to the client; None = nothing."""
        self.is_cut = False
        """The client was told that it gets no more; the rest is only read for what it has used."""
        self._abort: Callable[[], None] | None = None

    def headers(self) -> Headers:
        """What an answer says besides the provider's headers."""
        return [*self.own(), (b"penstock-cache", self.cache.encode())]

    def filter_answer(self, wire: Wire) -> None:
        """Take out of a whole answer what the client may not have; of a blocked one nothing is left.

        Raises:
            ModelError: it cannot be read.
        """
        assert self.answer is not None
        body, headers = self.answer
        try:
            released = wire.released(body)
        except (*BROKEN, RecursionError) as error:
            raise bad_answer("the provider's answer could not be read") from error
        self.answer = None if released is None else (released, headers)

    async def cut(self, wire: Wire, reader: Stream) -> None:
        """Tell the client that it gets no more of a stream."""
        self.is_cut = True
        words = wire.failure().what
        await self.client.write(reader.last_words(WITHHELD, words, because_of_limit=False))

    def leave(self) -> None:
        """The client is gone: give up what is under way at the provider."""
        if self._abort is not None and not self.is_cut:
            self._abort()

    def watch(self, abort: Callable[[], None] | None) -> None:
        """How to give up."""
        self._abort = abort


class PassThrough:
    """One model for one request: what it is asked is the request itself, with a maximum put in."""

    def __init__(self, exchange: Exchange, target: Target, prices: PriceList) -> None:
        self._exchange = exchange
        self._target = target
        self._prices = prices

    @property
    def name(self) -> str:
        """``provider:model``."""
        return self._target.name

    @property
    def simulated(self) -> bool:
        """Whether the provider only pretends."""
        return self._target.provider.config.simulated

    def price(self) -> Price | None:
        """Its price now, the dearest that this request can come to."""
        listed = self._target.listed_as
        prices = self._prices
        if self._exchange.shape.embeds:
            return prices.embedding_price_of(listed) or prices.price_of(listed)
        price = prices.price_of(listed)
        if price is not None and self._exchange.ask.media and price.image_input is not None:
            price = replace(price, input=max(price.input, price.image_input))
        if price is not None and self._exchange.keeps_for_an_hour:
            if price.cache_write_hour is None:
                return None
            price = replace(price, cache_write=max(price.cache_write or 0, price.cache_write_hour))
        return price

    def prompt_bound(self, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> int:
        """The bytes of the request, for no token has less than one; of what the provider has counted, its count. What
        has images or is only referred to is bounded by the model's context."""
        del messages, tools
        exchange = self._exchange
        if exchange.ask.media:
            return self._target.context_tokens
        once = PROMPT_TOKENS + (TOOLS_TOKENS if exchange.ask.tools else 0)
        if exchange.learnt is not None:
            tokens, size = exchange.learnt
            return tokens + max(0, exchange.size - size) + PROMPT_TOKENS
        return exchange.size + once

    async def request(self, request: ModelRequest) -> ModelResponse:
        """Make the wire call, and pass the answer on while it comes when the client asked for a stream.

        Raises:
            ModelError: it failed.
        """
        exchange, provider = self._exchange, self._target.provider
        if exchange.client.gone:
            raise ModelError(Failure("client_gone", "permanent", "the client had left before the call"), billed=False)
        if exchange.reader is not None:
            failure = Failure("stream_broken", "permanent", "the client has got some of another attempt's answer")
            raise ModelError(failure, billed=False)
        most = request.settings.max_tokens // exchange.ask.choices
        body = self._body(most)
        exchange.has_called, exchange.refused = True, None
        headers = [*provider.headers, *exchange.passed]
        try:
            answer = await provider.upstream.send("POST", exchange.shape.path, headers, body, exchange.watch)
        except UpstreamFailed as failed:
            raise self._failed(failed) from failed
        finally:
            exchange.watch(None)
        exchange.watch(answer.abort)
        try:
            return await self._answered(answer, most)
        except UpstreamFailed as failed:
            raise self._failed(failed) from failed
        finally:
            exchange.watch(None)
            answer.close()

    async def stream(self, request: ModelRequest) -> AsyncGenerator[str | ModelResponse, None]:
        """The same; the client hears the words itself."""
        yield await self.request(request)

    def _body(self, most: int) -> bytes:
        exchange = self._exchange
        if most < 1:
            words = "what is left of the budget allows no output"
            raise ModelError(Failure("no_room", "permanent", words), billed=False)
        body = {**exchange.body, "model": self._target.model}
        try:
            exchange.shape.cap(body, exchange.ask, most)
        except Unfit as unfit:
            raise ModelError(Failure(unfit.code, "permanent", unfit.words), billed=False) from unfit
        return msgspec.json.encode(body)

    async def _answered(self, answer: Answer, most: int) -> ModelResponse:
        exchange = self._exchange
        if answer.status >= 300:
            body = await answer.read()
            exchange.refused = Refused(answer.status, passed_headers(answer.headers), body)
            raise refusal(answer)
        if exchange.ask.stream:
            if not answer.header(b"content-type").lower().startswith(b"text/event-stream"):
                raise bad_answer("a stream was asked for, and the provider did not answer with one")
            reply = await self._streamed(answer)
        else:
            body = await answer.read()
            try:
                reply = exchange.shape.reply(body)
            except BROKEN as error:
                raise bad_answer("the provider's answer could not be read") from error
            exchange.answer = body, passed_headers(answer.headers)
            if exchange.wire is not None:
                exchange.filter_answer(exchange.wire)
        exchange.reply = reply
        return ModelResponse(reply.message, self._believed(reply.usage, most), reply.finish, reply.id)

    async def _streamed(self, answer: Answer) -> Reply:
        exchange = self._exchange
        client = exchange.client
        reader = exchange.shape.stream(exchange.ask)
        await client.start(answer.status, [*passed_headers(answer.headers), *exchange.headers()])
        exchange.reader = reader
        held = b""
        while chunk := await answer.chunk():
            held += chunk
            passed: list[bytes] = []
            begin = 0
            for boundary in _BOUNDARY.finditer(held):
                event = held[begin : boundary.end()]
                begin = boundary.end()
                data = data_of(event)
                if exchange.collector is not None and exchange.wire is None:
                    exchange.collector.take(data)
                try:
                    said = reader.take(event, data)
                    passed.append(said if exchange.wire is None else exchange.wire.take(said, data, exchange.collector))
                except BROKEN as error:
                    raise broken("an event of the provider's stream could not be read") from error
            held = held[begin:]
            if len(held) > EVENT_MAX_BYTES:
                raise broken(f"an event of the provider's stream has more than {EVENT_MAX_BYTES:,} bytes")
            if whole := b"".join(passed):
                await client.write(whole)
            if exchange.wire is not None and exchange.wire.blocked and not exchange.is_cut:
                await exchange.cut(exchange.wire, reader)
            if client.gone and not exchange.is_cut:
                raise ModelError(
                    Failure("client_gone", "permanent", "the client left while it was answered"), billed=True
                )
        if not reader.ended:
            raise broken("the provider's stream ended before the answer did")
        try:
            return reader.reply()
        except BROKEN as error:
            raise broken("the provider's answer could not be read") from error

    def _failed(self, failed: UpstreamFailed) -> ModelError:
        if self._exchange.client.gone:
            failure = Failure("client_gone", "permanent", "the client left while it was answered")
            return ModelError(failure, billed=None if failed.sent else False)
        if self._exchange.reader is not None:
            return broken(failed.words)
        cause = "transient" if failed.code in ("connect", "reset", "truncated") else "unknown"
        return ModelError(
            Failure(f"upstream_{failed.code}", cause, failed.words), billed=None if failed.sent else False
        )

    def _believed(self, used: Amount | None, most: int) -> Amount | None:
        """What the provider says it used; None when it is more than can be."""
        if used is None:
            return None
        context = self._target.context_tokens or 100 * self._exchange.size + 100_000
        too_much = used.tokens_in > context or used.tokens_out > 2 * most * self._exchange.ask.choices + 64
        return None if too_much else used


def data_of(event: bytes) -> bytes:
    """The data of a server-sent event (WHATWG HTML, "Interpreting an event stream")."""
    if event.startswith(b"data: ") and event.find(b"\n") >= len(event.rstrip()):
        return event[6:].rstrip()
    lines = [line[5:].removeprefix(b" ") for line in event.splitlines() if line.startswith(b"data:")]
    return b"\n".join(lines)


def passed_headers(headers: Headers) -> Headers:
    """The provider's headers that the client gets."""
    return [(name, value) for name, value in headers if name in _PASSED or name.startswith(_PASSED_PREFIXES)]


def refusal(answer: Answer) -> ModelError:
    """The failure that an answer with an error's status is."""
    status = answer.status
    billed = None if status in _BILLED_UNKNOWN else False
    words = f"the provider answered with status {status}"
    if status == 429:
        return ModelError(Failure("model_rate_limited", "rate_limited", words, _retry_after(answer)), billed=billed)
    if status in (408, 409, 425) or status >= 500:
        return ModelError(Failure("model_unavailable", "transient", words, _retry_after(answer)), billed=billed)
    code = {401: "model_auth", 403: "model_auth", 402: "model_quota", 404: "model_not_found"}.get(status)
    return ModelError(Failure(code or "model_refused_request", "permanent", words), billed=billed)


def bad_answer(words: str) -> ModelError:
    """The provider answered, and what it answered is of no use; it may be on the bill."""
    return ModelError(Failure("model_bad_response", "unknown", words), billed=True)


def broken(words: str) -> ModelError:
    """A stream broke off after the client had got some of it: no other model can answer any more."""
    return ModelError(Failure("stream_broken", "permanent", words), billed=True)


def _retry_after(answer: Answer) -> int:
    text = answer.header(b"retry-after")
    return min(int(text), 86_400) * 1_000_000 if text.isdigit() and len(text) < 9 else 0
