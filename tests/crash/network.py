"""Networks that fail: a TCP proxy that cuts and swallows, and machines of their own (Linux network namespaces)."""

import asyncio
import contextlib
import itertools
import os
import random
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from urllib.parse import urlsplit, urlunsplit

from tests.crash.fleet import LEASE_SECONDS

BUFFER_BYTES = 65536
_numbers = itertools.count(1)


class Proxy:
    """Stands between one worker and the database.

    Attributes:
        flows: cleared while what is sent either way is held back: a black hole, from which all comes out later.
        target: where connections go; another one for later connections.
    """

    def __init__(self, target: str) -> None:
        self.target = target
        self.flows = asyncio.Event()
        self.flows.set()
        self.address = ""
        self._closed = False
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._pipes: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        parts = urlsplit(self.target)
        self.address = urlunsplit(parts._replace(netloc=f"{parts.username}@127.0.0.1:{port}", query="sslmode=disable"))

    async def close(self) -> None:
        """Cut everything and stop."""
        assert self._server is not None
        self._server.close()
        self._closed = True
        self.flows.set()
        while self._pipes:
            self.cut()
            await asyncio.wait(list(self._pipes), timeout=0.1)

    def cut(self) -> int:
        """Reset all connections; how many there were."""
        writers = list(self._writers)
        for writer in writers:
            writer.transport.abort()
        return len(writers) // 2

    async def _serve(self, client_in: asyncio.StreamReader, client_out: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pipes.add(task)
        task.add_done_callback(self._pipes.discard)
        parts = urlsplit(self.target)
        ends = {client_out}
        try:
            await self.flows.wait()
            if self._closed:
                return
            with contextlib.suppress(OSError):
                server_in, server_out = await asyncio.open_connection(parts.hostname, parts.port)
                ends.add(server_out)
                self._writers |= ends
                await asyncio.gather(self._pass(client_in, server_out), self._pass(server_in, client_out))
        finally:
            self._writers -= ends
            for writer in ends:
                writer.transport.abort()

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(BUFFER_BYTES):
                await self.flows.wait()
                sink.write(data)
                await sink.drain()
        sink.transport.abort()


@asynccontextmanager
async def proxies(target: str, count: int) -> AsyncIterator[list[Proxy]]:
    """That many, each for one worker."""
    made = [Proxy(target) for _ in range(count)]
    try:
        for proxy in made:
            await proxy.start()
        yield made
    finally:
        for proxy in made:
            await proxy.close()


class Wires:
    """The faults that proxies can make."""

    def __init__(self, made: Sequence[Proxy]) -> None:
        self.made = made

    async def cut(self, rng: random.Random) -> str | None:
        """Reset the connections of one worker."""
        number = rng.randrange(len(self.made))
        count = self.made[number].cut()
        return f"reset of {count} connections of worker {number}" if count else None

    async def swallow(self, rng: random.Random) -> str | None:
        """A black hole before one worker, for less or more than its lease; then all comes out."""
        number = rng.randrange(len(self.made))
        seconds = rng.choice((0.5 * LEASE_SECONDS, 1.7 * LEASE_SECONDS))
        self.made[number].flows.clear()
        await asyncio.sleep(seconds)
        self.made[number].flows.set()
        return f"black hole before worker {number} for {seconds:.1f} s"


class Machines:
    """Hosts in network namespaces of their own, joined by a switch in one more: nothing of it touches the machine's own
    network. ``run`` is what is put before a command line to run it there."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)
        self._prefix = f"pt{os.getpid()}x{next(_numbers)}"

    def run(self, name: str) -> list[str]:
        """The beginning of a command line."""
        return ["ip", "netns", "exec", self._space(name)]

    def address(self, name: str) -> str:
        """A host's IP address."""
        return f"10.77.0.{self.names.index(name) + 1}"

    def part(self, name: str) -> None:
        """Pull the plug at the switch: packets are lost, and nobody is told."""
        _ip("-n", self._space("switch"), "link", "set", self._plug(name), "down")

    def heal(self, name: str) -> None:
        """Put it back."""
        _ip("-n", self._space("switch"), "link", "set", self._plug(name), "up")

    def build(self) -> None:
        """Make all of it; RuntimeError when the machine cannot."""
        switch = self._space("switch")
        _ip("netns", "add", switch)
        _ip("-n", switch, "link", "add", "hub", "type", "bridge")
        _ip("-n", switch, "link", "set", "hub", "up")
        for name in self.names:
            space, plug = self._space(name), self._plug(name)
            _ip("netns", "add", space)
            _ip("-n", switch, "link", "add", plug, "type", "veth", "peer", "name", "wire", "netns", space)
            _ip("-n", switch, "link", "set", plug, "master", "hub", "up")
            _ip("-n", space, "addr", "add", f"{self.address(name)}/24", "dev", "wire")
            _ip("-n", space, "link", "set", "wire", "up")
            _ip("-n", space, "link", "set", "lo", "up")

    def remove(self) -> None:
        """Undo `build`, as far as it came."""
        for name in (*self.names, "switch"):
            with contextlib.suppress(RuntimeError):
                _ip("netns", "del", self._space(name))

    def _space(self, name: str) -> str:
        return f"{self._prefix}-{name}"

    def _plug(self, name: str) -> str:
        return f"to-{name}"


class Cables:
    """The faults that plugs can make."""

    def __init__(self, hosts: Machines, names: Sequence[str], lease_seconds: float) -> None:
        self.hosts = hosts
        self.names = list(names)
        self.lease_seconds = lease_seconds

    async def part(self, rng: random.Random) -> str | None:
        """Cut off some of the hosts, but not all, for less or more than a lease."""
        apart = rng.sample(self.names, rng.randrange(1, len(self.names)))
        seconds = self.lease_seconds * rng.choice((0.6, 1.8, 2.5))
        for name in apart:
            self.hosts.part(name)
        await asyncio.sleep(seconds)
        for name in apart:
            self.hosts.heal(name)
        return f"partition of {', '.join(apart)} for {seconds:.1f} s"


def _ip(*arguments: str) -> None:
    program = shutil.which("ip")
    if program is None:
        raise RuntimeError("there is no program named ip")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


@contextmanager
def machines(names: Sequence[str]) -> Iterator[Machines]:
    """Those hosts while the block runs.

    Raises:
        RuntimeError: this machine cannot have network namespaces.
    """
    made = Machines(names)
    try:
        made.build()
        yield made
    finally:
        made.remove()
