"""Synchronous tools that the isolation tests run: in threads, and in processes that import this module."""

import ctypes
import functools
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from penstock.adapters.isolation import frames
from penstock.agents.tool import tool
from penstock.ports.tools import IdempotencyKey, OutcomeUnknown, StartedTooLate, ToolContext, TransientToolError

FOREVER = 600.0


class Line(BaseModel):
    sku: str
    cents: int


class Order(BaseModel):
    number: str
    lines: list[Line]


class Receipt(BaseModel):
    order: str
    total: int


class BankDown(ConnectionError):
    """Some of what it carries cannot be sent."""

    def __init__(self, bank: str) -> None:
        super().__init__(bank, threading.Lock())
        self.bank = bank

    def __str__(self) -> str:
        return f"{self.bank} is down"


class LineCut(ConnectionError):
    """What it says comes from what cannot be sent."""

    def __init__(self, socket_lock: Any) -> None:
        super().__init__("cut")
        self.socket_lock = socket_lock

    def __str__(self) -> str:
        return f"{type(self.socket_lock).__name__} lost"


class Refused(Exception):
    """A constructor that pickle cannot call."""

    def __init__(self, *, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Wordless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class Busy(TransientToolError):
    pass


@tool(effect="write")
def pay(order: Order, key: IdempotencyKey, context: ToolContext) -> dict[str, Any]:
    """Say what arrived."""
    return {
        "order": type(order) is Order and order,
        "receipt": Receipt(order=order.number, total=sum(line.cents for line in order.lines)),
        "key": [type(key).__name__, key],
        "context": [type(context).__name__, context.fence, context.tags, str(context.run)],
        "none": None,
        "float": 0.5,
        "pair": (1, 2),
        "large": 2**80,
    }


@tool(effect="write")
def append(path: str, text: str = "x") -> int:
    """Add to a file, and say who did."""
    with Path(path).open("a") as file:
        file.write(text)
    return os.getpid()


@tool(effect="write")
def append_when_free(path: str, pids: str) -> None:
    """Start a program, say who we are, and hang; whoever is not killed would write the file in the end."""
    program = subprocess.Popen(
        [sys.executable, "-c", f"import time; time.sleep({FOREVER}); open({path!r}, 'a').write('child')"]
    )
    part = Path(pids).with_suffix(".part")
    part.write_text(f"{os.getpid()} {program.pid}")
    part.rename(pids)
    program.wait()
    append(path)


@tool(effect="write")
def die(way: str) -> None:
    """End the process in the middle of the call."""
    if way == "exit":
        os._exit(3)
    elif way == "segfault":
        ctypes.string_at(0)
    elif way == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(FOREVER)


def _raise(kind: str) -> None:
    if kind == "cause":
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise Refused(code=7, reason="not today") from error

    class Local(Exception):
        pass

    errors: dict[str, BaseException] = {
        "value": ValueError("wrong", 3),
        "file": FileNotFoundError(2, "No such file", "/somewhere"),
        "unicode": UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        "transient": TransientToolError("later", retry_after_seconds=2.5),
        "busy": Busy("queue full", retry_after_seconds=1.0),
        "unknown": OutcomeUnknown("line cut"),
        "timeout": TimeoutError("upstream"),
        "down": BankDown("acme"),
        "cut": LineCut(threading.Lock()),
        "refused": Refused(code=7, reason="not today"),
        "local": Local("only here"),
        "wordless": Wordless("x"),
        "huge": ValueError("x" * 10_000_000),
        "surrogate": ValueError("\ud800"),
        "exit": SystemExit(3),
        "interrupt": KeyboardInterrupt(),
        "stop": StopIteration(3),
        "pretend": StartedTooLate("not called, honestly"),
    }
    raise errors[kind]


@tool(effect="write")
def fail(kind: str) -> None:
    """Raise."""
    _raise(kind)


@tool(effect="read")
def fail_reading(kind: str) -> None:
    """Raise."""
    _raise(kind)


@tool(effect="write")
def give(what: str) -> Any:
    """Return what is hard to return."""
    if what == "gigabyte":
        return bytes(1 << 30)
    if what == "many":
        return [f"{number:08}" for number in range(1_000_000)]
    if what == "nested":
        value: list[Any] = []
        for _ in range(100_000):
            value = [value]
        return value
    return {"object": object(), "lock": threading.Lock(), "surrogate": "\ud800", "endless": iter(int, 1)}[what]


def _sockets() -> list[int]:
    def is_socket(descriptor: int) -> bool:
        try:
            return stat.S_ISSOCK(os.fstat(descriptor).st_mode)
        except OSError:
            return False

    return [descriptor for descriptor in range(3, 256) if is_socket(descriptor)]


@tool(effect="write")
def look_around() -> dict[str, Any]:
    """What the process has of its parent, and whether what it starts gets its line."""
    listed = subprocess.run(
        [sys.executable, "-c", "import os, sys; print(sum(os.path.exists(f'/dev/fd/{n}') for n in range(3, 64)))"],
        capture_output=True,
        text=True,
        check=True,
        close_fds=False,
    )
    return {
        "sockets": len(_sockets()),
        "inherited": int(listed.stdout),
        "interrupt": signal.getsignal(signal.SIGINT) is signal.SIG_IGN,
        "leads": os.getpgrp() == os.getpid(),
        "parent": os.getppid(),
        "threads": sorted(thread.name for thread in threading.enumerate()),
    }


class _Harmful:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return open, (self.path, "w")


@tool(effect="write")
def forge(path: str) -> None:
    """Write an answer to the line that would run code in whoever unpickles it."""
    body = frames.pack(_Harmful(path), 10_000)
    line = socket.socket(fileno=_sockets()[0])
    line.sendall(frames.frame(frames.RETURNED, body))


@tool(effect="write")
def scribble() -> None:
    """Write nonsense to the line."""
    os.write(_sockets()[0], b"x" * 100)


def _traced(function: Any) -> Any:
    @functools.wraps(function)
    def traced(*args: Any, **kwargs: Any) -> Any:
        return ["traced", function(*args, **kwargs)]

    return traced


@tool(effect="write")
@_traced
def wrapped(number: int) -> int:
    """Be declared over a decorator."""
    return number


class Desk:
    @staticmethod
    @tool(effect="write")
    def serve(number: int) -> int:
        """Live in a class."""
        return number + 1


def plain(number: int) -> int:
    """Be declared elsewhere under another name."""
    return number + 2


renamed = tool(name="another_name", effect="write")(plain)


@tool(effect="write")
def take_anything(value: Any) -> str:
    """Say of what type it is."""
    return type(value).__name__


class Gate:
    """Holds threads until it is opened, and counts them."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self._lock = threading.Lock()
        self.inside = self.peak = 0

    def pass_through(self) -> str:
        with self._lock:
            self.inside += 1
            self.peak = max(self.peak, self.inside)
        self.open.wait(FOREVER)
        with self._lock:
            self.inside -= 1
        return threading.current_thread().name


@tool(effect="read")
def wait_at(gate: Any) -> str:
    """Wait until the gate is opened."""
    assert isinstance(gate, Gate)
    return gate.pass_through()


@tool(effect="read")
def echo(value: Any) -> Any:
    """Return the very object."""
    return value


@tool(effect="read")
def nap(seconds: float) -> str:
    """Take a while."""
    time.sleep(seconds)
    return threading.current_thread().name
