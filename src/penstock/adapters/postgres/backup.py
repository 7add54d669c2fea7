"""Copies of the journal with PostgreSQL's own programs: ``pg_dump``, which sees one moment of a database in use, and
``pg_restore``.
"""

import asyncio
import os
import shutil
import subprocess
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from penstock.adapters.postgres.database import connected
from penstock.adapters.postgres.migrate import migrate
from penstock.adapters.postgres.server_folder import wheel_programs
from penstock.kernel.errors import BackupFailed

WORDS_MAX_CHARS = 500


async def dump(dsn: str, target: Path) -> int:
    """Write a consistent copy of the schema ``penstock`` into a new file; its size in bytes. Writers are not held up.

    The file holds everything that was recorded, prompts and answers included: it is made readable for its owner only.

    Raises:
        BackupFailed: the file exists, or ``pg_dump`` is missing or failed; no file is left behind.
    """
    partial = await asyncio.to_thread(_begin, target)
    try:
        options = ["--format=custom", "--schema=penstock", "--no-owner", "--no-privileges", "--lock-wait-timeout=60s"]
        await _run("pg_dump", dsn, [*options, f"--file={partial}"])
        return await asyncio.to_thread(_publish, partial, target)
    finally:
        await asyncio.to_thread(partial.unlink, missing_ok=True)


def _begin(target: Path) -> Path:
    """An empty file beside the target, for its owner only."""
    if target.exists():
        raise BackupFailed(f"{target} exists", hint="give each backup a name of its own")
    partial = target.with_name(f".{target.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except OSError as error:
        raise BackupFailed(f"{target} cannot be written: {error.strerror}") from error
    return partial


def _publish(partial: Path, target: Path) -> int:
    """Give the finished file its name, durably; its size."""
    for path, change in ((partial, lambda: partial.rename(target)), (target.parent, lambda: None)):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        change()
    return target.stat().st_size


async def restore(dsn: str, source: Path, connect_seconds: float) -> list[str]:
    """Read a copy into a database that has no schema ``penstock``, in one transaction, then bring the schema up to this
    installation's; names of the migrations that took.

    Raises:
        BackupFailed: the database holds runs, or ``pg_restore`` is missing or failed; nothing was changed.
    """
    if not await asyncio.to_thread(source.is_file):
        raise BackupFailed(f"there is no file {source}")
    async with connected(dsn, connect_seconds) as connection:
        if await connection.fetchval("SELECT to_regclass('penstock.runs')") is not None:
            if await connection.fetchval("SELECT EXISTS (SELECT FROM penstock.runs)"):
                raise BackupFailed("the database holds runs already", hint="restore into an empty database")
            # Whatever looked at the new database made an empty schema.
            await connection.execute("DROP SCHEMA penstock CASCADE")
    await _run("pg_restore", dsn, ["--single-transaction", "--no-owner", "--no-privileges", str(source)])
    async with connected(dsn, connect_seconds) as connection:
        return await migrate(connection)


def _program(name: str) -> str:
    """The wheel's program, else the one on PATH: both must be at least as new as the server."""
    ours = wheel_programs() / name
    found = str(ours) if os.access(ours, os.X_OK) else shutil.which(name)
    if found is None:
        raise BackupFailed(f"{name} is not installed", hint="install PostgreSQL's client programs")
    return found


async def _run(name: str, dsn: str, arguments: list[str]) -> None:
    address, password = _without_password(dsn)
    environment = {"PATH": os.defpath, "LC_ALL": "C", **({"PGPASSWORD": password} if password else {})}
    process = await asyncio.create_subprocess_exec(
        _program(name),
        f"--dbname={address}",
        *arguments,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        _, said = await process.communicate()
    except asyncio.CancelledError:
        process.terminate()
        await process.wait()
        raise
    if process.returncode:
        words = " ".join(said.decode(errors="replace").split())[:WORDS_MAX_CHARS]
        raise BackupFailed(f"{name} ended with {process.returncode}: {words}")


def _without_password(dsn: str) -> tuple[str, str]:
    """The address without its password, which everybody on the machine could read in the list of processes."""
    parts = urlsplit(dsn)
    if not parts.password:
        return dsn, ""
    user, _, host = parts.netloc.rpartition("@")
    netloc = f"{user.partition(':')[0]}@{host}"
    return urlunsplit(parts._replace(netloc=netloc)), unquote(parts.password)
