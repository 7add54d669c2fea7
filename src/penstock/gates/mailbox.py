"""What a run waits for from outside: letters of its inbox, and times that come first."""

import asyncio
from collections.abc import Callable

from penstock.events import Waiting
from penstock.gates.schedule import Schedule
from penstock.journal.log import RunLog
from penstock.kernel.canonical import stable_json
from penstock.ports.records import Letter


class Mailbox:
    """The letters of one run and the calls that wait for them.

    ``now`` gives the store's time in microseconds; ``stopped`` says whether the run is being ended.
    """

    def __init__(self, schedule: Schedule, log: RunLog, now: Callable[[], int], stopped: Callable[[], bool]) -> None:
        self.waiting: dict[str, Waiting] = {}
        """What the run waits for, by call path; kept in its row for lists of who waits for whom."""
        self._schedule = schedule
        self._log = log
        self._now = now
        self._stopped = stopped
        self._letters: dict[str, Letter] = {}
        self._waits: dict[str, asyncio.Future[None]] = {}
        self._taken: set[str] = set()
        self._journalled: set[str] = set()
        self._awaited: set[str] = set()

    async def wait(self, waiting: Waiting, key: str) -> Letter | None:
        """The letter with that key, from the inbox or when it comes; None when ``waiting.until`` has come first."""
        self.waiting[waiting.path] = waiting
        self._show()
        letter = await self._letter(key, waiting.until)
        self.waiting.pop(waiting.path, None)
        self._show()
        return letter

    def post(self, letter: Letter) -> None:
        """A letter has come; the inbox shows it again and again until its record is durable."""
        if letter.dedup in self._taken:
            return
        self._letters[letter.dedup] = letter
        wait = self._waits.get(letter.dedup)
        if wait is not None:
            self._wake(wait)

    def post_journalled(self, letter: Letter) -> None:
        """A letter that an earlier holder journalled because no call waited for it yet."""
        self._journalled.add(letter.dedup)
        self.post(letter)

    def put_away(self) -> None:
        """The run is about to be closed: a letter that its calls wait for now must wake it again."""
        self._awaited = set(self._waits)

    def unclaimed(self) -> list[Letter]:
        """Letters that no call waits for; they are journalled when the run parks, so that they do not wake it again.

        The next holder finds them on the tape: a call that is held up by a doubt may still come to wait for one.
        """
        known = self._journalled | self._awaited
        letters = [letter for letter in self._letters.values() if letter.dedup not in known]
        self._journalled.update(letter.dedup for letter in letters)
        return letters

    def close(self) -> None:
        """The run is being ended: nobody gets a letter any more."""
        for wait in self._waits.values():
            if not wait.done():
                wait.cancel()

    async def _letter(self, key: str, until: int) -> Letter | None:
        while True:
            letter = self._letters.pop(key, None)
            if letter is not None:
                self._taken.add(key)
                return letter
            left = (until - self._now()) / 1e6 if until else None
            if left is not None and left <= 0:
                return None
            wait = self._waits[key] = self._schedule.loop.create_future()
            timer = self._schedule.loop.call_later(left, self._wake, wait) if left is not None else None
            self._schedule.rest()
            try:
                await wait
            except asyncio.CancelledError:
                if self._stopped():
                    await self._schedule.loop.create_future()
                if wait.cancelled():
                    self._schedule.wake()
                raise
            finally:
                self._waits.pop(key, None)
                if timer is not None:
                    timer.cancel()

    def _wake(self, wait: "asyncio.Future[None]") -> None:
        """In flight from now on, not from when the waiting task runs: in between the run must not park."""
        if not wait.done():
            self._schedule.wake()
            wait.set_result(None)

    def _show(self) -> None:
        self._log.set_waiting(stable_json(list(self.waiting.values())))
