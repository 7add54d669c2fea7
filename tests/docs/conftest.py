"""Every page's examples, run side by side before the first test asks: most of their time is waiting."""

import asyncio
import os
import sys
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from tests.docs.place import Place
from tests.docs.walkthrough import WALKS

PAGES_AT_ONCE = 4


@pytest.fixture(scope="session")
def walked(
    request: pytest.FixtureRequest, server_dsn: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, BaseException | None]:
    """What became of the examples of each page that is tested in this session: None when all is well."""
    calls = [item.callspec for item in request.session.items if isinstance(item, pytest.Function) and _walks(item)]
    wanted = {call.params["page"] for call in calls}
    return asyncio.run(_walk_all([name for name in WALKS if name in wanted], server_dsn, tmp_path_factory))


def _walks(item: pytest.Function) -> bool:
    return "walked" in item.fixturenames


async def _walk_all(
    names: list[str], server_dsn: str, folders: pytest.TempPathFactory
) -> dict[str, BaseException | None]:
    turns = asyncio.Semaphore(PAGES_AT_ONCE)
    # Blocks of Python find the working folder and the environment of their page, of which a process has one.
    alone = asyncio.Lock()

    async def walk(number: int, name: str) -> None:
        async with turns:
            database = f"docs_{os.getpid()}_{number}"
            await _administer(server_dsn, f"CREATE DATABASE {database}")
            try:
                folder = folders.mktemp("page")
                place = Place(folder, _environment(server_dsn, database, folder), alone)
                await WALKS[name](place)
            finally:
                await _administer(server_dsn, f"DROP DATABASE {database} WITH (FORCE)")

    ended = await asyncio.gather(*(walk(*pair) for pair in enumerate(names)), return_exceptions=True)
    return dict(zip(names, ended, strict=True))


async def _administer(server_dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(server_dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def _environment(server_dsn: str, database: str, folder: Path) -> dict[str, str]:
    """What the page's commands and blocks find set: a database of the page's own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    return kept | {
        "PENSTOCK_DATABASE_URL": urlunsplit(urlsplit(server_dsn)._replace(path=f"/{database}")),
        "PENSTOCK_DATA_DIR": str(folder / "data"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "COLUMNS": "160",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
