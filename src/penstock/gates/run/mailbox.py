"""What a run waits for from outside: letters of its inbox, and times that come first."""

import asyncio
from collections.abc import Callable

from penstock.events import Waiting
from penstock.gates.order.branches import outside_runs
from penstock.gates.order.schedule import Schedule
from penstock.journal.log import RunLog
from penstock.kernel.canonical import stable_json
from penstock.ports.records import Letter

Fits = Callable[[Letter], bool]
"""Whether a letter is one that is waited for."""


MUST_BE_KNOWN = ("child", "doubt")
"""Waits that no time-out ends: what became of a child and of a write has to be known."""


class WaitCut(Exception):
    """The wait is over because a time-out around it has fired."""


class Mailbox:
    """The letters of one run and the calls that wait for them.

    ``now`` gives the store's time in microseconds; ``stopped`` says whether the run is being ended.
    """

    def __init__(self, schedule: Schedule, log: RunLog, now: Callable[[], int], stopped: Callable[[], bool]) -> None:
        self.waiting: dict[str, Waiting] = {}
        """What the run waits for, by call path; kept in its row for lists of who waits for whom."""
        self.is_cut: Callable[[str], bool] = lambda path: False
        """Whether a time-out around the call at that path has fired."""
        self._schedule = schedule
        self._log = log
        self._now = now
        self._stopped = stopped
        self._letters: dict[str, Letter] = {}
        self._waits: dict[str, asyncio.Future[None]] = {}
        self._keys: dict[str, str] = {}  # of the letter that is waited for, by call path
        self._fits: dict[str, Fits] = {}  # by key of waits for any letter that fits
        self._kept: list[Fits] = []  # of the waits that were there when the run was put away
        self._taken: set[str] = set()
        self._journalled: set[str] = set()
        self._awaited: set[str] = set()

    async def wait(self, waiting: Waiting, key: str) -> Letter | None:
        """The letter with that key, from the inbox or when it comes; None when ``waiting.until`` has come first."""
        self._check_cut(waiting)
        self.expect(waiting)
        self._keys[waiting.path] = key
        try:
            letter = await self._letter(key, waiting.until)
        except WaitCut:
            self.expect_no_more(waiting.path)
            raise
        self.expect_no_more(waiting.path)
        return letter

    async def wait_for(self, waiting: Waiting, fits: Fits) -> Letter | None:
        """The oldest letter that fits, from the inbox or when one comes; None when ``waiting.until`` has come first."""
        key = f"fits {waiting.path}"
        self._fits[key] = fits
        try:
            return await self.wait(waiting, key)
        finally:
            del self._fits[key]

    def holds(self, fits: Fits) -> bool:
        """Whether a letter that fits is here already."""
        return any(fits(letter) for letter in self._letters.values())

    def forget(self, fits: Fits) -> None:
        """The letters that fit are not for this run any more, neither those that are here nor the same again."""
        for dedup in [dedup for dedup, letter in self._letters.items() if fits(letter)]:
            del self._letters[dedup]
            self._taken.add(dedup)

    def _check_cut(self, waiting: Waiting) -> None:
        if waiting.kind not in MUST_BE_KNOWN and self.is_cut(waiting.path):
            raise WaitCut

    def expect(self, waiting: Waiting) -> None:
        """The run waits for this too, though no call does."""
        self.waiting[waiting.path] = waiting
        self._show()

    def expect_no_more(self, path: str) -> None:
        """What the run waited for at this path has come, or makes no difference any more."""
        self._keys.pop(path, None)
        if self.waiting.pop(path, None) is not None:
            self._show()

    def interrupt(self, path: str) -> None:
        """End the wait at this path with `WaitCut`, unless it is for what must be known: a child's end, a doubt."""
        waiting = self.waiting.get(path)
        wait = self._waits.get(self._keys.get(path, ""))
        if waiting is not None and waiting.kind not in MUST_BE_KNOWN and wait is not None and not wait.done():
            self._schedule.wake()
            wait.set_exception(WaitCut())

    def post(self, letter: Letter) -> None:
        """A letter has come; the inbox shows it again and again until its record is durable."""
        if letter.dedup in self._taken:
            return
        known = letter.dedup in self._letters
        self._letters[letter.dedup] = letter
        wait = self._waits.get(letter.dedup)
        if wait is None and not known:
            fitting = (self._waits[key] for key, fits in self._fits.items() if key in self._waits and fits(letter))
            wait = next((wait for wait in fitting if not wait.done()), None)
        if wait is not None:
            self._wake(wait)

    def post_journalled(self, letter: Letter) -> None:
        """A letter that an earlier holder journalled because no call waited for it yet."""
        self._journalled.add(letter.dedup)
        later = {dedup: other for dedup, other in self._letters.items() if dedup not in self._journalled}
        for dedup in later:
            del self._letters[dedup]
        self.post(letter)
        self._letters |= later

    def put_away(self) -> None:
        """The run is about to be closed: a letter that its calls wait for now must wake it again."""
        self._awaited = set(self._waits)
        self._kept = [fits for key, fits in self._fits.items() if key in self._waits]

    def unclaimed(self) -> list[Letter]:
        """Letters that no call waits for; they are journalled when the run parks, so that they do not wake it again.

        The next holder finds them on the tape: a call that is held up by a doubt may still come to wait for one.
        """
        known = self._journalled | self._awaited
        letters = [
            letter
            for letter in self._letters.values()
            if letter.dedup not in known and not any(fits(letter) for fits in self._kept)
        ]
        self._journalled.update(letter.dedup for letter in letters)
        return letters

    def close(self) -> None:
        """The run is being ended: nobody gets a letter any more."""
        for wait in self._waits.values():
            if not wait.done():
                wait.cancel()

    def let_go(self) -> None:
        """The run was put away: forget who knew its time and its state."""
        self._now, self._stopped, self.is_cut = int, _yes, _yes

    async def _letter(self, key: str, until: int) -> Letter | None:
        while True:
            letter = self._take(key)
            if letter is not None:
                return letter
            left = (until - self._now()) / 1e6 if until else None
            if left is not None and left <= 0:
                return None
            wait = self._waits[key] = self._schedule.loop.create_future()
            timer = (
                self._schedule.loop.call_later(left, self._wake, wait, context=outside_runs())
                if left is not None
                else None
            )
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

    def _take(self, key: str) -> Letter | None:
        fits = self._fits.get(key)
        dedup = key if fits is None else next((name for name, held in self._letters.items() if fits(held)), "")
        letter = self._letters.pop(dedup, None)
        if letter is not None:
            self._taken.add(dedup)
        return letter

    def _wake(self, wait: "asyncio.Future[None]") -> None:
        """In flight from now on, not from when the waiting task runs: in between the run must not park."""
        if not wait.done():
            self._schedule.wake()
            wait.set_result(None)

    def _show(self) -> None:
        self._log.set_waiting(stable_json(list(self.waiting.values())))


def _yes(*_: object) -> bool:
    return True
