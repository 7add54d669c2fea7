"""A small disk, to be filled and freed."""

import asyncio
import contextlib
import os
import random
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from tests.crash.server import Server

BLOCK_BYTES = 16 * 1024


@contextmanager
def small_disk(where: Path, megabytes: int) -> Iterator[Path]:
    """A file system of that size.

    Raises:
        RuntimeError: this machine does not let us mount one.
    """
    where.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=755", "none", str(where)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        raise RuntimeError(mounted.stderr.strip())
    try:
        yield where
    finally:
        subprocess.run(["umount", "--lazy", str(where)], check=True)


class Disk:
    """The disk under a server."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.folder = folder
        self.server = server

    async def fill(self, rng: random.Random) -> str | None:
        """Leave no room for some time, then give it back."""
        seconds = rng.uniform(1.5, 3.0)
        filler = self.folder / "filler"
        starts = self.server.starts
        descriptor = os.open(filler, os.O_WRONLY | os.O_CREAT)
        taken = 0
        try:
            for _ in range(int(seconds / 0.05)):
                with contextlib.suppress(OSError):
                    while written := os.write(descriptor, bytes(BLOCK_BYTES)):
                        taken += written
                assert os.statvfs(self.folder).f_bavail * 4096 < BLOCK_BYTES
                await asyncio.sleep(0.05)  # the server frees what it no longer needs: that is taken too
        finally:
            os.close(descriptor)
            filler.unlink()
        return (
            f"full disk for {seconds:.1f} s ({taken >> 20} MB; the server was started {self.server.starts - starts}x)"
        )

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """While the block runs, start the server again whenever it has ended, as an operating system's supervisor."""

        async def keep() -> None:
            while True:
                if not self.server.is_running():
                    await self.server.start(wait=False)
                await asyncio.sleep(0.2)

        keeping = asyncio.create_task(keep())
        try:
            yield
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
