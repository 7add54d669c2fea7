"""The program of a process that runs synchronous writes, one at a time, until its parent goes away."""

import contextlib
import os
import select
import signal
import socket
import sys
import threading
from typing import Any, NoReturn

from pydantic_core import to_jsonable_python

from penstock.adapters.egress.guard import Egress
from penstock.adapters.egress.hook import denial_in, enforce
from penstock.adapters.isolation import frames
from penstock.adapters.isolation.address import load
from penstock.adapters.isolation.faults import describe, raised_by_tool, words_of
from penstock.adapters.isolation.frames import Request, TooLarge, frame, pack
from penstock.kernel.clock import SystemClock
from penstock.kernel.errors import PenstockError

_kept_to: list[tuple[str, ...]] = []
_WATCH_MS = 500  # how late a call that is over its time-out may be ended, if the parent does not


def serve(descriptor: int) -> None:
    """Answer calls that arrive on the socket ``descriptor`` until it is closed at the other end, then end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which decides what becomes of the call
    os.set_inheritable(descriptor, False)
    del sys.argv[1:]
    line = socket.socket(fileno=descriptor)
    watch = _Watch(descriptor)
    threading.Thread(target=watch.keep, name="penstock-watch", daemon=True).start()
    stream = line.makefile("rb")
    with contextlib.suppress(OSError):  # the parent went away while it was being told something
        while (received := frames.read_frame(stream)) is not None:
            answer = _answer(frames.unpack_trusted(received[1]), line, watch)
            for output in (sys.stdout, sys.stderr):
                with contextlib.suppress(Exception):
                    output.flush()  # a process that is killed later flushes nothing
            line.sendall(answer)
    _end()


class _Watch:
    """Ends the process when its parent is gone, or when a call runs over its time-out and the parent does not see.

    The parent kills in time unless it is stopped, stuck or dead; then somebody else may already be settling this call
    as one that has ended. The signal that Linux can send when a parent dies would end this process alone and not the
    programs that the tool has started.
    """

    def __init__(self, descriptor: int) -> None:
        self.end_by_boot_ns = 0  # 0: no call
        self._clock = SystemClock()
        self._poll = select.poll()
        self._poll.register(descriptor, 0)  # hang-up is always reported

    def keep(self) -> None:
        while not self._poll.poll(_WATCH_MS):
            end_by = self.end_by_boot_ns
            if end_by and self._clock.boot_ns() > end_by:
                break
        _end()


def _end() -> NoReturn:
    """End this process and all that it started: it leads a process group of its own."""
    os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


def _answer(request: Request, line: socket.socket, watch: _Watch) -> bytes:
    address = request.address
    try:
        _keep_to(request.egress)
        function = load(address)
        kwargs: dict[str, Any] = frames.unpack_trusted(request.arguments)
    except BaseException as error:  # noqa: BLE001 - importing runs foreign code, which may raise anything
        return _refusal(address.module, error)
    line.sendall(frame(frames.STARTING))
    clock = SystemClock()
    now = clock.boot_ns()
    if now > request.start_by_boot_ns:
        return frame(frames.LATE)
    watch.end_by_boot_ns = now + request.timeout_ns
    try:
        try:
            value = function(**kwargs)
        except BaseException as error:  # noqa: BLE001 - whatever the tool raises is its outcome
            raised = denial_in(error) or raised_by_tool(error)
            return frame(frames.RAISED, describe(raised, address.load_as, address.module))
        return _result(value, request.answer_max_bytes)
    finally:
        watch.end_by_boot_ns = 0


def _keep_to(entries: tuple[str, ...] | None) -> None:
    """Have this process connect to no more than that from its first call on, which loads the tool's module."""
    if entries is not None and entries not in _kept_to:
        _kept_to.append(entries)
        enforce(Egress(entries))


def _result(value: Any, most: int) -> bytes:
    """The result's plain form: the one that the gate would record."""
    try:
        if isinstance(value, str | bytes | bytearray) and len(value) > most:
            raise TooLarge
        plain = to_jsonable_python(value, inf_nan_mode="constants")
        return frame(frames.RETURNED, pack(plain, most))
    except TooLarge:
        why = f"it takes more than {most:,} bytes"
    except Exception as error:  # noqa: BLE001 - serialising runs the code of foreign classes
        why = f"{type(error).__name__}: {words_of(error)}"
    return frame(frames.UNUSABLE, why.encode("utf-8", "replace"))


def _refusal(module: str, error: BaseException) -> bytes:
    if isinstance(error, PenstockError):
        what, hint = error.what, error.advice
    else:
        what = f"the process of a tool cannot load it from {module}: {type(error).__name__}: {words_of(error)}"
        hint = "the module must be importable on its own; make the tool `async def` if that is not possible"
        if module == "__main__":
            hint = 'put what starts the program under `if __name__ == "__main__":`, or move the tool to a module'
    return frame(frames.REFUSED, pack((what, hint), frames.WORDS_MAX_BYTES))
