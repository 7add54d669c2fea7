"""What a measured peer process does: one trial after another, each for so many seconds, and what it says of it."""

import gc
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from benchmarks import ticket
from benchmarks.bench import clock
from benchmarks.child import cpu_seconds, say, told


@dataclass(slots=True, frozen=True)
class Trial:
    """What is asked of the process next."""

    mode: str  # the peer's own way to store, see its module
    concurrency: int  # tickets at a time
    lanes: int  # of what holds a lock of its own: savers of LangGraph
    seconds: float


class Tickets:
    """Gives out this process's ticket numbers."""

    def __init__(self, first: int, step: int) -> None:
        self.next = first
        self.step = step

    def take(self) -> int:
        number, self.next = self.next, self.next + self.step
        return number


async def serve(tickets: Tickets, attempt: Callable[[Trial], Awaitable[float]]) -> None:
    """Do what each line asks until told to stop, and say what it took.

    ``attempt`` begins tickets for the trial's seconds, finishes those begun, and returns the seconds it really took.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)  # as in Penstock's workers
    say(ready=True)
    while (word := await told()) != "stop":
        ticket.done.clear()
        first, cpu = tickets.next, cpu_seconds()
        took = await attempt(Trial(**json.loads(word)))
        mine = range(first, tickets.next, tickets.step)
        say(ended=len(mine), seconds=took, cpu=cpu_seconds() - cpu, wrong=len(ticket.wrong(ticket.done, mine)))


async def until(seconds: float, begin: Callable[[], Awaitable[None]]) -> None:
    """One ticket after another until so many seconds have passed."""
    over = clock() + seconds
    while clock() < over:
        await begin()
