"""A worker's duties: started with it, cut off with it, and missed aloud when they fail."""

import asyncio

import pytest

from penstock.runs.duties import Duties


async def test_they_go_on_while_the_block_runs_and_no_longer() -> None:
    beats: list[str] = []
    begun = asyncio.Event()

    async def beat() -> None:
        begun.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            beats.append("cut off")

    duties = Duties()
    duties.add(beat)
    async with duties.going_on():
        await begun.wait()
        assert beats == []
    assert beats == ["cut off"]


async def test_one_that_fails_is_said_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    going = asyncio.Event()

    async def fails() -> None:
        raise LookupError("no such thing")

    async def goes_on() -> None:
        await asyncio.sleep(0)
        going.set()

    duties = Duties()
    duties.add(fails)
    duties.add(goes_on)
    async with duties.going_on():
        await going.wait()
    assert "no such thing" in caplog.text
