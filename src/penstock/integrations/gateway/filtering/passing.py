"""What passes the gateway under an agent's filters: the request before it is sent, the answer before the client has it.

What was taken out of a request is not in the journal, nor what was taken out of an answer. A token in a request stands
for the same value in all calls of an agent for a customer; the values are in the request alone, and are put back into
its answer, so that the provider never has them and the client does.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from penstock.events import Filtered
from penstock.gates.filters.releasing import WITHHELD, records
from penstock.integrations.gateway.again.collector import Collector
from penstock.integrations.gateway.config import FiltersConfig, filters_of
from penstock.integrations.gateway.filtering.events import REWRITING, Rewriting
from penstock.integrations.gateway.filtering.memory import Memory
from penstock.integrations.gateway.filtering.texts import Restoring, Sifting, request, walked
from penstock.integrations.gateway.runs import Who
from penstock.integrations.gateway.shapes import Shape, Unfit
from penstock.integrations.gateway.shapes.base import Body
from penstock.kernel.errors import ModelFailed
from penstock.ports.cache import CacheEntries
from penstock.rules.filters.filters import Filters, Place

_TOKENS = b"penstock gateway tokens 1\0"
_DONE = b"[DONE]"
_SAID = ("choices", "output", "content")
"""Where an answer says something, of all formats."""


@dataclass(slots=True, frozen=True)
class _Agent:
    """The filters of one agent's calls. ``recorded``: what the model gate records of an answer goes by these."""

    requests: Place
    answers: Place
    recorded: Filters | None
    memory: Memory


class Wire:
    """What one answer passes on its way to the client.

    Attributes:
        blocked: why the rest of it is withheld, in words; "" = it is not.
    """

    def __init__(self, shape: Shape, answers: Place, values: Mapping[str, str]) -> None:
        """``values``: what the tokens in the request stand for."""
        self.blocked = ""
        self._named = shape.name != "openai.chat"
        self._sifting = None if answers.is_idle else Sifting(answers)
        self._restoring = Restoring(values) if values else None
        rewriting = REWRITING[shape.name]
        self._sifted: Rewriting | None = rewriting(self._sifting) if self._sifting is not None else None
        self._restored: Rewriting | None = rewriting(self._restoring) if self._restoring is not None else None

    def released(self, body: bytes) -> bytes | None:
        """A whole answer without what is taken out of it; None when it is blocked."""
        if self._sifting is None:
            return body
        whole = msgspec.json.decode(body)
        for name in _SAID:
            if name in whole:
                whole[name] = walked(whole[name], self._sifting)
        self.blocked = self._sifting.sifted.blocked
        return None if self.blocked else msgspec.json.encode(whole)

    def told(self, body: bytes) -> bytes:
        """A whole answer, as `released` gave it, with the values in the place of their tokens."""
        if self._restoring is None:
            return body
        return msgspec.json.encode(walked(msgspec.json.decode(body), self._restoring))

    def take(self, passed: bytes, data: bytes, collector: Collector | None) -> bytes:
        """One event of a stream, and its data: what of it the client gets, and what is kept to be given again.

        ``passed``: the event as it would go to the client; empty = it is not for it.
        """
        if self.blocked:
            return b""
        if not passed or not data:
            if collector is not None:
                collector.take(data)
            return passed
        is_last = data == _DONE
        said: list[Body] = [] if is_last else [msgspec.json.decode(data)]
        events = self._kept(_through(self._sifted, said, is_last=is_last), collector)
        told = b"".join(map(self._encoded, _through(self._restored, events, is_last=is_last)))
        return told + passed if is_last and not self.blocked else told

    def failure(self) -> ModelFailed:
        """What the client is told of an answer that is blocked."""
        return ModelFailed(f"the answer was withheld: {self.blocked}", failure=WITHHELD)

    def _kept(self, events: list[Body], collector: Collector | None) -> list[Body]:
        """The events, kept as they are before values are put back; none when something in them is blocked."""
        if self._sifting is not None and (blocked := self._sifting.sifted.blocked):
            self.blocked = blocked
            if collector is not None:
                collector.events = None
            return []
        if collector is not None:
            for event in events:
                collector.take(msgspec.json.encode(event))
        return events

    def _encoded(self, event: Body) -> bytes:
        named = f"event: {event.get('type')}\n".encode() if self._named else b""
        return named + b"data: " + msgspec.json.encode(event) + b"\n\n"


def _through(stage: Rewriting | None, events: list[Body], *, is_last: bool) -> list[Body]:
    if stage is None:
        return events
    passed = [released for event in events for released in stage.take(event)]
    return [*passed, *stage.end()] if is_last else passed


@dataclass(slots=True)
class Passing:
    """A request under filters.

    Attributes:
        body: as it may go on; ``found``: what was found in it.
        blocked: why it may not, in words; "" = it may.
        wire: what its answer passes; None = nothing.
        recorded: what the model gate records of its answer goes by these.
    """

    body: Body
    found: list[Filtered]
    blocked: str
    wire: Wire | None
    recorded: Filters | None


class Filtering:
    """The filters of a gateway. ``secrets``: of tenants, from which keys of tokens are derived."""

    def __init__(self, config: Mapping[str, FiltersConfig], secrets: CacheEntries) -> None:
        self._secrets = secrets
        self._known: dict[str, bytes] = {}
        self._agents: dict[str, _Agent] = {}
        for agent, said in config.items():
            requests, answers = filters_of(agent, said)
            idle = answers.places["output"].is_idle
            self._agents[agent] = _Agent(
                requests.places["input"], answers.places["output"], None if idle else answers, Memory()
            )

    async def passing(self, who: Who, shape: Shape | None, body: Body) -> Passing | None:
        """A request of somebody as it may go on; None = as it is. Without ``shape`` it has no answer with words.

        Raises:
            Unfit: it is nested too deeply to be looked at.
        """
        agent = self._agents.get(who.agent) or self._agents.get("*")
        if agent is None:
            return None
        found: list[Filtered] = []
        blocked, values = "", dict[str, str]()
        if not agent.requests.is_idle:
            key = await self._key(who) if "tokenise" in agent.requests.actions.values() else b""
            sifting = Sifting(agent.requests, key, agent.memory)
            try:
                body = request(body, sifting)
            except RecursionError as error:
                raise Unfit("invalid_value", "the body is nested too deeply to be filtered") from error
            found, blocked, values = records(sifting.sifted), sifting.sifted.blocked, sifting.sifted.tokens
        wire = None
        if shape is not None and not shape.embeds and (values or agent.recorded is not None):
            wire = Wire(shape, agent.answers, values)
        return Passing(body, found, blocked, wire, agent.recorded)

    async def _key(self, who: Who) -> bytes:
        """Tokens of one agent mean nothing in another's calls, nor in those for another customer."""
        secret = self._known.get(who.tenant)
        if secret is None:
            secret = self._known[who.tenant] = await self._secrets.secret(who.tenant)
        about = "\0".join((who.agent, who.tags.get("customer", "")))
        return hmac.digest(secret, _TOKENS + about.encode(), "sha256")
