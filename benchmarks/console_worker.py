"""Makes long runs with a real worker: ``python -m benchmarks.console_worker OPTIONS``."""

import json
import sys
from collections.abc import Sequence
from typing import Any

import uvloop

import penstock
from benchmarks.child import say, told
from penstock import Run, Settings, agent, tool
from penstock.events import Amount
from penstock.events.messages import say as message
from penstock.ports.model import ModelRequest, ModelResponse, Price
from penstock.wiring import tune_worker_process

SIDE_BY_SIDE = 9
A_ROUND = SIDE_BY_SIDE + 2
"""Spans: a model call, the group, and what is in it."""


class Planner:
    """A fake that says at once what to look for."""

    name = "fake:planner"
    simulated = True

    def price(self) -> Price:
        """As of a model of middling size."""
        return Price(1000.0, 4000.0, source="benchmark")

    def prompt_bound(self, messages: Any, tools: Any) -> int:
        """Bytes of the short prompt."""
        del tools
        return sum(8 + len(part.text) for one in messages for part in one.parts)

    async def request(self, request: ModelRequest) -> ModelResponse:
        """A sentence."""
        words = f"Look for what follows from: {request.messages[-1].text}"
        return ModelResponse(message("assistant", words), Amount(900, 40), "stop")

    def stream(self, request: ModelRequest) -> Any:
        """Not asked for."""
        raise NotImplementedError


PLANNER = Planner()


@tool(effect="read")
async def search(text: str, number: int) -> dict[str, Any]:
    """Finds something at once."""
    return {"found": f"result {number} of {text!r}", "score": number / 10, "source": "the shelf"}


@agent("digger", version="1")
async def digger(run: Run, spans: int) -> int:
    """Asks, then looks in several places side by side, again and again."""
    for number in range(spans // A_ROUND):
        said = await run.ask(PLANNER, f"step {number}", max_tokens=64)
        await run.gather(
            *(run.call(search, said[-20:], number * SIDE_BY_SIDE + place) for place in range(SIDE_BY_SIDE))
        )
    return spans


async def main(dsn: str, tenant: str, spans: Sequence[int]) -> None:
    """Say of each size the run's id as soon as it has ended."""
    settings = Settings(database_url=dsn, tenant=tenant, history_max_events=10_000_000, history_max_bytes=2**30)
    async with penstock.open(settings, agents=[digger], models=[PLANNER], worker="digger") as platform:
        tune_worker_process()
        say(ready=True)
        for count in spans:
            result = await platform.run(digger, count)
            say(**{str(count): {"run": str(result.run), "outcome": result.outcome, "code": result.code}})
        await told()


if __name__ == "__main__":
    uvloop.run(main(**json.loads(sys.argv[1])))
