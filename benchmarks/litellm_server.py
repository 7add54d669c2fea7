"""The peer that stands between programs and providers: LiteLLM's proxy, in a virtualenv of its own.

Its budgeted keys come from its hook for custom authentication, with its budget checks on: it keeps keys in PostgreSQL
through Prisma, whose engine is no package of any registry and is downloaded on first use. So it has no database here:
it writes no log of spending and reads no key, which favours it. Its counters of spending, which its budgets are checked
and reserved against, are in its memory, as they are with a database; for several processes they are in Redis, as it
recommends.
"""

import asyncio
import contextlib
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

from benchmarks.bench import Bench, Unavailable
from benchmarks.environment import Environment, free_ports
from benchmarks.proxies import Proxies, environment
from benchmarks.served import stopped
from benchmarks.upstream import PRICES

ENVIRONMENT = Environment("litellm", "litellm")
BACKDOORED = ("1.82.7", "1.82.8")
START_FILES = ("distutils-precedence.pth",)
"""Of setuptools. Whatever else Python would run at its start, a package has put there: so did the backdoor."""
AUTH = Path(__file__).resolve().parent / "litellm_auth.py"
REDIS_SECONDS = 10.0
REDIS_PATIENCE_SECONDS = 60
"""Instead of 5: when Redis is late, it drops the counter and lets calls pass, with its default settings."""
COUNTERS_SECONDS = 3600
"""Redis forgets a counter after a minute without a call, and without a database it would begin at nothing again."""


def key(name: str, nano: int) -> str:
    """A key with a budget of so many nano-dollars."""
    return f"sk-{name}-{nano}"


def install(bench: Bench) -> Path:
    """The programs' folder of its virtualenv.

    Raises:
        Unavailable: it cannot be installed here, or is not what it should be.
    """
    if ENVIRONMENT.version() in BACKDOORED:
        raise Unavailable(f"LiteLLM {ENVIRONMENT.version()} holds a backdoor")
    programs = ENVIRONMENT.install(bench)
    strange = sorted(path.name for path in ENVIRONMENT.folder.glob("lib/**/*.pth") if path.name not in START_FILES)
    if strange:
        raise Unavailable(f"LiteLLM's virtualenv would run {', '.join(strange)} whenever Python starts")
    return programs


@contextlib.asynccontextmanager
async def litellm(bench: Bench, upstream: int, count: int = 1, *, strict: bool = False) -> AsyncIterator[Proxies]:
    """So many proxies with one worker each, in front of the upstream at that port.

    Args:
        strict: with ``fail_closed_budget_enforcement``, which is off unless an operator turns it on.

    Raises:
        Unavailable: it cannot be installed, or does not start.
    """
    programs = install(bench)
    folder = bench.folder / f"litellm-{count}{'-strict' if strict else ''}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    shutil.copy(AUTH, folder)
    log = folder / "proxy.log"
    log.touch()
    async with contextlib.AsyncExitStack() as stack:
        redis = await stack.enter_async_context(_redis(programs, folder)) if count > 1 or strict else None
        config = folder / "config.yaml"
        config.write_text(json.dumps(_config(upstream, redis, strict=strict)), encoding="utf-8")  # YAML holds JSON

        async def launch(port: int) -> asyncio.subprocess.Process:
            own = {
                "LITELLM_MODE": "PRODUCTION",
                "LITELLM_LOG": "CRITICAL",
                "LITELLM_LOCAL_MODEL_COST_MAP": "True",
                "DISABLE_ADMIN_UI": "True",
                "NO_DOCS": "True",
                "HOME": str(folder),
                "REDIS_SOCKET_TIMEOUT": str(REDIS_PATIENCE_SECONDS),
                "REDIS_CONNECTION_POOL_TIMEOUT": str(REDIS_PATIENCE_SECONDS),
                "REDIS_CIRCUIT_BREAKER_ENABLED": "false",
            }
            with log.open("ab") as file:
                return await asyncio.create_subprocess_exec(
                    programs / "litellm",
                    f"--config={config}",
                    "--host=127.0.0.1",
                    f"--port={port}",
                    "--num_workers=1",
                    "--telemetry=False",
                    cwd=folder,
                    env=environment(own, "PENSTOCK_", "LITELLM_", "REDIS_", "DATABASE_"),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=file,
                    stderr=file,
                )

        proxies = Proxies("LiteLLM", free_ports(count), launch, "/health/liveliness", "/v1/chat/completions", log)
        stack.push_async_callback(proxies.stop)
        await proxies.start()
        yield proxies


def _config(upstream: int, redis: int | None, *, strict: bool) -> dict[str, object]:
    general: dict[str, object] = {
        "master_key": "sk-master",
        "custom_auth": f"{AUTH.stem}.authenticate",
        "custom_auth_run_common_checks": True,
        "fail_closed_budget_enforcement": strict,
    }
    if redis is not None:
        general["coordination_redis"] = {"host": "127.0.0.1", "port": redis, "socket_timeout": REDIS_PATIENCE_SECONDS}
    to = {"api_base": f"http://127.0.0.1:{upstream}/v1", "api_key": "litellm"}
    return {
        "model_list": [{"model_name": model, "litellm_params": {"model": f"openai/{model}", **to}} for model in PRICES],
        "litellm_settings": {"num_retries": 0, "default_redis_ttl": COUNTERS_SECONDS},
        "general_settings": general,
    }


@contextlib.asynccontextmanager
async def _redis(programs: Path, folder: Path) -> AsyncIterator[int]:
    """The port of a Redis that keeps nothing on the disk."""
    (port,) = free_ports(1)
    options = ("--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(folder))
    with (folder / "redis.log").open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            programs / "redis-server", *options, stdin=asyncio.subprocess.DEVNULL, stdout=file, stderr=file
        )
    try:
        async with asyncio.timeout(REDIS_SECONDS):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    break
        yield port
    finally:
        await stopped(process)
