"""One process that runs synchronous writes, seen from its parent."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from subprocess import _args_from_interpreter_flags  # type: ignore[attr-defined]  # as multiprocessing does

from penstock.adapters.isolation.frames import ANSWERS, CALL, STARTING, FrameReader, Garbled, frame
from penstock.kernel.clock import Clock

# A fresh interpreter, as of the start method "spawn": no socket, lock or thread of this process is there. Unlike
# multiprocessing it does not run this program's main script again, except to find a tool that is defined there.
_BOOT = (
    "import sys; line, sys.path[:] = int(sys.argv[1]), sys.argv[2:]; "
    "from penstock.adapters.isolation.child import serve; serve(line)"
)
_RECEIVE_BYTES = 64 * 1024


class End(Enum):
    """How a call ended that got no answer."""

    PREPARING = "the start allowance is over and the process still loads the tool; it will not call it any more"
    STUCK = "the start allowance is over and the process does not read what it is sent"
    TIMED_OUT = "the time-out is over"
    DIED_BEFORE = "the process ended before it called the tool"
    DIED_DURING = "the process ended, or broke the line to it, during the call"


@dataclass(slots=True, frozen=True)
class Answer:
    """A frame with the call's outcome."""

    kind: bytes
    body: bytes


class Process:
    """A process that waits for calls. It leads a process group of its own, so that what a tool starts dies with it."""

    def __init__(
        self,
        body_max_bytes: int,
        clock: Clock,
        on_end: Callable[["Process"], None],
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """Start it; it is ready when it answers its first call.

        Args:
            body_max_bytes: bound of what it may send at a time.
            clock: whose ``boot_ns`` is the machine's.
            on_end: called once, in the loop, when the process has closed the line or broken its rules.
            variables: its environment variables; None = those of this process.

        Raises:
            OSError: the machine has no room for another process or socket.
        """
        self._clock = clock
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._frames = FrameReader(body_max_bytes)
        self._news: asyncio.Future[None] = self._loop.create_future()
        self._answer: Answer | None = None
        self._started_boot_ns: int | None = None  # when the process said that it is about to call
        self._ending: asyncio.Task[int] | None = None
        self.ended = False
        ours, theirs = socket.socketpair()
        try:
            path = [entry for entry in sys.path if isinstance(entry, str)]
            arguments = [*_args_from_interpreter_flags(), "-c", _BOOT, str(theirs.fileno()), *path]
            self._popen = subprocess.Popen(
                [sys.executable, *arguments],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env=None if variables is None else dict(variables),
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        ours.setblocking(False)
        self._line = ours
        self._loop.add_reader(ours.fileno(), self._receive)

    async def ask(self, request: bytes, start_by_boot_ns: int, timeout_seconds: float) -> Answer | End:
        """Send a request and wait for its answer: until the call starts, and from then on for its time-out.

        This process may be asked again only after an `Answer`, or, after `End.PREPARING`, when `answered` is done.
        """
        self._answer = self._started_boot_ns = None
        try:
            async with asyncio.timeout((start_by_boot_ns - self._clock.boot_ns()) / 1e9):
                await self._loop.sock_sendall(self._line, frame(CALL, request))
        except TimeoutError:
            return End.STUCK
        except OSError:
            return End.DIED_BEFORE
        timeout_ns = int(timeout_seconds * 1e9)
        while self._answer is None and not self.ended:
            started = self._started_boot_ns
            end_by = start_by_boot_ns if started is None else started + timeout_ns
            left = end_by - self._clock.boot_ns()
            if left < 0:
                # The clock is read before the line: a process that has not said by now that it starts will see, when
                # it has said so, that the allowance is over.
                self._drain()
                if self._answer is None and not self.ended and self._started_boot_ns == started:
                    return End.PREPARING if started is None else End.TIMED_OUT
                continue
            await self._wait_for_news(left / 1e9 + 0.001)
        return self.last_words()

    def last_words(self) -> Answer | End:
        """How the call ended, by what has arrived."""
        if self._answer is not None:
            return self._answer
        return End.DIED_BEFORE if self._started_boot_ns is None else End.DIED_DURING

    async def answered(self, seconds: float) -> bool:
        """Whether an answer came within that time."""
        end_by = self._clock.boot_ns() + int(seconds * 1e9)
        while self._answer is None and not self.ended and (left := end_by - self._clock.boot_ns()) > 0:
            await self._wait_for_news(left / 1e9)
        return self._answer is not None

    def end(self) -> "asyncio.Task[int]":
        """Kill the process with all that it started; the task ends when it is gone and what it sent has been read.

        The task's result is the exit status, negative for a signal. To end it again changes nothing.
        """
        if self._ending is None:
            # It was not waited for yet, so its number cannot be another's by now, even if it is dead already.
            with contextlib.suppress(ProcessLookupError, PermissionError):  # the latter: macOS, when it is dead
                os.killpg(self._popen.pid, signal.SIGKILL)
            self._ending = self._loop.create_task(self._reap())
        return self._ending

    async def _reap(self) -> int:
        gone: asyncio.Future[int] = self._loop.create_future()

        def wait() -> None:
            status = self._popen.wait()
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                self._loop.call_soon_threadsafe(gone.set_result, status)

        threading.Thread(target=wait, name="penstock-reap", daemon=True).start()
        status = await gone
        self._drain()
        self.ended = True
        self._loop.remove_reader(self._line.fileno())
        self._line.close()
        return status

    async def _wait_for_news(self, seconds: float) -> None:
        if self._news.done():
            self._news = self._loop.create_future()
        await asyncio.wait({self._news}, timeout=seconds)

    def _drain(self) -> None:
        while self._receive():
            pass

    def _receive(self) -> bool:
        """Take in what has arrived; whether there may be more."""
        if self.ended:
            return False
        try:
            data = self._line.recv(_RECEIVE_BYTES)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            data = b""
        try:
            if not data:
                raise Garbled
            self._frames.feed(data)
            while (received := self._frames.next()) is not None:
                self._take(*received)
        except Garbled:
            self.ended = True
            self._loop.remove_reader(self._line.fileno())
            self._on_end(self)
        if not self._news.done():
            self._news.set_result(None)
        return not self.ended

    def _take(self, kind: bytes, body: bytes) -> None:
        if kind == STARTING and self._started_boot_ns is None and self._answer is None:
            self._started_boot_ns = self._clock.boot_ns()
        elif kind in ANSWERS and self._answer is None:
            self._answer = Answer(kind, body)
        else:
            raise Garbled
