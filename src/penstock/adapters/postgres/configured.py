"""The database that the settings name, or the embedded one, which is kept running while it is used."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from penstock.adapters.postgres.embedded import EmbeddedServer, start_embedded
from penstock.kernel.errors import PenstockError
from penstock.settings import Settings

SERVER_CHECK_SECONDS = 1.0


@contextlib.asynccontextmanager
async def configured_server(settings: Settings) -> AsyncIterator[str]:
    """Address of the server; an embedded one is started, and started again whenever it has died.

    Raises:
        JournalError: the embedded server cannot be started; the code says why.
    """
    if settings.database_url is not None:
        yield settings.database_url
        return
    server = await start_embedded(settings.data_dir, start_seconds=settings.embedded_start_seconds)
    try:
        async with _kept_running(server, settings.embedded_start_seconds):
            yield server.dsn
    finally:
        await server.close()


@contextlib.asynccontextmanager
async def _kept_running(server: EmbeddedServer, start_seconds: float) -> AsyncIterator[None]:
    async def keep() -> None:
        while True:
            await asyncio.sleep(SERVER_CHECK_SECONDS)
            with contextlib.suppress(PenstockError):  # said by those who need the server, until it comes back
                await server.join(start_seconds)

    keeper = asyncio.create_task(keep())
    try:
        yield
    finally:
        keeper.cancel()
        await asyncio.wait({keeper})
