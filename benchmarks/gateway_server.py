"""Our side between programs and providers: the command `penstock gateway`, with keys and budgets made by the commands
that users make them with."""

import asyncio
import contextlib
import json
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.bench import Bench
from benchmarks.environment import free_ports
from benchmarks.proxies import Proxies, environment
from benchmarks.served import PROGRAM, ROOT

TENANT = "gateway"
KEY_VARIABLE = "BENCH_PROVIDER_KEY"
LEVELS = ("x_team", "customer", "feature", "agent", "key")
NANO = 10**9
KNOWN_SECONDS = 2.5
"""A budget that is set reaches all processes within two seconds."""

_CONFIG = """\
[upstreams.simulated]
api = "openai"
url = "http://127.0.0.1:{port}/v1"
key_env = "{variable}"
prices = "openai"
simulated = true
connections = 2000
"""


@dataclass(slots=True, frozen=True)
class Gateways:
    """Running gateways, and the commands beside them."""

    proxies: Proxies
    settings: dict[str, str]
    folder: Path

    async def key(self, name: str, nano: int, *, levels: int = 1) -> str:
        """A new key with a budget of so many nano-dollars for all time, and with as large ones on further levels."""
        tags = {level: f"{name}-{level}" for level in LEVELS if level not in ("agent", "key")}
        bound = [f"--tag={tag}={value}" for tag, value in tags.items()]
        made = await self.command("keys", "add", name, "--gateway", f"--agent={name}-agent", *bound)
        of_level = {**tags, "agent": f"{name}-agent", "key": name}
        usd = f"--usd={nano // NANO}.{nano % NANO:09}"
        for level in LEVELS[-levels:]:
            match = f"--match={level}={of_level[level]}"
            await self.command("budgets", "set", f"{name}-{level}", usd, match, "--period=total")
        await asyncio.sleep(KNOWN_SECONDS)
        return str(made["key"])

    async def used(self, name: str) -> int:
        """Nano-dollars that the budget of a key's own level counts as spent or holds."""
        shown = await self.command("budgets", "show", f"{name}-{LEVELS[-1]}")
        return sum(account["spent"]["nano"] + account["held"]["nano"] for account in shown["accounts"])

    async def command(self, *words: str) -> Any:
        """What a command says as JSON.

        Raises:
            RuntimeError: it failed.
        """
        process = await asyncio.create_subprocess_exec(
            *PROGRAM,
            *words,
            "--json",
            cwd=ROOT,
            env=environment(self.settings, "PENSTOCK_"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        said, complaint = await process.communicate()
        if process.returncode != 0:
            raise RuntimeError(f"penstock {' '.join(words)} ended with {process.returncode}: {complaint.decode()}")
        return json.loads(said)


@contextlib.asynccontextmanager
async def gateways(bench: Bench, upstream: int, count: int = 1) -> AsyncIterator[Gateways]:
    """So many gateways of one process each on the benchmark's database, in front of the upstream at that port.

    Raises:
        Unavailable: one does not start.
    """
    folder = bench.folder / f"gateway-{count}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    log = folder / "gateway.log"
    log.touch()
    config = folder / "gateway.toml"
    config.write_text(_CONFIG.format(port=upstream, variable=KEY_VARIABLE), encoding="utf-8")
    own = {"DATABASE_URL": bench.server.dsn, "DATA_DIR": str(folder), "TENANT": f"{TENANT}-{count}"}
    settings = {f"PENSTOCK_{name}": value for name, value in own.items()}

    async def launch(port: int) -> asyncio.subprocess.Process:
        with log.open("ab") as file:
            return await asyncio.create_subprocess_exec(
                *PROGRAM,
                "gateway",
                f"--config={config}",
                f"--port={port}",
                cwd=ROOT,
                env=environment({**settings, KEY_VARIABLE: "penstock"}, "PENSTOCK_"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )

    proxies = Proxies("penstock gateway", free_ports(count), launch, "/healthz", "/openai/v1/chat/completions", log)
    try:
        await proxies.start()
        yield Gateways(proxies, settings, folder)
    finally:
        await proxies.stop()
