"""A measured worker process with one long run: it makes it, or goes on with it.

``python -m benchmarks.long_worker '{"dsn": …, "name": …, "steps": …, "every": …, "goes_on": …}'``.
"""

import asyncio
import json
import sys
import time
from typing import Any

import uvloop

import penstock
from benchmarks.child import resident_bytes, say, told
from penstock import Agent, Budget, Settings, tool
from penstock.events import Amount
from penstock.events.messages import Message, ToolCall
from penstock.events.messages import say as message
from penstock.ports.model import ModelRequest, ModelResponse, Price
from penstock.wiring import tune_worker_process

LEASE_SECONDS = 5.0


@tool(effect="read")
async def look(number: int) -> str:
    """Look something up."""
    return f"the finding of look {number} is {number * 7}"


class InstantModel:
    """Asks for one look after the other; stands still at the last step until the process is killed.

    With ``goes_on`` it says when it was first asked, and answers.
    """

    name = "instant:model"
    simulated = True

    def __init__(self, steps: int, *, goes_on: bool) -> None:
        self._steps = steps
        self._goes_on = goes_on
        self.first = 0.0

    def price(self) -> Price:
        """Nothing."""
        return Price(0.0, 0.0, source="benchmark")

    def prompt_bound(self, messages: Any, tools: Any) -> int:
        """A rough figure that costs nothing to find."""
        del tools
        return 50 * len(messages) + 100

    async def request(self, request: ModelRequest) -> ModelResponse:
        """The next look, by how long the conversation is."""
        self.first = self.first or time.monotonic()
        number = len(request.messages) // 2
        used = Amount(20 * len(request.messages), 5)
        if number >= self._steps:
            if not self._goes_on:
                say(reached=number)
                await asyncio.Event().wait()
            return ModelResponse(message("assistant", "done"), used, "stop")
        call = ToolCall(f"c{number}", "look", json.dumps({"number": number}))
        return ModelResponse(Message("assistant", [call]), used, "tool_calls")

    def stream(self, request: ModelRequest) -> Any:
        """Not asked for."""
        raise NotImplementedError


async def main(dsn: str, name: str, steps: int, every: int, goes_on: bool) -> None:
    """Work until told to stop."""
    model = InstantModel(steps, goes_on=goes_on)
    agent = Agent(
        "bench-long",
        model=model,
        instructions="Look.",
        tools=[look],
        budget=Budget(steps=10 * steps, calls=10 * steps),
    )
    settings = Settings(
        database_url=dsn,
        snapshot_every_events=every,
        lease_seconds=LEASE_SECONDS,
        loop_block_max_seconds=LEASE_SECONDS,
        poll_seconds=0.05,
        drain_seconds=0,
    )
    async with penstock.open(settings, agents=[agent], models=[model]) as platform:
        tune_worker_process()
        claimed: list[float] = []
        claim = platform.journal.claim

        async def noted(*args: Any) -> Any:
            claims = await claim(*args)
            if claims and not claimed:
                claimed.append(time.monotonic())
            return claims

        platform.journal.claim = noted  # type: ignore[method-assign, assignment]
        say(ready=True)
        assert await told() == "go"
        if not goes_on:
            run = await platform.submit(agent, "go", key="long")
            say(run=str(run))
        platform.start_worker(name)
        if goes_on:
            run = await platform.submit(agent, "go", key="long")
            result = await platform.result(run)
            say(seconds=model.first - claimed[0], outcome=result.outcome, rss=resident_bytes())
        await told()


if __name__ == "__main__":
    uvloop.run(main(**json.loads(sys.argv[1])))
