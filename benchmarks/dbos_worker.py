"""A measured peer process: the same ticket as a DBOS workflow of nine steps.

``python -m benchmarks.dbos_worker '{"dsn": …, "pool": …, "first": …, "step": …}'``, then a `Trial` in JSON a line.
"""

import asyncio
import json
import sys
from typing import Any

import uvloop
from dbos import DBOS, DBOSConfig

from benchmarks import ticket
from benchmarks.bench import clock
from benchmarks.trial import Tickets, Trial, serve, until


@DBOS.step()
async def ask(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """One answer of the fake model."""
    turn = sum(message["role"] == "assistant" for message in messages)
    said = ticket.answer(turn, ticket.number_of(messages[1]["content"]))
    tokens_in, tokens_out = ticket.tokens_of(turn)
    usage = {"input_tokens": tokens_in, "output_tokens": tokens_out}
    if isinstance(said, str):
        return {"role": "assistant", "content": said, "usage": usage}
    call = {"id": f"call-{turn}", "name": said[0], "args": said[1]}
    return {"role": "assistant", "content": "", "tool_calls": [call], "usage": usage}


@DBOS.step()
async def act(name: str, args: str) -> object:
    """One tool call."""
    return await ticket.TOOLS[name](**json.loads(args))


@DBOS.workflow()
async def desk(number: int) -> str:
    """Model and tools in turn until the model has answered."""
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": ticket.INSTRUCTIONS},
        {"role": "user", "content": ticket.text_of(number)},
    ]
    while True:
        answer = await ask(messages)
        messages.append(answer)
        if not answer.get("tool_calls"):
            return str(answer["content"])
        for call in answer["tool_calls"]:
            value = await act(call["name"], call["args"])
            messages.append({"role": "tool", "content": json.dumps(value), "tool_call_id": call["id"]})


async def one(number: int) -> None:
    """One ticket from the beginning to the last answer.

    Raises:
        RuntimeError: it ended with another answer than the fake's last.
    """
    answer = await desk(number)
    if answer != ticket.answer(ticket.TOOL_CALLS, str(number)):
        raise RuntimeError(f"the workflow of ticket {number} ended with {answer!r}")


async def work(dsn: str, pool: int, first: int, step: int) -> None:
    """One trial after another until told to stop."""
    config: DBOSConfig = {
        "name": "bench",
        "system_database_url": dsn.replace("postgresql://", "postgresql+psycopg://"),
        "sys_db_pool_size": pool,
        "log_level": "ERROR",
        "executor_id": f"bench-{first}",
    }
    DBOS(config=config)
    DBOS.launch()
    tickets = Tickets(first, step)

    async def attempt(trial: Trial) -> float:
        begun = clock()
        lanes = [until(trial.seconds, lambda: one(tickets.take())) for _ in range(trial.concurrency)]
        await asyncio.gather(*lanes)
        return clock() - begun

    try:
        await serve(tickets, attempt)
    finally:
        DBOS.destroy()


if __name__ == "__main__":
    uvloop.run(work(**json.loads(sys.argv[1])))
