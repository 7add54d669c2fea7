"""A worker process whose only agent calls a model that is well, fails or hangs, as a folder says."""

import asyncio
import os
from pathlib import Path
from typing import Any

from penstock import Agent
from penstock.ports.model import ModelRequest, ModelResponse
from penstock.settings import Settings
from penstock.testing import ScriptedModel
from penstock.wiring import open_penstock

CALL_SECONDS = 0.03
HANGS = "hang"


class WireModel(ScriptedModel):
    """Every request leaves a line in ``calls`` when it begins. While the file ``down`` is there, all fail."""

    def __init__(self, folder: Path) -> None:
        super().__init__(["fine"], "wire", repeat=True)
        self._folder = folder
        self._calls = os.open(folder / "calls", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    async def request(self, request: ModelRequest) -> ModelResponse:
        """Answer, fail, or hang when that is asked for."""
        os.write(self._calls, b".")
        if HANGS in request.messages[-1].text:
            await asyncio.sleep(120)
        await asyncio.sleep(CALL_SECONDS)
        if (self._folder / "down").exists():
            raise ConnectionError("the provider is down")
        return await super().request(request)


def caller(folder: Path) -> Agent:
    """The same agent in all processes."""
    return Agent("caller", model=WireModel(folder), instructions="Answer.", attempts=1)


def work(dsn: str, folder: str, name: str) -> None:
    """Work for ever."""
    asyncio.run(_work(dsn, Path(folder), name))


async def _work(dsn: str, folder: Path, name: str) -> None:
    options: dict[str, Any] = {"worker_concurrency": 12, "database_pool_size": 3}
    settings = Settings(database_url=dsn, **options)
    async with open_penstock(settings, agents=[caller(folder)], worker=name):
        await asyncio.Event().wait()
