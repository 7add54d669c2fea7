"""Opening the platform for one command."""

import asyncio
import contextlib
import dataclasses
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from penstock.kernel.errors import RunUnknown, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from penstock.ports.agents import AgentDef
    from penstock.ports.journal import Journal
    from penstock.runs.client import Penstock
    from penstock.settings import Settings

T = TypeVar("T")


def execute(work: Coroutine[Any, Any, T], *, fast: bool = False) -> T:
    """Run a command's work to its end. ``fast``: on uvloop, which takes 30 ms to import and pays in the long run; not
    where a list says what may be reached, for it connects past that."""
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if fast and sys.platform != "win32" and not _keeps_to_egress():
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(work)


def _keeps_to_egress() -> bool:
    from penstock.settings import load_settings

    try:
        settings = load_settings()
        if settings.environments is None:
            return False
        from penstock.adapters.environments import read_environments

        found = read_environments(settings.environments).get(settings.environment)
    except UsageError:  # which the command itself will say
        return False
    return found is not None and found.egress is not None


@contextlib.asynccontextmanager
async def opened(
    tenant: str | None = None,
    *,
    agents: "Iterable[AgentDef]" = (),
    in_memory: bool = False,
    **settings: Any,
) -> "AsyncIterator[Penstock]":
    """The platform of the configured database, with these settings changed; ``tenant`` None = the configured one.

    Raises:
        UsageError: a setting is wrong.
        JournalError: the database cannot be started, reached or used.
    """
    from penstock import wiring

    changed = configured(tenant, **settings)
    if in_memory:
        # Without the worker that `wiring.open_in_memory` starts: the command says when work begins.
        from penstock.adapters.memory import MemoryJournal

        async with wiring.assemble(MemoryJournal(), changed, agents=agents) as platform:
            yield platform
        return
    async with wiring.open_penstock(changed, agents=agents) as platform:
        yield platform


@dataclasses.dataclass(slots=True, frozen=True)
class OpenJournal:
    """What commands need that run no code of agents: a journal, and whose."""

    journal: "Journal"
    tenant: str


@contextlib.asynccontextmanager
async def opened_journal(tenant: str | None = None) -> AsyncIterator[OpenJournal]:
    """The journal of the configured database, without the platform on it, which takes longer to import than most
    commands take.

    Raises:
        UsageError: a setting is wrong.
        JournalError: the database cannot be started, reached or used.
    """
    from penstock.adapters.postgres.configured import configured_server
    from penstock.adapters.postgres.database import ConnectionSettings
    from penstock.adapters.postgres.journal import open_journal

    settings = configured(tenant)
    async with configured_server(settings) as dsn:
        journal = await open_journal(ConnectionSettings.of(settings, dsn))
        try:
            yield OpenJournal(journal, settings.tenant)
        finally:
            await journal.close()


@contextlib.asynccontextmanager
async def opened_record(archive: "Path | None", tenant: str | None = None) -> AsyncIterator[OpenJournal]:
    """What records are read from: an archive, when one is named, else the configured database.

    Raises:
        ArchiveInvalid: the file is no whole archive.
        JournalError: as `opened`.
    """
    if archive is None:
        async with opened_journal(tenant) as found:
            yield found
        return
    from penstock.views.archive import ArchiveJournal

    journal = ArchiveJournal(archive)
    try:
        yield OpenJournal(journal, configured(tenant or journal.tenant).tenant)
    finally:
        await journal.close()


@contextlib.asynccontextmanager
async def opened_to_replay(archive: "Path | None", tenant: str | None = None) -> "AsyncIterator[Penstock]":
    """A platform on what `opened_record` reads from.

    Raises:
        ArchiveInvalid, JournalError: as there.
    """
    if archive is None:
        async with opened(tenant) as platform:
            yield platform
        return
    from penstock import wiring
    from penstock.views.archive import ArchiveJournal

    journal = ArchiveJournal(archive)
    async with wiring.assemble(journal, configured(tenant or journal.tenant)) as platform:
        yield platform


@contextlib.asynccontextmanager
async def server() -> AsyncIterator[tuple[str, float]]:
    """Address of the configured database, and how long to try to reach it. The schema is left as it is."""
    from penstock.adapters.postgres.embedded import start_embedded

    settings = configured()
    if settings.database_url is not None:
        yield settings.database_url, settings.database_connect_seconds
        return
    async with await start_embedded(settings.data_dir, start_seconds=settings.embedded_start_seconds) as server:
        yield server.dsn, settings.database_connect_seconds


def configured(tenant: str | None = None, **changes: Any) -> "Settings":
    """The settings of the environment, with what the command line says instead.

    Raises:
        UsageError: a setting is wrong.
    """
    from penstock.settings import load_settings

    given = {name: value for name, value in {"tenant": tenant, **changes}.items() if value is not None}
    return dataclasses.replace(load_settings(), **given)


async def find_run(journal: "Journal", tenant: str, text: str) -> UUID:
    """The run of that id, or the only one whose id begins so.

    Raises:
        RunUnknown: there is none, or there are several.
        InputInvalid: not the beginning of an id.
    """
    found = await journal.find_runs(tenant, text)
    if len(found) == 1:
        return found[0]
    if not found:
        raise RunUnknown(
            f"no run of tenant {tenant!r} has an id that begins with {text!r}", hint="see `penstock runs ls`"
        )
    several = ", ".join(str(run) for run in found[:3]) + (", …" if len(found) > 3 else "")
    raise RunUnknown(f"several runs have ids that begin with {text!r}: {several}", hint="give more digits")
