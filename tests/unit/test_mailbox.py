"""The mailbox of a run: which letters end a wait, and which are journalled when the run parks."""

import asyncio
from typing import Any, cast

from penstock.events import Waiting
from penstock.gates.order.schedule import Schedule
from penstock.gates.run.mailbox import Mailbox
from penstock.journal.log import RunLog
from penstock.ports.records import Letter


class Idle:
    """Stands for the run's schedule and log: a mailbox needs little of them."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.busy = 1

    def rest(self) -> None:
        self.busy -= 1

    def wake(self) -> None:
        self.busy += 1

    def set_waiting(self, waiting: bytes) -> None:
        """Nobody looks."""


def mailbox(idle: Idle) -> Mailbox:
    return Mailbox(cast("Schedule", idle), cast("RunLog", idle), lambda: 0, lambda: False)


def event(dedup: str) -> Letter:
    return Letter(dedup, "event", b"", 0)


def named(name: str) -> Any:
    return lambda letter: letter.dedup.startswith(name)


async def test_a_letter_that_comes_while_the_run_is_put_away_stays_for_the_next_holder() -> None:
    """Were it journalled with the others, nothing would wake the run that waits for it."""
    idle = Idle()
    mail = mailbox(idle)
    waiting = asyncio.create_task(mail.wait_for(Waiting("event", "0", "go"), named("go")))
    await asyncio.sleep(0)
    mail.put_away()
    waiting.cancel()
    await asyncio.wait({waiting})
    mail.post(event("go:1"))
    mail.post(event("other:1"))
    assert [letter.dedup for letter in mail.unclaimed()] == ["other:1"]


async def test_each_letter_ends_one_wait_and_counts_as_in_flight_at_once() -> None:
    idle = Idle()
    idle.busy = 2
    mail = mailbox(idle)
    waits = [asyncio.create_task(mail.wait_for(Waiting("event", path, "go"), named("go"))) for path in ("0", "1")]
    await asyncio.sleep(0)
    assert idle.busy == 0
    mail.post(event("go:1"))
    mail.post(event("go:1"))
    assert idle.busy == 1
    mail.post(event("go:2"))
    assert idle.busy == 2
    found = [await wait for wait in waits]
    assert [letter.dedup for letter in found if letter] == ["go:1", "go:2"]
    mail.post(event("go:1"))
    assert not mail.holds(named("go")), "the inbox shows it until its record is durable"


async def test_letters_of_the_tape_come_before_those_of_the_inbox() -> None:
    mail = mailbox(Idle())
    mail.post(event("go:3"))
    mail.post_journalled(event("go:1"))
    mail.post_journalled(event("go:2"))
    found = [await mail.wait_for(Waiting("event", str(n), "go"), named("go")) for n in range(3)]
    assert [letter.dedup for letter in found if letter] == ["go:1", "go:2", "go:3"]


async def test_a_letter_that_is_forgotten_is_neither_taken_nor_journalled() -> None:
    """Its event is another run's; the inbox may show it once more before it is gone there."""
    mail = mailbox(Idle())
    mail.post(event("go:1"))
    mail.post(event("other:1"))
    mail.forget(named("go"))
    mail.post(event("go:1"))
    assert not mail.holds(named("go"))
    assert [letter.dedup for letter in mail.unclaimed()] == ["other:1"]
