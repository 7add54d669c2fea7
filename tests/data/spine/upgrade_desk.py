"""Agents that the first release and the present one run alike; every effect is a line of the file LEDGER."""

import asyncio
import os
from pathlib import Path

from penstock import IdempotencyKey, Run, agent, tool


@tool(permission="auto", in_doubt="keyed", timeout_seconds=2)
async def put(number: int, *, key: IdempotencyKey) -> int:
    """Put a line into the ledger."""
    await asyncio.sleep(0.03)
    _write(key)
    return number


@tool(risk="high", in_doubt="keyed", timeout_seconds=2)
async def sign(number: int, *, key: IdempotencyKey) -> int:
    """Put a line that a person has approved."""
    _write(key)
    return number


def _write(key: str) -> None:
    with Path(os.environ["LEDGER"]).open("a", encoding="utf-8") as ledger:
        ledger.write(f"{key}\n")


@agent("courier")
async def courier(run: Run, rounds: int) -> int:
    return sum([await run.call(put, number) for number in range(rounds)])


@agent("sleeper")
async def sleeper(run: Run, seconds: float) -> int:
    await run.call(put, 1)
    await run.sleep(seconds)
    return int(await run.call(put, 2))


@agent("asker")
async def asker(run: Run, number: int) -> int:
    await run.call(put, number)
    return int(await run.call(sign, number))


@agent("family")
async def family(run: Run, rounds: int) -> int:
    return sum(await run.gather(run.call(courier, rounds), run.call(courier, rounds), run.call(put, 1)))
