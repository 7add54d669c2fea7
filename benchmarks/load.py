"""Callers of a gateway, as a process of their own: a closed loop of connections that each ask again once answered.

Each line on its standard input is a `Load`; what it says then is a `Told`. The requests differ only in a number that
stands in their prompt, so that no cache answers them.
"""

import asyncio
import gc
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, cast

import httptools
import uvloop

from benchmarks.bench import clock
from benchmarks.child import Child, cpu_seconds, say, told
from benchmarks.figures import quantile

NUMBER = b"00000000"
"""In a body: where the request's number is put."""
AGAIN_SECONDS = 0.05
"""After which a connection that was lost is made again, to the next port."""


@dataclass(slots=True, frozen=True)
class Load:
    """What is asked, by how many at a time, and until when.

    Attributes:
        ports: of the processes that share the connections; one that is lost goes on at the next.
        headers: besides the length and the type of the body.
        body: JSON that holds `NUMBER` once.
        seconds: that are measured, after ``warm`` seconds that are not.
        refusals: a connection that was refused so often in a row asks no more; 0: it never tires.
        pause: seconds that a connection waits after a refusal.
        first: nobody asks any more once anybody has been refused.
    """

    ports: Sequence[int]
    path: str
    headers: dict[str, str]
    body: str
    connections: int
    seconds: float
    warm: float = 0.0
    refusals: int = 0
    pause: float = 0.0
    first: bool = False


@dataclass(slots=True, frozen=True)
class Told:
    """What became of it. Times are in milliseconds and of answers with success, rates in answers a second."""

    rate: float
    p50: float
    p99: float
    statuses: dict[str, int]
    lost: int
    first_refusal: str  # its status and the beginning of its body
    cpu: float  # seconds, of the callers
    seconds: float
    answers: int  # of any status, those before the measured seconds too


async def ask(child: Child, load: Load) -> Told:
    """Let a process of this module do it."""
    return Told(**await child.asked(json.dumps(asdict(load))))


@dataclass(slots=True)
class _State:
    """What the connections of one load share."""

    load: Load
    begin: float = 0.0
    end: float = 0.0
    number: int = 0
    asking: bool = True
    tired: int = 0
    lost: int = 0
    answers: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    refusal: str = ""
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def idle(self) -> None:
        """A connection will ask no more."""
        self.tired += 1
        if self.tired == self.load.connections:
            self.over.set()


class _Caller(asyncio.Protocol):
    """One connection: it asks, takes the answer, and asks again."""

    def __init__(self, state: _State, lane: int) -> None:
        self._state = state
        self._lane = lane
        before, _, self._after = state.load.body.encode().partition(NUMBER)
        head = [f"POST {state.load.path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json"]
        head += [f"{name}: {value}" for name, value in state.load.headers.items()]
        head.append(f"Content-Length: {len(state.load.body.encode())}")
        self._before = "\r\n".join(head).encode() + b"\r\n\r\n" + before
        self._transport: asyncio.Transport | None = None
        self._parser: Any = None
        self._asked = 0.0
        self._refused = 0
        self._body = b""
        self._done = False
        self._waiting = False

    async def connect(self) -> None:
        ports = self._state.load.ports
        while not self._done:
            self._lane += 1
            try:
                port = ports[self._lane % len(ports)]
                await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", port)
            except OSError:
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                return

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not derived from it
        self._parser = httptools.HttpResponseParser(self)
        if self._state.begin:
            self.ask()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._waiting:
            self._waiting = False
            self._state.lost += 1
        if not self._done:
            again = asyncio.get_running_loop().create_task(self._reconnect())
            _tasks.add(again)
            again.add_done_callback(_tasks.discard)

    async def _reconnect(self) -> None:
        await asyncio.sleep(AGAIN_SECONDS)
        await self.connect()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._body = b""

    def on_body(self, body: bytes) -> None:
        if not self._body:
            self._body = body

    def on_message_complete(self) -> None:
        state, now = self._state, clock()
        status = self._parser.get_status_code()
        self._waiting = False
        state.answers += 1
        if state.begin <= now < state.end or state.load.refusals or state.load.first:
            state.statuses[status] += 1
            if status == 200:
                state.latencies.append(now - self._asked)
        if status == 200:
            self._refused = 0
        else:
            self._refused += 1
            if not state.refusal:
                state.refusal = f"{status} {self._body[:300].decode('utf-8', 'replace')}"
            if state.load.first:
                state.asking = False
        if state.load.refusals and self._refused >= state.load.refusals:
            self.rest()
        elif not self._parser.should_keep_alive():
            assert self._transport is not None
            self._transport.close()
        elif status != 200 and state.load.pause:
            asyncio.get_running_loop().call_later(state.load.pause, self.ask)
        else:
            self.ask()

    def ask(self) -> None:
        state = self._state
        if self._transport is None:  # lost while it paused: it asks once it is connected again
            return
        if not state.asking or clock() >= state.end:
            self.rest()
            return
        state.number += 1
        self._waiting = True
        self._asked = clock()
        self._transport.write(b"%b%08d%b" % (self._before, state.number, self._after))

    def rest(self) -> None:
        """Ask no more."""
        if not self._done:
            self._done = True
            if self._transport is not None:
                self._transport.close()
            self._state.idle()


_tasks: set[asyncio.Task[None]] = set()
"""The loop holds its tasks only weakly."""
PATIENCE_SECONDS = 60.0
"""For the answers that are still on their way when the time is over."""


async def _measure(load: Load) -> Told:
    state = _State(load)
    callers = [_Caller(state, lane) for lane in range(load.connections)]
    for start in range(0, len(callers), 100):
        await asyncio.gather(*(caller.connect() for caller in callers[start : start + 100]))
    begun, cpu = clock(), cpu_seconds()
    state.begin = begun + load.warm
    state.end = state.begin + load.seconds
    for caller in callers:
        caller.ask()
    try:
        async with asyncio.timeout(load.warm + load.seconds + PATIENCE_SECONDS):
            await state.over.wait()
    except TimeoutError:
        for caller in callers:
            caller.rest()
    took = min(clock(), state.end) - state.begin
    times = [seconds * 1000 for seconds in state.latencies] or [0.0]
    return Told(
        rate=len(state.latencies) / took if took > 0 else 0.0,
        p50=quantile(times, 0.5),
        p99=quantile(times, 0.99),
        statuses={str(status): count for status, count in state.statuses.items()},
        lost=state.lost,
        first_refusal=state.refusal,
        cpu=cpu_seconds() - cpu,
        seconds=clock() - begun,
        answers=state.answers,
    )


async def _serve() -> None:
    gc.disable()  # a load's few objects live on; its pauses would be taken for the gateway's
    say(ready=True)
    while (word := await told()) != "stop":
        say(**asdict(await _measure(Load(**json.loads(word)))))
        gc.collect()


if __name__ == "__main__":
    json.loads(sys.argv[1])  # no options
    uvloop.run(_serve())
