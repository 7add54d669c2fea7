"""What is outside: receivers that really do things, people who can look, a model that really costs money.

A call may be answered at once or late, fail before or after its effect, or never answer; an effect happens at its
receiver at the latest when the call's time-out is over, also when the caller is long dead. (An effect that outlives
its time-out is not promised to be found by any sender: see docs/explanation/durability.md.)
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from tests.sim.world.loop import Process

from penstock import Change, IdempotencyKey, ToolContext, TransientToolError, tool
from penstock.events import Amount, Failure
from penstock.events.messages import Message, Part, ToolCall, encode_message, say
from penstock.kernel.clock import Clock
from penstock.ports.model import ModelError, ModelRequest, ModelResponse, Price, ToolSpec
from penstock.ports.tools import StartedTooLate, ToolDef, ToolTimedOut

TIMEOUT = 2.0
PRICE = Price(100.0, 1000.0, source="simulated")


@dataclass(slots=True)
class Asked:
    """One call that reached a receiver."""

    tool: str
    run: UUID
    path: str
    attempt: int
    key: str
    x: int
    sent: float
    by: str  # the process
    happens_at: float | None = None  # when the effect is due; None = it never happens
    happened: bool = False


@dataclass(slots=True, frozen=True)
class Previewed:
    """One look at what a call would change."""

    run: UUID
    path: str
    attempt: int
    fence: int
    at: float


class Outside:
    """All receivers. ``trouble`` is the chance of each kind of misbehaviour; ``draw`` gives numbers in [0, 1)."""

    def __init__(self, process: Process, draw: Callable[[], float], note: Callable[[str, str], None]) -> None:
        self.process = process
        self.draw = draw
        self.note = note
        self.trouble = 0.0
        self.asked: list[Asked] = []
        self.previewed: list[Previewed] = []
        self.effects: dict[tuple[UUID, str], int] = {}
        self.keys: dict[str, int] = {}
        self.pending: dict[str, int] = {}
        self.spent: dict[UUID, int] = {}
        self.tokens: dict[UUID, int] = {}
        self.models_asked = 0
        self.asked_at: list[float] = []
        """When the model that is limited was asked."""
        self.peers: Callable[[], Sequence[UUID | None]] = lambda: [None]
        self.manners: dict[str, int] = {}
        self.wrong: list[tuple[str, str]] = []

    def manner(self, kind: str) -> str:
        """How a call is going to go."""
        if self.draw() >= self.trouble:
            return "ok"
        ways = (
            "slow",
            "act_then_fail",
            "fail_then_act",
            "fail",
            "act_then_hang",
            "act_late",
            "hang",
            "refuse",
            "transient",
            "slow",
        )
        way = ways[int(self.draw() * len(ways))]
        if kind != "write" and "then_act" in way:
            way = "fail"
        if kind == "read" and way.startswith("act"):
            way = "slow"
        self.manners[way] = self.manners.get(way, 0) + 1
        return way

    async def perform(self, name: str, x: int, context: ToolContext, *, writes: bool) -> int:
        """One call of a tool at its receiver."""
        loop = asyncio.get_running_loop()
        way = self.manner("write" if writes else "read")
        by = asyncio.current_task().get_name().split("|")[0]  # type: ignore[union-attr]
        asked = Asked(name, context.run, context.path, context.attempt, context.key, x, loop.time(), by)
        if writes:
            self.asked.append(asked)
            self._check_alone(asked.key, f"{name} at {context.path} was called")
        self.note(by, f"{name}({x}) at {context.path} attempt {context.attempt} of {context.run.hex[-6:]}: {way}")
        quick, left = 0.002 + 0.03 * self.draw(), context.timeout_seconds
        late = left * (0.3 + 0.69 * self.draw())
        if way == "refuse":
            raise ValueError("not acceptable")
        if way == "transient":
            raise TransientToolError("busy, nothing was done", retry_after_seconds=self.draw())
        acts = writes and way in ("ok", "slow", "act_then_fail", "fail_then_act", "act_then_hang", "act_late")
        if acts:
            delay = late * self.draw() if way == "slow" else late if way in ("act_late", "fail_then_act") else quick
            asked.happens_at = asked.sent + delay
            self.pending[asked.key] = self.pending.get(asked.key, 0) + 1
            self.process.soon(delay, self._happen, asked)
        if way in ("act_then_fail", "fail_then_act", "fail"):
            await asyncio.sleep(quick * 2)
            raise ConnectionError("connection reset by peer")
        if way in ("act_then_hang", "act_late", "hang"):
            await asyncio.sleep(3600)
        await asyncio.sleep(late if way == "slow" else quick * 2)
        return 3 * x

    async def preview(self, x: int, context: ToolContext) -> list[Change]:
        """One look at what a call would change: it may take long, fail, hang or say far too much."""
        loop = asyncio.get_running_loop()
        self.previewed.append(Previewed(context.run, context.path, context.attempt, context.fence, loop.time()))
        way = self.manner("read")
        if way == "hang":
            await asyncio.sleep(3600)
        await asyncio.sleep(context.timeout_seconds * self.draw() if way == "slow" else 0.01)
        if way in ("fail", "transient"):
            raise ConnectionError("connection reset by peer")
        return [Change(f"thing {x}", "0", str(3 * x))] * (99 if way == "refuse" else 1)

    def _happen(self, asked: Asked) -> None:
        asked.happened = True
        self.pending[asked.key] -= 1
        if asked.tool == "keyed":
            known = self.keys.setdefault(asked.key, asked.x)
            if known != asked.x:
                self.wrong.append(("one_key_one_request", f"the key {asked.key} came with {known} and with {asked.x}"))
            if (asked.run, asked.path) in self.effects:
                return  # the receiver knows the key
        where = asked.run, asked.path
        self.effects[where] = self.effects.get(where, 0) + 1
        self.note("outside", f"EFFECT {asked.tool}({asked.x}) at {asked.path} of {asked.run.hex[-6:]}")

    def look(self, run: UUID, path: str, who: str) -> bool:
        """Whether a call took effect, as somebody sees it who looks now; with ``who`` it must be certain by now."""
        if who:
            self._check_alone(f"{run.hex}-{path}", f"{who} looked at {path} of {run.hex[-6:]}")
        return self.effects.get((run, path), 0) > 0

    def _check_alone(self, key: str, what: str) -> None:
        """A doubt may be settled only when nothing of the earlier call is still on its way."""
        if self.pending.get(key) and not self._forgiving(key):
            self.wrong.append(("settled_too_early", f"{what} while an earlier call's effect was on its way"))

    def _forgiving(self, key: str) -> bool:
        """A receiver to whom a repeat is harmless."""
        return any(asked.key == key and asked.tool in ("keyed", "idempotent") for asked in self.asked)

    def peer(self, number: int) -> str | None:
        """The id of one of the runs that somebody wanted; None while it is not known."""
        known = self.peers()[number % len(self.peers())]
        return str(known) if known is not None else None

    async def answer(self, request: ModelRequest) -> ModelResponse:
        """One call of the model. Whoever asks pays, whatever becomes of the answer."""
        self.models_asked += 1
        self.asked_at.append(asyncio.get_running_loop().time())
        text = request.messages[-1].text
        run = UUID(text.split()[0])
        way = self.manner("model")
        if way in ("refuse", "transient"):
            raise ModelError(Failure("busy", "rate_limited", "busy", int(self.draw() * 1e6)), billed=False)
        reply = say("assistant", f"{text} indeed"[: request.settings.max_tokens])
        used = Amount(tokens_in=_size(request.messages), tokens_out=min(len(text) + 7, request.settings.max_tokens))
        self.spent[run] = self.spent.get(run, 0) + PRICE.of(used)
        self.tokens[run] = self.tokens.get(run, 0) + used.tokens_in + used.tokens_out
        if way in ("act_then_fail", "fail"):
            await asyncio.sleep(0.02 * self.draw())
            raise ModelError(Failure("overloaded", "transient", "overloaded"))
        if way in ("hang", "act_then_hang"):
            await asyncio.sleep(2 + 2 * self.draw())
            raise ModelError(Failure("cut_off", "transient", "the line was cut"))
        await asyncio.sleep(2 * self.draw() if way in ("slow", "act_late") else 0.02)
        return ModelResponse(reply, None if way == "act_late" else used)


def _size(messages: Sequence[Message]) -> int:
    return sum(len(encode_message(message)) for message in messages)


class SimulatedModel:
    """The model as processes call it."""

    name = "sim:model"
    simulated = True

    def __init__(self, outside: Outside) -> None:
        self._outside = outside

    def price(self) -> Price:
        return PRICE

    def prompt_bound(self, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> int:
        return _size(messages) + 100 * len(tools)

    async def request(self, request: ModelRequest) -> ModelResponse:
        return await self._outside.answer(request)

    async def stream(self, request: ModelRequest) -> AsyncGenerator[str | ModelResponse, None]:
        yield await self.request(request)


class RefusingModel(SimulatedModel):
    """Lets nobody in."""

    name = "sim:refusing"

    async def request(self, request: ModelRequest) -> ModelResponse:
        raise ModelError(Failure("model_auth", "permanent", "no"), billed=False)


class LoopModel(SimulatedModel):
    """Calls the tools that the first message lists, turn by turn, then answers."""

    name = "sim:loop"

    async def request(self, request: ModelRequest) -> ModelResponse:
        outside = self._outside
        outside.models_asked += 1
        if outside.manner("model") in ("refuse", "transient", "fail"):
            raise ModelError(Failure("busy", "rate_limited", "busy", int(outside.draw() * 1e6)), billed=False)
        await asyncio.sleep(0.02 + outside.draw() * 0.2)
        turns = json.loads(next(message.text for message in request.messages if message.role == "user"))
        done = sum(message.role == "assistant" for message in request.messages)
        used = Amount(tokens_in=_size(request.messages), tokens_out=5)
        if done >= len(turns) or request.tool_choice == "none":
            return ModelResponse(say("assistant", "done"), used)
        parts: list[Part] = [
            ToolCall(f"c{done}-{at}", name, json.dumps({"x": x})) for at, (name, x) in enumerate(turns[done])
        ]
        return ModelResponse(Message("assistant", parts), used, "tool_calls")


class SimulatedIsolation:
    """Where synchronous tools run: somewhere that takes a while to be ready, looks at the clock once more before it
    calls, and is killed at the time-out."""

    def __init__(self, outside: Outside, clock: Clock) -> None:
        self._outside = outside
        self._clock = clock

    async def run(self, tool: ToolDef, kwargs: dict[str, Any], *, timeout_seconds: float, start_by_boot_ns: int) -> Any:
        draw = self._outside.draw
        await asyncio.sleep(0.3 * draw() if draw() < 0.9 else draw())
        if self._clock.boot_ns() > start_by_boot_ns:
            raise StartedTooLate
        context = kwargs["context"]
        work = self._outside.perform(tool.name, kwargs["x"], context, writes=tool.effect == "write")
        limit = asyncio.timeout(timeout_seconds)
        try:
            async with limit:
                return await work
        except TimeoutError:
            if limit.expired():
                raise ToolTimedOut(f"no answer within {timeout_seconds:g} s; it was killed") from None
            raise

    async def close(self) -> None:
        """Nothing to give back."""


class Place:
    """The outside of the simulation that is being run: tools are functions of a module and have no other way to it."""

    now: Outside


async def did(x: int, key: IdempotencyKey) -> bool:
    """The look-up of `confirmed`; sometimes it cannot say."""
    outside = Place.now
    await asyncio.sleep(0.01)
    if outside.draw() < outside.trouble / 2:
        raise ConnectionError("connection refused")
    run, _, path = str(key).partition("-")
    return outside.look(UUID(run), path, "a look-up")


_WRITE: dict[str, Any] = {"effect": "write", "permission": "auto", "timeout_seconds": TIMEOUT}
_READ: dict[str, Any] = {"effect": "read", "timeout_seconds": TIMEOUT, "attempts": 2}


@tool(**_READ)
async def look(x: int, context: ToolContext) -> int:
    """Reads."""
    return await Place.now.perform("look", x, context, writes=False)


@tool(**_READ, hedge_after=0.2)
async def look_twice(x: int, context: ToolContext) -> int:
    """Reads, and is asked a second time when that takes long."""
    return await Place.now.perform("look_twice", x, context, writes=False)


@tool(**_READ)
def look_apart(x: int, context: ToolContext) -> int:
    """Reads outside the loop."""
    raise AssertionError("only the simulated isolation calls this")


@tool(**_WRITE, in_doubt="escalate")
async def plain(x: int, context: ToolContext) -> int:
    """Does it again when it is asked again."""
    return await Place.now.perform("plain", x, context, writes=True)


@tool(**_WRITE, in_doubt="escalate")
def plain_apart(x: int, context: ToolContext) -> int:
    """The same in a process of its own."""
    raise AssertionError("only the simulated isolation calls this")


@tool(**_WRITE, in_doubt="escalate", attempts=3)
async def patient(x: int, context: ToolContext) -> int:
    """The same, tried again when certainly nothing happened."""
    return await Place.now.perform("patient", x, context, writes=True)


@tool(**_WRITE, in_doubt="keyed")
async def keyed(x: int, key: IdempotencyKey, context: ToolContext) -> int:
    """Knows a repeat by its key."""
    return await Place.now.perform("keyed", x, context, writes=True)


@tool(**_WRITE, in_doubt="confirm", confirm=did)
async def confirmed(x: int, key: IdempotencyKey, context: ToolContext) -> int:
    """Does it again when it is asked again; can be asked whether it has."""
    return await Place.now.perform("confirmed", x, context, writes=True)


@tool(**_WRITE, in_doubt="idempotent")
async def idempotent(x: int, context: ToolContext) -> int:
    """Doing it twice is doing it once."""
    return await Place.now.perform("idempotent", x, context, writes=True)


async def before_held(x: int, context: ToolContext) -> list[Change]:
    """What a person is shown who decides on `held`."""
    return await Place.now.preview(x, context)


@tool(effect="write", risk="high", in_doubt="escalate", timeout_seconds=TIMEOUT, preview=before_held)
async def held(x: int, context: ToolContext) -> int:
    """Waits for a person."""
    return await Place.now.perform("held", x, context, writes=True)


ONCE = ("plain", "plain_apart", "patient", "confirmed", "held", "keyed")
"""Tools whose effect must not happen twice."""
