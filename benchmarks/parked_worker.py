"""The measured process of `parked`: submits runs that wait, works until all of them are parked, tells its memory."""

import asyncio
import gc
import json
import sys

import uvloop

import penstock
from benchmarks.child import resident_bytes, say, told
from penstock import Run, Settings, agent, tool
from penstock.ports.records import RunFilter, Status
from penstock.runs.submit import Request
from penstock.wiring import tune_worker_process

SUBMIT_AT_A_TIME = 250
POLL_SECONDS = 0.1


@agent("bench-wait-timer")
async def sleeper(run: Run, text: str) -> str:
    """Waits for a timer."""
    await run.sleep(86_400)
    return text


@tool(effect="write", risk="high")
async def pay(cents: int) -> str:
    """Waits for a person, who never comes."""
    raise AssertionError(f"nobody approved {cents} cents")


@agent("bench-wait-person")
async def payer(run: Run, text: str) -> str:
    """Waits for an approval."""
    await run.call(pay, len(text))
    return text


async def main(dsn: str) -> None:
    """Park as many runs as each line says, until told to stop."""
    agents = [sleeper, payer]
    async with penstock.open(Settings(database_url=dsn), agents=agents) as platform:
        tune_worker_process()
        worker = platform.start_worker("parked")
        say(ready=True)
        while (word := await told()) != "stop":
            for start in range(0, int(word), SUBMIT_AT_A_TIME):
                numbers = range(start, min(int(word), start + SUBMIT_AT_A_TIME))
                await platform.submit_many([Request(agents[n % 2], f"wait {n}") for n in numbers])
            while worker.running or await _queued(platform):  # noqa: ASYNC110 - the rows say it, no event does
                await asyncio.sleep(POLL_SECONDS)
            gc.collect()
            say(rss=resident_bytes())


async def _queued(platform: "penstock.Penstock") -> bool:
    return bool(await platform.journal.list_runs(platform.tenant, RunFilter(status=Status.QUEUED), 1))


if __name__ == "__main__":
    uvloop.run(main(**json.loads(sys.argv[1])))
