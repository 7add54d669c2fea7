"""Synchronous tools in threads and processes: real threads, real processes, real signals."""

import asyncio
import contextlib
import functools
import importlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest
import pytest_asyncio
import uvloop
from tests.contract import isolation_tools as tools

from penstock.adapters.isolation import ToolIsolation
from penstock.agents.tool import Tool, tool
from penstock.kernel.clock import SystemClock
from penstock.kernel.errors import IsolationFull, ToolInvalid, ToolResultInvalid
from penstock.ports.tools import IdempotencyKey, OutcomeUnknown, StartedTooLate, ToolContext, TransientToolError

CLOCK = SystemClock()
pytestmark = pytest.mark.asyncio(loop_scope="module")
WITHIN = 20.0  # seconds that something may take that happens at once on an idle machine
ROOT = Path(__file__).resolve().parents[2]

Call = Callable[..., Awaitable[Any]]


def by(seconds: float) -> int:
    """The reading of the boot clock in so many seconds."""
    return CLOCK.boot_ns() + int(seconds * 1e9)


class Isolated(ToolIsolation):
    """Two places of each kind, and calls as a test wants to write them."""

    def __init__(self) -> None:
        super().__init__(max_threads=2, max_processes=2, result_max_bytes=100_000)

    async def call(self, of: Tool[..., Any], *, timeout: float = WITHIN, start: float = WITHIN, **kwargs: Any) -> Any:
        return await self.run(of.definition, kwargs, timeout_seconds=timeout, start_by_boot_ns=by(start))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def isolation() -> AsyncIterator[Isolated]:
    """One for all: whatever a test does to it, the next must be able to use it."""
    isolation = Isolated()
    yield isolation
    await isolation.close()


@pytest_asyncio.fixture(loop_scope="module")
async def own() -> AsyncIterator[Isolated]:
    """One for a test that counts its processes or closes it."""
    isolation = Isolated()
    yield isolation
    await isolation.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN):
        while not condition():
            await asyncio.sleep(0.005)


def is_gone(pid: int) -> bool:
    """Whether it cannot act any more; one that nobody waits for stays as a zombie where there is no init."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def pids_in(path: Path) -> list[int]:
    await until(path.exists)
    return [int(pid) for pid in path.read_text().split()]


@pytest.fixture
def leftovers() -> Iterator[list[int]]:
    """Ids of processes that a failing test must not leave behind."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
async def test_what_goes_to_a_process_and_back(factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    order = tools.Order(number="o-1", lines=[tools.Line(sku="a", cents=250), tools.Line(sku="b", cents=50)])
    run = UUID("0193b0f0-0000-7000-8000-000000000001")
    context = ToolContext("acme", run, "3", 1, 7, "k", 5.0, "test", {"customer": "c"})

    async def scenario() -> Any:
        isolation = Isolated()
        try:
            result = await isolation.call(tools.pay, order=order, key=IdempotencyKey("k-1"), context=context)
            with pytest.raises(TimeoutError):
                await isolation.call(tools.die, timeout=0.3, way="hang")
        finally:
            await isolation.close()
        return result

    def in_a_loop_of_that_kind() -> Any:
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(scenario())

    assert await asyncio.to_thread(in_a_loop_of_that_kind) == {
        "order": {"number": "o-1", "lines": [{"sku": "a", "cents": 250}, {"sku": "b", "cents": 50}]},
        "receipt": {"order": "o-1", "total": 300},
        "key": ["IdempotencyKey", "k-1"],
        "context": ["ToolContext", 7, {"customer": "c"}, str(run)],
        "none": None,
        "float": 0.5,
        "pair": [1, 2],
        "large": 2**80,
    }


async def test_a_process_is_fresh_and_has_nothing_of_its_parent(isolation: Isolated) -> None:
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    around = await isolation.call(tools.look_around)
    server.close()
    assert around == {
        "sockets": 1,
        "inherited": 0,
        "interrupt": True,
        "leads": True,
        "parent": os.getpid(),
        "threads": ["MainThread", "penstock-watch"],
    }


async def test_how_tools_may_be_declared(isolation: Isolated) -> None:
    assert await isolation.call(tools.wrapped, number=1) == ["traced", 1]
    assert await isolation.call(tools.Desk.serve, number=1) == 2
    assert await isolation.call(tools.renamed, number=1) == 3


async def test_many_calls_share_few_processes(isolation: Isolated, tmp_path: Path) -> None:
    file = tmp_path / "effects"
    pids = await asyncio.gather(*(isolation.call(tools.append, path=str(file)) for _ in range(200)))
    assert file.read_text() == "x" * 200
    assert len(set(pids)) == 2
    assert os.getpid() not in pids


@pytest.mark.parametrize("way", ["time-out", "cancelled", "closed"])
async def test_a_write_that_must_end_is_killed_with_what_it_started(
    isolation: Isolated, own: Isolated, tmp_path: Path, leftovers: list[int], way: str
) -> None:
    isolation = own if way == "closed" else isolation
    effect, pids = tmp_path / "effect", tmp_path / "pids"
    timeout = 1.0 if way == "time-out" else WITHIN
    call = asyncio.create_task(
        isolation.call(tools.append_when_free, timeout=timeout, path=str(effect), pids=str(pids))
    )
    worker, program = await pids_in(pids)
    leftovers += [worker, program]
    assert not is_gone(worker)
    if way == "cancelled":
        call.cancel()
    elif way == "closed":
        await isolation.close()
    with pytest.raises({"time-out": TimeoutError, "cancelled": asyncio.CancelledError}.get(way, OutcomeUnknown)):
        await call
    assert not psutil.pid_exists(worker), "it was not waited for"
    await until(lambda: is_gone(program))
    assert not effect.exists()
    if way != "closed":
        assert await isolation.call(tools.append, path=str(effect)) != worker


@pytest.mark.parametrize(("way", "words"), [("exit", "exit status 3"), ("segfault", "SIGSEGV"), ("kill", "SIGKILL")])
async def test_a_process_that_dies_during_a_call_leaves_the_outcome_unknown(
    isolation: Isolated, tmp_path: Path, way: str, words: str
) -> None:
    with pytest.raises(OutcomeUnknown, match=words):
        await isolation.call(tools.die, way=way)
    await isolation.call(tools.append, path=str(tmp_path / "effect"))


async def test_a_process_that_dies_between_calls_is_replaced(isolation: Isolated, tmp_path: Path) -> None:
    path = str(tmp_path / "effects")
    first = await isolation.call(tools.append, path=path)
    os.kill(first, signal.SIGKILL)
    second = await isolation.call(tools.append, path=path)  # sent before its end can have been noticed
    assert second != first
    os.kill(second, signal.SIGKILL)
    await until(lambda: not psutil.pid_exists(second))  # noticed, and waited for
    await isolation.call(tools.append, path=path)
    assert Path(path).read_text() == "xxx"


async def test_nothing_starts_after_its_allowance(isolation: Isolated, tmp_path: Path) -> None:
    path = str(tmp_path / "effects")
    pid = await isolation.call(tools.append, path=path)
    with pytest.raises(StartedTooLate):
        await isolation.call(tools.append, start=-0.001, path=path)
    with pytest.raises(StartedTooLate):
        await isolation.call(tools.echo, start=-0.001, value=1)
    os.kill(pid, signal.SIGSTOP)  # the request arrives, and is read only after the allowance
    try:
        with pytest.raises(StartedTooLate):
            await isolation.call(tools.append, start=0.1, path=path, text="late")
    finally:
        os.kill(pid, signal.SIGCONT)
    pids = await asyncio.gather(isolation.call(tools.append, path=path), isolation.call(tools.append, path=path))
    assert pid in pids, "the process was of use again when it had said that it was late"
    assert Path(path).read_text() == "xxx"


async def test_waiting_for_a_process_is_bounded_by_the_allowance(isolation: Isolated, tmp_path: Path) -> None:
    hanging = [
        asyncio.create_task(
            isolation.call(tools.append_when_free, path=str(tmp_path / "effect"), pids=str(tmp_path / f"pids{number}"))
        )
        for number in range(2)
    ]
    for number in range(2):
        await pids_in(tmp_path / f"pids{number}")
    with pytest.raises(StartedTooLate, match="none of 2 processes"):
        await isolation.call(tools.append, start=0.05, path=str(tmp_path / "effect"))
    waiting = asyncio.create_task(isolation.call(tools.append, path=str(tmp_path / "done")))
    await asyncio.sleep(0)
    hanging[0].cancel()
    await waiting
    for task in hanging:
        task.cancel()
    await asyncio.gather(*hanging, return_exceptions=True)
    assert not (tmp_path / "effect").exists()


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], Any]]:
    """Writes and imports a module of that name; a process that imports it does so anew."""
    names = []

    def write(name: str, text: str) -> Any:
        (tmp_path / f"{name}.py").write_text("from penstock import tool\nimport os, pathlib, sys, time\n" + text)
        names.append(name)
        return importlib.import_module(name)

    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # a file is changed within the second of its making
    yield write
    for name in names:
        del sys.modules[name]


SAVE = "@tool(effect='write')\ndef save(path: str) -> int:\n    open(path, 'w').close()\n    return os.getpid()\n"


async def test_a_module_that_loads_slowly_is_late_once(
    own: Isolated, tmp_path: Path, module: Callable[[str, str], Any]
) -> None:
    ready, effect = tmp_path / "ready", tmp_path / "effect"
    others = psutil.Process().children()
    ready.touch()
    slow = module("slow_to_load", f"while not os.path.exists({str(ready)!r}): time.sleep(0.005)\n{SAVE}")
    ready.unlink()
    with pytest.raises(StartedTooLate, match="still loads"):
        await own.call(slow.save, start=0.5, path=str(effect))
    [loading] = {*psutil.Process().children()} - {*others}
    ready.touch()
    async with asyncio.timeout(WITHIN):
        pids = [await own.call(slow.save, path=str(effect)) for _ in range(2)]
        while loading.pid not in pids:  # a second process may be quicker to be ready
            pids = await asyncio.gather(*(own.call(slow.save, path=str(effect)) for _ in range(2)))


async def test_what_cannot_be_loaded_is_not_called(
    isolation: Isolated, tmp_path: Path, module: Callable[[str, str], Any]
) -> None:
    effect = tmp_path / "effect"
    here = f"os.getpid() == {os.getpid()}"
    bad = module("bad_to_load", f"if not {here}: raise RuntimeError('no licence')\n{SAVE}")
    with pytest.raises(ToolInvalid, match="bad_to_load: RuntimeError: no licence"):
        await isolation.call(bad.save, path=str(effect))
    deadly = module("deadly_to_load", f"if not {here}: os._exit(9)\n{SAVE}")
    with pytest.raises(TransientToolError, match="before it called"):
        await isolation.call(deadly.save, path=str(effect))
    changed = module("changed_meanwhile", SAVE)
    (tmp_path / "changed_meanwhile.py").write_text(
        "from penstock import tool\nimport os\n" + SAVE.replace("'w'", "'w', 1")
    )
    with pytest.raises(ToolInvalid, match="has changed since") as caught:
        await isolation.call(changed.save, path=str(effect))
    assert "start the program again" in caught.value.advice
    with pytest.raises(ToolInvalid, match="cannot be sent"):
        await isolation.call(tools.take_anything, value=lambda: None)
    with pytest.raises(ToolInvalid, match="more than"):
        await isolation.call(tools.take_anything, value="x" * 1_000_000)
    assert not effect.exists()


async def test_a_module_off_the_path_is_loaded_by_its_file(isolation: Isolated, tmp_path: Path) -> None:
    (tmp_path / "aside.py").write_text("import os\nfrom penstock import tool\n" + SAVE)
    spec = importlib.util.spec_from_file_location("aside", tmp_path / "aside.py")
    assert spec is not None
    assert spec.loader is not None
    aside = importlib.util.module_from_spec(spec)
    sys.modules["aside"] = aside
    try:
        spec.loader.exec_module(aside)
        assert await isolation.call(aside.save, path=str(tmp_path / "effect")) != os.getpid()
    finally:
        del sys.modules["aside"]


LOST_TYPE = RuntimeError
CUT_TYPE = ConnectionError  # what the gate makes of it is the same
RAISES: list[tuple[str, type[Exception], str, dict[str, Any]]] = [
    ("value", ValueError, "('wrong', 3)", {"args": ("wrong", 3)}),
    ("file", FileNotFoundError, "[Errno 2] No such file: '/somewhere'", {"filename": "/somewhere"}),
    ("unicode", UnicodeDecodeError, "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte", {}),
    ("transient", TransientToolError, "later", {"retry_after_seconds": 2.5}),
    ("busy", tools.Busy, "queue full", {"retry_after_seconds": 1.0}),
    ("unknown", OutcomeUnknown, "line cut", {}),
    ("timeout", TimeoutError, "upstream", {}),
    ("down", tools.BankDown, "acme is down", {"bank": "acme"}),
    ("cut", CUT_TYPE, "LineCut: lock lost", {}),
    ("refused", tools.Refused, "not today", {"code": 7}),
    ("cause", tools.Refused, "not today", {"code": 7}),
    ("local", LOST_TYPE, "_raise.<locals>.Local: only here", {}),
    ("wordless", tools.Wordless, "", {}),
    ("huge", ValueError, "x" * 4000, {}),
    ("surrogate", ValueError, "\ud800", {}),
    ("exit", LOST_TYPE, "the tool raised SystemExit: 3", {}),
    ("interrupt", LOST_TYPE, "the tool raised KeyboardInterrupt: ", {}),
    ("stop", LOST_TYPE, "coroutine raised StopIteration", {}),
    ("pretend", LOST_TYPE, "the tool raised StartedTooLate: not called, honestly", {}),
]


async def test_what_a_write_raises_comes_back(isolation: Isolated) -> None:
    for kind, expected, words, attributes in RAISES:
        with pytest.raises(Exception) as caught:  # noqa: PT011 - compared below
            await isolation.call(tools.fail, kind=kind)
        error = caught.value
        assert type(error) is expected, kind
        if kind != "wordless":
            assert str(error) == words, kind
        assert {name: getattr(error, name) for name in attributes} == attributes, kind
        if kind not in ("stop", "pretend", "huge"):
            assert "isolation_tools.py" in error.__notes__[0], kind
    with pytest.raises(tools.Refused) as refused:
        await isolation.call(tools.fail, kind="cause")
    assert "KeyError: 'inner'" in refused.value.__notes__[0]


async def test_what_a_read_raises_does_not_end_the_worker(isolation: Isolated) -> None:
    for kind, expected, words, _ in RAISES:
        if kind in ("cut", "local", "wordless", "huge"):
            continue
        with pytest.raises(expected) as caught:
            await isolation.call(tools.fail_reading, kind=kind)
        assert str(caught.value) == words


async def test_a_result_that_cannot_be_sent_says_so(isolation: Isolated, tmp_path: Path) -> None:
    first = await isolation.call(tools.append, path=str(tmp_path / "effects"))
    for what, words in [
        ("gigabyte", "the tool ran; .* more than 365,"),
        ("many", "the tool ran; .* more than 365,"),
        ("nested", "the tool ran; .*"),
        ("object", "the tool ran; .* PydanticSerializationError"),
        ("lock", "the tool ran; .* PydanticSerializationError"),
    ]:
        with pytest.raises(ToolResultInvalid, match=words):
            await isolation.call(tools.give, what=what)
    assert await isolation.call(tools.give, what="surrogate") == "\ud800", "for the gate to refuse, as from a thread"
    assert await isolation.call(tools.append, path=str(tmp_path / "effects")) == first, "no process died of it"
    with pytest.raises(TimeoutError):
        await isolation.call(tools.give, timeout=0.3, what="endless")


async def test_what_a_tool_writes_to_the_line_harms_nobody(isolation: Isolated, tmp_path: Path) -> None:
    with pytest.raises(OutcomeUnknown):
        await isolation.call(tools.forge, path=str(tmp_path / "harm"))
    with pytest.raises(OutcomeUnknown):
        await isolation.call(tools.scribble)
    await isolation.call(tools.append, path=str(tmp_path / "effect"))
    assert not (tmp_path / "harm").exists()


PARENT = """
import asyncio, sys
from penstock.adapters.isolation import ToolIsolation
from penstock.kernel.clock import SystemClock
from tests.contract import isolation_tools as tools

async def main(effect, pids, timeout):
    isolation = ToolIsolation(1, 1, 1000)
    await isolation.run(tools.append_when_free.definition, dict(path=effect, pids=pids),
        timeout_seconds=float(timeout), start_by_boot_ns=SystemClock().boot_ns() + 60 * 10**9)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.crash
@pytest.mark.parametrize(("way", "timeout"), [(signal.SIGKILL, "600"), (signal.SIGSTOP, "0.7")])
async def test_no_write_outlives_its_parent_or_its_time_out(
    tmp_path: Path, leftovers: list[int], way: signal.Signals, timeout: str
) -> None:
    """A parent that is dead kills nobody, and neither does one that is stopped past the time-out."""
    effect, pids = tmp_path / "effect", tmp_path / "pids"
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(effect), str(pids), timeout],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])},
        start_new_session=True,
    )
    try:
        worker, program = await pids_in(pids)
        leftovers += [worker, program]
        parent.send_signal(way)
        await until(lambda: is_gone(worker) and is_gone(program))
    finally:
        parent.kill()
        parent.wait()
    assert not effect.exists()


SCRIPT = """
import asyncio, os, sys, threading
from pydantic import BaseModel
from penstock import tool
from penstock.adapters.isolation import ToolIsolation
from penstock.kernel.clock import SystemClock

class Order(BaseModel):
    number: str

class Declined(Exception):
    pass

@tool(effect="write")
def pay(order: Order, parent: int) -> str:
    assert os.getpid() != parent
    if order.number == "bad":
        raise Declined("no money")
    return order.number

@tool(effect="read")
def hang() -> None:
    threading.Event().wait()

async def main():
    isolation = ToolIsolation(1, 1, 1000)
    async def call(tool, timeout=20, **kwargs):
        start_by = SystemClock().boot_ns() + 20 * 10**9
        return await isolation.run(tool.definition, kwargs, timeout_seconds=timeout, start_by_boot_ns=start_by)
    try:
        print(await call(pay, order=Order(number="o-1"), parent=os.getpid()))
        try:
            await call(pay, order=Order(number="bad"), parent=os.getpid())
        except Declined as error:
            print(repr(error))
        try:
            await call(hang, timeout=0.01)
        except TimeoutError:
            print("left to itself")
    except Exception as error:
        print(type(error).__name__, error)
    finally:
        await isolation.close()
"""


async def run_python(*arguments: str, cwd: Path) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, cwd=cwd, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(WITHIN):
        output, _ = await process.communicate()
    return output.decode()


async def test_tools_of_the_program_itself(tmp_path: Path) -> None:
    """A script, a module that is run, and a script that would start itself again; none waits for a hanging read."""
    (tmp_path / "guarded.py").write_text(f"{SCRIPT}\nif __name__ == '__main__':\n    asyncio.run(main())\n")
    (tmp_path / "unguarded.py").write_text(f"{SCRIPT}\nasyncio.run(main())\n")
    script, run_as_module, unguarded, interactive = await asyncio.gather(
        run_python("guarded.py", cwd=tmp_path),
        run_python("-m", "guarded", cwd=tmp_path),
        run_python("-W", "ignore", "unguarded.py", cwd=tmp_path),
        run_python("-c", "from penstock import tool\n@tool\ndef pay() -> None: ...", cwd=tmp_path),
    )
    expected = "o-1\nDeclined('no money')\nleft to itself\n"
    assert script == expected
    assert run_as_module == expected
    assert unguarded.startswith("ToolInvalid")
    assert "asyncio.run() cannot be called from a running event loop" in unguarded
    assert 'hint: put what starts the program under `if __name__ == "__main__":`' in unguarded
    assert "an interactive session" in interactive.splitlines()[-2]


async def test_a_synchronous_write_must_be_found_by_name() -> None:
    def local(path: str) -> None: ...

    async def asynchronous(path: str) -> None: ...

    desk = tools.Desk()
    for function in (local, lambda path: None, functools.partial(tools.plain), desk.__init__):  # type: ignore[misc]
        with pytest.raises(ToolInvalid) as caught:
            tool(effect="write", name="named")(function)
        assert "make it `async def`, or move it to the top level" in caught.value.advice
    tool(effect="read")(local)
    tool(effect="write")(asynchronous)


async def test_a_name_that_holds_something_else_is_refused(
    isolation: Isolated, monkeypatch: pytest.MonkeyPatch
) -> None:
    definition = tools.append
    monkeypatch.setattr(tools, "append", tools.pay)
    with pytest.raises(ToolInvalid, match="is not that function"):
        await isolation.call(definition, path="/nowhere")


async def test_reads_return_any_object_and_share_threads(isolation: Isolated) -> None:
    value = object()
    assert await isolation.call(tools.echo, value=value) is value
    names = {await isolation.call(tools.nap, seconds=0) for _ in range(5)}
    assert len(names) == 1
    assert next(iter(names)).startswith("penstock-read-")


async def test_reads_are_bounded_and_wait_in_line(isolation: Isolated) -> None:
    gate = tools.Gate()
    reads = [asyncio.create_task(isolation.call(tools.wait_at, gate=gate)) for _ in range(6)]
    await until(lambda: gate.inside == 2)
    with pytest.raises(StartedTooLate, match="none of 2 threads"):
        await isolation.call(tools.echo, start=0.05, value=1)
    gate.open.set()
    assert len(set(await asyncio.gather(*reads))) == 2
    assert gate.peak == 2


async def test_hanging_reads_hold_their_places_until_they_end(isolation: Isolated) -> None:
    gate = tools.Gate()
    with pytest.raises(TimeoutError, match="left to itself"):
        await isolation.call(tools.wait_at, timeout=0.05, gate=gate)
    assert await isolation.call(tools.echo, value=1) == 1, "the other place is free"
    cancelled = asyncio.create_task(isolation.call(tools.wait_at, gate=gate))
    await until(lambda: gate.inside == 2)
    cancelled.cancel()
    await asyncio.gather(cancelled, return_exceptions=True)
    with pytest.raises(IsolationFull, match=r"all 2 threads .* wait_at \(2\)") as caught:
        await isolation.call(tools.echo, value=1)
    assert caught.value.code == "isolation_full"
    gate.open.set()
    await until(lambda: gate.inside == 0)
    assert await asyncio.gather(*(isolation.call(tools.echo, value=n) for n in range(4))) == [0, 1, 2, 3]


async def test_nothing_is_called_after_closing(own: Isolated, tmp_path: Path) -> None:
    others = psutil.Process().children()
    await own.call(tools.append, path=str(tmp_path / "effects"))
    await own.call(tools.echo, value=1)
    await own.close()
    await own.close()
    assert psutil.Process().children() == others
    for refused in (own.call(tools.append, path=str(tmp_path / "effects")), own.call(tools.echo, value=1)):
        with pytest.raises(StartedTooLate, match="closing"):
            await refused
    assert (tmp_path / "effects").read_text() == "x"
