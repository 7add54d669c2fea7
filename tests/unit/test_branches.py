"""One branch: how it is driven, what its scheduler hears, and how it is put away."""

import asyncio
import contextvars
from collections.abc import Coroutine
from typing import Any

import pytest

from penstock.gates.order.branches import CURRENT, UNWOUND, Branch

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="outside")


class Ear:
    """Hears what a schedule would."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def suspended(self, branch: Branch, on: "asyncio.Future[Any]") -> None:
        self.heard.append("suspended")

    def resumed(self, branch: Branch) -> None:
        self.heard.append("resumed")


def started(coro: Coroutine[Any, Any, Any]) -> tuple[Ear, Branch, "asyncio.Task[Any]"]:
    """A branch driving the coroutine in a task and context of its own."""
    ear, context = Ear(), contextvars.copy_context()
    branch = Branch(ear, "2.0.", context)
    task = asyncio.get_running_loop().create_task(branch.drive(coro), context=context)
    return ear, branch, task


async def test_it_gives_what_the_code_gives_and_raises_what_it_raises() -> None:
    async def gives() -> Any:
        assert CURRENT.get() is not None
        await asyncio.sleep(0)
        return 5

    async def raises() -> Any:
        raise LookupError("no")

    assert await started(gives())[2] == 5
    with pytest.raises(LookupError):
        await started(raises())[2]
    assert CURRENT.get() is None, "it is set in the branch's own context alone"


async def test_waiting_for_a_future_is_heard_and_a_turn_of_the_loop_is_not() -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def waits() -> int:
        await asyncio.sleep(0)
        return await future

    ear, branch, task = started(waits())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert ear.heard == ["suspended"]
    assert branch.suspended_on is not None
    future.set_result(3)
    assert await task == 3
    assert ear.heard == ["suspended", "resumed"]
    assert branch.suspended_on is None


async def test_what_it_waits_for_inside_a_gate_is_not_the_schedules_business() -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def in_gate() -> int:
        branch = CURRENT.get()
        assert branch is not None
        branch.bound = True
        result = await future
        branch.bound = False
        return result

    ear, _, task = started(in_gate())
    await asyncio.sleep(0)
    future.set_result(1)
    assert await task == 1
    assert ear.heard == []


async def test_a_foreign_failure_reaches_the_code() -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def catches() -> str:
        try:
            await future
        except OSError as error:
            return str(error)
        return ""

    _, _, task = started(catches())
    await asyncio.sleep(0)
    future.set_exception(OSError("lost"))
    assert await task == "lost"


async def test_paths_count_within_the_branch() -> None:
    branch = Branch(Ear(), "4.1.", contextvars.copy_context())
    assert [branch.next_path() for _ in range(3)] == ["4.1.0", "4.1.1", "4.1.2"]


async def test_closing_runs_finally_blocks_in_the_branchs_context_and_lets_the_task_go() -> None:
    seen = []

    async def cleans() -> None:
        variable.set("inside")
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            seen.append(variable.get())

    _, branch, task = started(cleans())
    await asyncio.sleep(0)
    assert branch.close() is None
    assert await task is UNWOUND
    assert seen == ["inside"]
    assert variable.get() == "outside"


async def test_closing_what_has_not_begun_is_quiet() -> None:
    async def never() -> None:
        raise AssertionError

    branch = Branch(Ear(), "", contextvars.copy_context())
    branch.coro = never()
    assert branch.close() is None


async def test_code_that_fails_while_it_is_closed_has_ended_all_the_same() -> None:
    async def fails() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            raise OSError("while cleaning up")

    _, branch, task = started(fails())
    await asyncio.sleep(0)
    assert branch.close() is None
    assert await task is UNWOUND


async def test_code_that_refuses_to_close_is_reported() -> None:
    async def refuses() -> None:
        while True:
            try:
                await asyncio.get_running_loop().create_future()
            except GeneratorExit:
                await asyncio.sleep(0)

    async def outer() -> None:
        await refuses()

    _, branch, task = started(outer())
    await asyncio.sleep(0)
    assert isinstance(branch.close(), RuntimeError)
    assert await task is UNWOUND
