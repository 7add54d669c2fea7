"""Actions are durable before the answer, those that come together go together, and one that fails fails alone."""

import asyncio
from collections.abc import Sequence

import pytest

from penstock.adapters.memory import MemoryJournal
from penstock.kernel.errors import JournalError, JournalUnavailable
from penstock.ports.actions import Action, NewAction
from penstock.server.action_log import TOGETHER_MAX, ActionLog


class Slow:
    """A store that answers when it is told to."""

    def __init__(self) -> None:
        self.store = MemoryJournal().actions
        self.groups: list[int] = []
        self.go = asyncio.Event()
        self.refuses = b"nothing"

    async def record(self, actions: Sequence[NewAction]) -> list[Action]:
        self.groups.append(len(actions))
        await self.go.wait()
        if any(self.refuses in action.body for action in actions):
            raise JournalUnavailable("away")
        return await self.store.record(actions)


async def record(log: ActionLog, number: int) -> None:
    await log.record_as("acme", "key:a", "run.cancel", f"run-{number}")


async def test_an_action_is_stored_before_it_counts_as_recorded() -> None:
    slow = Slow()
    log = ActionLog(slow)  # type: ignore[arg-type]
    recording = asyncio.create_task(record(log, 1))
    done, _ = await asyncio.wait({recording}, timeout=0.05)
    assert not done
    slow.go.set()
    await recording
    assert len(await slow.store.since("acme")) == 1


async def test_those_that_come_while_one_is_written_go_together() -> None:
    slow = Slow()
    log = ActionLog(slow)  # type: ignore[arg-type]
    tasks = [asyncio.create_task(record(log, number)) for number in range(TOGETHER_MAX + 21)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    slow.go.set()
    await asyncio.gather(*tasks)
    assert slow.groups == [TOGETHER_MAX, 21]
    stored = await slow.store.since("acme", 0, 500) + await slow.store.since("acme", 500, 500)
    assert [f'"run-{n}"'.encode() in action.body for n, action in enumerate(stored)] == [True] * (TOGETHER_MAX + 21)


async def test_one_that_cannot_be_recorded_fails_alone() -> None:
    slow = Slow()
    slow.refuses = b"run-3"
    slow.go.set()
    log = ActionLog(slow)  # type: ignore[arg-type]
    done = await asyncio.gather(*(record(log, number) for number in range(6)), return_exceptions=True)
    assert [isinstance(item, JournalError) for item in done] == [False, False, False, True, False, False]
    assert len(await slow.store.since("acme")) == 5


async def test_one_whose_caller_has_gone_is_recorded_all_the_same() -> None:
    slow = Slow()
    log = ActionLog(slow)  # type: ignore[arg-type]
    recording = asyncio.create_task(record(log, 1))
    await asyncio.sleep(0.01)
    recording.cancel()
    with pytest.raises(asyncio.CancelledError):
        await recording
    slow.go.set()
    await log.close()
    assert len(await slow.store.since("acme")) == 1
