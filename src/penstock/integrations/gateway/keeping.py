"""How the answer to a client's request is kept, and given again in its wire format."""

from collections.abc import Mapping

import msgspec

from penstock.events.messages import Message
from penstock.integrations.gateway.again import AGAIN, can_be_given_again
from penstock.integrations.gateway.config import CacheConfig
from penstock.integrations.gateway.exchange import BROKEN, Exchange
from penstock.integrations.gateway.shapes import Ask
from penstock.integrations.gateway.targets import Target
from penstock.kernel.canonical import stable_json
from penstock.ports.cache import Cache

TEMPERATURE = 1.0
"""Of a request that names none: what OpenAI and Anthropic document."""


def cache_for(config: Mapping[str, CacheConfig], agent: str, ask: Ask) -> Cache | None:
    """Whether and how the answer to a request may be given again; None: not at all.

    What a request only refers to may be another thing the next time, and of several choices each could have been cut.
    """
    said = config.get(agent) or config.get("*")
    if said is None or ask.media or ask.choices > 1:
        return None
    return Cache(seconds=said.seconds, scope=said.scope, temperature_max=said.temperature_max)


def temperature_of(exchange: Exchange) -> float | None:
    """What a request asks for; vectors are the same each time."""
    if exchange.shape.embeds:
        return 0.0
    said = exchange.body.get("temperature")
    if said is None:
        return TEMPERATURE
    return float(said) if isinstance(said, int | float) and not isinstance(said, bool) else None


class WireKeeping:
    """See `penstock.gates.model.plan.Keeping`.

    Two requests are the same when their bodies are, but for the name that the client has for the model, whether the
    answer is streamed, and the order of fields; and when they go to the same address with the same headers.
    """

    def __init__(self, exchange: Exchange, target: Target) -> None:
        self._exchange = exchange
        self._target = target

    def request(self) -> bytes:
        exchange = self._exchange
        left_out = ("model", "stream", "stream_options")
        body = {name: value for name, value in exchange.body.items() if name not in left_out}
        headers = sorted((name.decode("latin-1"), value.decode("latin-1")) for name, value in exchange.passed)
        return stable_json([exchange.shape.name, self._target.provider.upstream.base_url, headers, body])

    def pack(self) -> bytes | None:
        exchange = self._exchange
        if exchange.answer is not None:
            whole = msgspec.json.decode(exchange.answer[0])
        elif exchange.collector is not None and exchange.collector.events is not None:
            events = [msgspec.json.decode(data) for data in exchange.collector.events]
            try:
                whole = AGAIN[exchange.shape.name].join(events)
            except BROKEN:
                return None
        else:
            return None
        again = AGAIN.get(exchange.shape.name)
        if again is not None and not can_be_given_again(again, whole):
            return None
        return msgspec.json.encode(whole)

    def unpack(self, data: bytes) -> Message | None:
        exchange = self._exchange
        try:
            message = exchange.shape.reply(data).message
        except BROKEN:
            return None
        exchange.served = data
        return message

    def stands(self, how: str) -> None:
        self._exchange.cache = how


def stream_of(exchange: Exchange, whole: bytes) -> bytes:
    """A whole answer as the stream that the client asked for."""
    again = AGAIN[exchange.shape.name]
    return again.render(again.split(msgspec.json.decode(whole), usage=exchange.ask.wants_usage))
