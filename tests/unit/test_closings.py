"""Ends of runs are put off until the journal has something else to wait for, and not for long."""

import asyncio
from collections.abc import Callable

import pytest

from penstock.integrations.gateway import closings as module
from penstock.integrations.gateway.closings import PUT_OFF_MAX, Closings


class Done:
    """What was ended, and in which order with what else."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.some = asyncio.Event()

    def of(self, name: str) -> Callable[[], None]:
        def close() -> None:
            self.order.append(name)
            self.some.set()

        return close


async def test_they_wait_until_an_append_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PUT_OFF_SECONDS", 60.0)
    done, closings = Done(), Closings()
    closings.add(done.of("one"))
    closings.add(done.of("two"))
    loop = asyncio.get_running_loop()
    # As the writer does it: the append is a task of its own, which is told of as soon as it is there.

    def prepare() -> None:
        done.order.append("prepared")
        loop.call_soon(done.order.append, "sent")

    loop.call_soon(prepare)
    closings.appending()
    await done.some.wait()
    assert done.order == ["prepared", "sent", "one", "two"]
    closings.appending()  # nothing is ended twice


async def test_without_an_append_they_wait_for_the_time_that_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PUT_OFF_SECONDS", 0.0)
    done, closings = Done(), Closings()
    closings.add(done.of("one"))
    assert done.order == []
    await asyncio.wait_for(done.some.wait(), 5)
    assert done.order == ["one"]


async def test_no_more_are_put_off_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PUT_OFF_SECONDS", 60.0)
    done, closings = Done(), Closings()
    for number in range(PUT_OFF_MAX - 1):
        closings.add(done.of(str(number)))
    assert done.order == []
    closings.add(done.of("last"))
    assert len(done.order) == PUT_OFF_MAX
    closings.add(done.of("the next"))
    closings.close_all()
    assert done.order[-1] == "the next"
