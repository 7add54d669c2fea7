"""Gateways as processes of their own, on one database, in front of a simulated provider."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.gateway.upstream import Provider

_CONFIG = """
[upstreams.openai]
api = "openai"
url = "{url}/v1"
key_env = "TEST_PROVIDER_KEY"
simulated = true
timeout_seconds = 60

[upstreams.anthropic]
api = "anthropic"
url = "{url}"
key_env = "TEST_PROVIDER_KEY"
simulated = true
"""


_PROGRAM = "import sys; from penstock.cli import main; sys.exit(main())"


@dataclass
class Fleet:
    """Starts gateways; those that still run at the end are killed."""

    database_url: str
    folder: Path
    provider: Provider
    settings: dict[str, str] = field(default_factory=dict)
    running: "list[asyncio.subprocess.Process]" = field(default_factory=list)

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
        own = {"PENSTOCK_DATABASE_URL": self.database_url, "TEST_PROVIDER_KEY": "sk-upstream"}
        return {**kept, **own, **self.settings}

    async def start(self) -> tuple["asyncio.subprocess.Process", str]:
        """A new gateway, serving; with its URL."""
        process = await self._launch("gateway", "--config")
        assert process.stdout is not None
        said = json.loads(await process.stdout.readline())
        assert said["state"] == "serving"
        return process, said["url"]

    async def serve(self) -> "asyncio.subprocess.Process":
        """A new server of the API, with the gateway beside it."""
        return await self._launch("serve", "--no-console", "--no-worker", "--gateway")

    async def _launch(self, *words: str) -> "asyncio.subprocess.Process":
        config = self.folder / "gateway.toml"
        config.write_text(_CONFIG.format(url=self.provider.url))
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            _PROGRAM,
            *words,
            str(config),
            "--port=0",
            "--json",
            env=self.environment(),
            stdout=asyncio.subprocess.PIPE,
        )
        self.running.append(process)
        return process

    async def command(self, *words: str) -> dict[str, object]:
        """What a command says as JSON."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            _PROGRAM,
            *words,
            "--json",
            env=self.environment(),
            stdout=asyncio.subprocess.PIPE,
        )
        said, _ = await process.communicate()
        assert process.returncode == 0, said
        document: dict[str, object] = json.loads(said)
        return document


@asynccontextmanager
async def fleet(database_url: str, folder: Path, provider: Provider, **settings: str) -> AsyncIterator[Fleet]:
    """A fleet without gateways; settings as the environment has them."""
    made = Fleet(database_url, folder, provider, settings)
    try:
        yield made
    finally:
        for process in made.running:
            if process.returncode is None:
                process.kill()
                await process.wait()
