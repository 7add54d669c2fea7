"""Where synchronous tools run: reads in threads, writes in processes that can be killed.

__init__.py    the two together: what the gate calls
threads.py     reads: a bounded pool of daemon threads
processes.py   writes: a bounded pool of processes
process.py     one such process, seen from here
child.py       the program that runs in it
address.py     how a tool's function is found there
faults.py      how what it raised comes back
frames.py      what goes over the line between them
"""

from collections.abc import Callable, Mapping
from typing import Any

from penstock.adapters.isolation.processes import ProcessPool
from penstock.adapters.isolation.threads import ThreadPool
from penstock.kernel.clock import Clock, SystemClock
from penstock.ports.tools import ToolDef

# A result is bounded in its JSON form by the gate. In the form in which it comes from a process, no value takes more
# than three times as much.
_FORM_FACTOR = 3
_SLACK_BYTES = 64 * 1024


class ToolIsolation:
    """Runs synchronous tools outside the event loop; fulfils `penstock.ports.tools.Isolation`.

    Reads share the process: they are quick to start and can return anything, but one that hangs cannot be ended. A
    write gets a process to itself for the length of the call, because an effect that outlives its time-out could
    happen a second time. Such a process is killed at its time-out with everything it started, also by itself when this
    process is stopped or stuck, and it ends when this process does. It is used again for the next call; it knows the
    tool's module as a fresh import of it, so that what other modules put into global variables here is absent there.
    """

    def __init__(
        self,
        max_threads: int,
        max_processes: int,
        result_max_bytes: int,
        *,
        clock: Clock | None = None,
        egress: tuple[str, ...] | None = None,
        variables: Callable[[], Mapping[str, str]] | None = None,
    ) -> None:
        """Make the pools; threads and processes are started when they are first needed.

        Args:
            max_threads: reads that may run at a time, those that hang included.
            max_processes: writes that may run at a time.
            result_max_bytes: bound of a result's JSON form in bytes; arguments of a write have the same bound.
            clock: whose ``boot_ns`` the start allowances are readings of. A process always reads the machine's.
            egress: what processes may connect to; None = anything.
            variables: the environment variables that processes get; None = those of this one.
        """
        clock = clock or SystemClock()
        most = _FORM_FACTOR * result_max_bytes + _SLACK_BYTES
        self._threads = ThreadPool(max_threads, clock)
        self._processes = ProcessPool(max_processes, most, clock, egress, variables)

    async def run(self, tool: ToolDef, kwargs: dict[str, Any], *, timeout_seconds: float, start_by_boot_ns: int) -> Any:
        """Call the tool outside the event loop, no later than ``start_by_boot_ns``; its time-out counts from the call.

        A write that is cancelled is killed before this returns; a read is left to itself.

        Returns:
            what a read returned; the plain form (None, bool, int, float, str, lists, dicts) of what a write returned.

        Raises:
            StartedTooLate: the start allowance was over, or no thread or process came free; the tool was not called.
            ToolTimedOut: it did not end in time; a process was killed, a thread is left to itself.
            OutcomeUnknown: the process of a write ended during the call.
            IsolationFull: every thread is held by a read that ran over its time-out; the tool was not called.
            ToolInvalid: the process cannot load the tool or its arguments; the tool was not called.
            TransientToolError: no process could be started, or it ended before the call; the tool was not called.
            ToolResultInvalid: a write ran, but its result has no plain form or is too large.
            Exception: whatever the tool raised; from a process as the same type where that can be rebuilt, else as
                the nearest of those the gate knows, else as RuntimeError; always with the same words.
        """
        pool = self._threads if tool.effect == "read" else self._processes
        return await pool.run(tool, kwargs, timeout_seconds, start_by_boot_ns)

    async def close(self) -> None:
        """Kill the processes and let the idle threads end. What still runs in a process becomes OutcomeUnknown."""
        self._threads.close()
        await self._processes.close()
