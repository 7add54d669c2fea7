"""Where the examples of one page run."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Place:
    """A folder, an environment with a database, and the lock of those who make them this process's own."""

    folder: Path
    environment: dict[str, str]
    alone: asyncio.Lock

    @contextlib.asynccontextmanager
    async def entered(self) -> AsyncIterator[None]:
        """This process stands in the folder and has the environment."""
        async with self.alone:
            before = dict(os.environ)
            with contextlib.chdir(self.folder):
                os.environ.clear()
                os.environ.update(self.environment)
                try:
                    yield
                finally:
                    os.environ.clear()
                    os.environ.update(before)
