"""A server in a process of its own, without workers: ``python -m tests.server.webhook_server DSN``.

It ends when it is killed, or when its input is closed.
"""

import asyncio
import sys

from tests.server.conftest import served

from penstock.adapters.postgres.database import ConnectionSettings
from penstock.adapters.postgres.journal import open_journal


async def main(dsn: str) -> None:
    journal = await open_journal(ConnectionSettings(dsn))
    async with served(journal, worker=False, webhook_allow_http=1, webhook_allowed_networks="127.0.0.0/8"):
        print("serving", flush=True)  # noqa: T201 - for whoever started it
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
