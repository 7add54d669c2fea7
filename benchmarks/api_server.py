"""The measured process of `benchmarks.api`: the API on the benchmark's database, without a worker."""

import asyncio
import json
import sys
from typing import Any

import uvicorn

from benchmarks.child import cpu_seconds, resident_bytes, say, told
from penstock import Run, agent
from penstock.adapters.postgres.database import ConnectionSettings
from penstock.adapters.postgres.journal import open_journal
from penstock.kernel.clock import SystemClock
from penstock.server.access.keys import make_key
from penstock.server.app import create_app
from penstock.settings import Settings
from penstock.wiring import assemble


@agent("echo", version="1")
async def echo(run: Run, value: Any) -> Any:
    """Gives back what it was given; here nobody works on it."""
    del run
    return value


async def main(options: dict[str, Any]) -> None:
    """Serve until told to stop; say what each stretch of it cost."""
    settings = Settings(tenant=options["tenant"], queue_max_per_agent=10_000_000, queue_max_per_customer=10_000_000)
    journal = await open_journal(ConnectionSettings.of(settings, options["dsn"]))
    async with assemble(journal, settings, agents=[echo]) as platform:
        made = await make_key(
            journal.access, SystemClock(), options["tenant"], "bench", ["operator"], most=1000, created_by="bench"
        )
        assert made is not None
        app = create_app(platform, log=lambda line: None)
        config = uvicorn.Config(
            app, host="127.0.0.1", port=0, log_level="error", access_log=False, loop="uvloop", http="httptools"
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - it has no event for that
            await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        say(ready=True, port=port, key=made[1], resident=resident_bytes())
        while await told() != "stop":
            say(cpu=cpu_seconds(), resident=resident_bytes())
        server.should_exit = True
        await serving


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
