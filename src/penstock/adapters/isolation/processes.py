"""Synchronous writes: a bounded pool of processes that can be killed."""

import asyncio
import signal
from collections.abc import Callable, Mapping
from typing import Any

from penstock.adapters.isolation import frames
from penstock.adapters.isolation.address import address_of
from penstock.adapters.isolation.faults import rebuild
from penstock.adapters.isolation.frames import Request, TooLarge, pack, unpack_plain
from penstock.adapters.isolation.places import Places
from penstock.adapters.isolation.process import Answer, End, Process
from penstock.kernel.clock import Clock
from penstock.kernel.errors import ToolInvalid, ToolResultInvalid
from penstock.ports.tools import OutcomeUnknown, StartedTooLate, ToolDef, ToolTimedOut, TransientToolError

_LOAD_SECONDS_MAX = 120.0  # a tool's module that takes longer to import is given up, and its process killed
_REAP_SECONDS = 5.0  # how long a caller waits to see a killed process gone; the kernel may be busy for it


class ProcessPool:
    """At most ``max_processes`` processes, started when needed; each makes one call at a time and waits for more."""

    def __init__(
        self,
        max_processes: int,
        body_max_bytes: int,
        clock: Clock,
        egress: tuple[str, ...] | None = None,
        variables: Callable[[], Mapping[str, str]] | None = None,
    ) -> None:
        self._clock = clock
        self._egress = egress
        self._variables = variables
        self._body_max_bytes = body_max_bytes
        # Held for a call; by a process that failed, until it is gone; by one that loads for too long, until it has.
        self._places = Places(max_processes, "processes", clock)
        self._idle: list[Process] = []
        self._live: set[Process] = set()
        self._loading: set[asyncio.Task[None]] = set()

    async def run(self, tool: ToolDef, kwargs: dict[str, Any], timeout_seconds: float, start_by_boot_ns: int) -> Any:
        """See `ToolIsolation.run`."""
        request = self._request(tool, kwargs, timeout_seconds, start_by_boot_ns)
        while True:
            await self._places.take(start_by_boot_ns)
            process, is_fresh = self._process()
            outcome: Answer | End | None = None
            status: int | None = None
            try:
                outcome = await process.ask(request, start_by_boot_ns, timeout_seconds)
            finally:
                if isinstance(outcome, Answer):
                    self._put_back(process)
                elif outcome is End.PREPARING:
                    task = asyncio.create_task(self._finish_loading(process))
                    self._loading.add(task)
                    task.add_done_callback(self._loading.discard)
                else:
                    status = await self._discard(process)
            if outcome is End.DIED_BEFORE and not is_fresh and not self._places.closed:
                continue  # it had died while idle, before this call was sent
            if outcome is End.TIMED_OUT and isinstance(process.last_words(), Answer):
                outcome = process.last_words()  # it answered just before it was killed
            return _conclude(outcome, timeout_seconds, status)

    async def close(self) -> None:
        """Kill all processes and wait until they are gone."""
        self._places.closed = True
        self._idle.clear()
        ends = [process.end() for process in self._live]
        if ends:
            await asyncio.wait({*ends, *self._loading}, timeout=_REAP_SECONDS)

    def _process(self) -> tuple[Process, bool]:
        """A process for the place that was taken, and whether it is a fresh one."""
        if self._idle:
            return self._idle.pop(), False
        try:
            variables = self._variables() if self._variables is not None else None
            process = Process(self._body_max_bytes, self._clock, self._lost, variables)
        except OSError as error:
            self._places.give_back()
            raise TransientToolError(f"no process could be started for the tool: {error}") from error
        self._live.add(process)
        return process, True

    def _put_back(self, process: Process) -> None:
        if self._places.closed or process.ended:
            self._discard_later(process)
        else:
            self._idle.append(process)
            self._places.give_back()

    def _lost(self, process: Process) -> None:
        """A process has ended by itself; one that is in use is seen to by its call."""
        if process in self._idle:
            self._idle.remove(process)
            process.end().add_done_callback(lambda _: self._live.discard(process))

    def _discard_later(self, process: Process) -> "asyncio.Task[int]":
        def gone(_: object) -> None:
            self._live.discard(process)
            self._places.give_back()

        ending = process.end()
        ending.add_done_callback(gone)
        return ending

    async def _discard(self, process: Process) -> int | None:
        """Kill the process and wait until it is gone; its exit status, None if that takes too long."""
        ending = self._discard_later(process)
        await asyncio.wait({ending}, timeout=_REAP_SECONDS)
        return ending.result() if ending.done() else None

    async def _finish_loading(self, process: Process) -> None:
        """Let a process import a slow module to its end, so that the next call finds it ready."""
        if await process.answered(_LOAD_SECONDS_MAX):
            self._put_back(process)
        else:
            await self._discard(process)

    def _request(self, tool: ToolDef, kwargs: dict[str, Any], timeout_seconds: float, start_by_boot_ns: int) -> bytes:
        address = address_of(tool)
        most = self._body_max_bytes
        try:
            arguments = pack(kwargs, most)
        except TooLarge:
            raise ToolInvalid(f"the arguments of the tool {tool.name} take more than {most:,} bytes") from None
        except Exception as error:  # pickling runs the code of foreign classes
            raise ToolInvalid(
                f"the arguments of the tool {tool.name} cannot be sent to its process: {type(error).__name__}: {error}",
                hint="make it `async def`, or give it parameters of plain values and pydantic models",
            ) from error
        timeout_ns = int(timeout_seconds * 1e9)
        return pack(Request(address, start_by_boot_ns, timeout_ns, most, arguments, self._egress), 2 * most)


def _conclude(outcome: Answer | End, timeout_seconds: float, status: int | None) -> Any:
    """The result of a call, or the exception it comes to."""
    match outcome:
        case End.PREPARING | End.STUCK:
            raise StartedTooLate(outcome.value)
        case End.DIED_BEFORE:
            raise TransientToolError(f"{outcome.value} ({_words(status)})")
        case End.TIMED_OUT:
            raise ToolTimedOut(f"no answer within {timeout_seconds:g} s; the process was killed")
        case End.DIED_DURING:
            raise OutcomeUnknown(f"{outcome.value} ({_words(status)})")
        case Answer(frames.LATE):
            raise StartedTooLate("the start allowance was over when the process was about to call")
    try:
        said = _decode(outcome)
    except Exception as error:
        raise OutcomeUnknown("the process sent what is no answer") from error
    match outcome.kind:
        case frames.RETURNED:
            return said
        case frames.RAISED:
            raise said
        case frames.REFUSED:
            raise ToolInvalid(said[0], hint=said[1])
        case _:
            raise ToolResultInvalid(f"the tool ran; its result cannot be kept: {said}")


def _decode(answer: Answer) -> Any:
    """The result, the exception, or the words of an answer."""
    if answer.kind == frames.UNUSABLE:
        return answer.body.decode()
    said = unpack_plain(answer.body)
    return rebuild(said) if answer.kind == frames.RAISED else said


def _words(status: int | None) -> str:
    if status is None:
        return "it is not gone yet"
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"signal {signal.Signals(-status).name}"
    except ValueError:
        return f"signal {-status}"
