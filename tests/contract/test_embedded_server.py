"""The embedded server, with real processes that are really killed.

Where the suite runs as root, the tests that need an ordinary user run their processes as one.
"""

import asyncio
import contextlib
import dataclasses
import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest
import uvloop

from penstock.adapters.postgres import drop_root
from penstock.adapters.postgres.embedded import start_embedded
from penstock.adapters.postgres.folder_lock import FolderLock
from penstock.adapters.postgres.server_folder import MAJOR, socket_dir_for, wheel_programs
from penstock.kernel.errors import (
    DataDirUnusable,
    DataVersionMismatch,
    EmbeddedFilesMissing,
    EmbeddedServerError,
    JournalFull,
    PenstockError,
)

IS_ROOT = os.geteuid() == 0
NOBODY = 65534

# A Penstock process: joins, says where, leaves when told to.
CLIENT = """
import asyncio, json, sys
from pathlib import Path
from penstock.adapters.postgres.embedded import start_embedded
from penstock.kernel.errors import PenstockError

async def main():
    try:
        server = await start_embedded(Path(sys.argv[1]))
    except PenstockError as error:
        print(json.dumps({"code": error.code, "what": str(error)}), flush=True)
        return
    print(json.dumps({"dsn": server.dsn}), flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await server.close()

asyncio.run(main())
"""


@dataclasses.dataclass
class Client:
    process: asyncio.subprocess.Process

    @classmethod
    async def spawn(cls, data_dir: Path, *, uid: int = 0) -> "Client":
        command = [sys.executable, "-c", CLIENT, str(data_dir)]
        if uid:
            # With the capability to read: the interpreter itself may lie in a folder that is closed to others.
            command = [sys.executable, "-I", "-S", drop_root.__file__, str(uid), str(uid), "pass", *command]
        return cls(
            await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd="/"
            )
        )

    async def answer(self) -> dict[str, str]:
        assert self.process.stdout is not None
        async with asyncio.timeout(60):
            answer: dict[str, str] = json.loads(await self.process.stdout.readline())
        return answer

    async def dsn(self) -> str:
        return (await self.answer())["dsn"]

    async def leave(self) -> None:
        await self.process.communicate(b"\n")
        assert self.process.returncode == 0

    async def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        await self.process.communicate()


@pytest.fixture(scope="session")
def ready_cluster(fast_disk: Path) -> Iterator[Path]:
    """A cluster to copy: initdb need not be waited for in each test."""

    async def make(folder: Path) -> None:
        await (await start_embedded(folder)).close()

    with tempfile.TemporaryDirectory(prefix="pt-", dir=fast_disk) as folder:
        asyncio.run(make(Path(folder)))
        yield cluster(Path(folder))


@pytest.fixture
def folder(short_tmp: Path, ready_cluster: Path) -> Path:
    """A data folder with a cluster that is not running."""
    subprocess.run(["cp", "-a", ready_cluster, short_tmp], check=True)
    return short_tmp


Spawn = Callable[..., Awaitable[Client]]


@pytest.fixture
async def spawn(short_tmp: Path) -> AsyncIterator[Spawn]:
    """Make clients; whatever a test leaves behind is ended, the server of its folder included."""
    clients: list[Client] = []

    async def make(data_dir: Path | None = None, *, uid: int = 0) -> Client:
        clients.append(await Client.spawn(data_dir or short_tmp, uid=uid))
        return clients[-1]

    yield make
    for client in clients:
        if client.process.returncode is None:
            await client.kill()
    if (pid := postmaster_pid(short_tmp)) is not None:
        os.kill(pid, signal.SIGQUIT)
        await until(lambda: is_stopped(short_tmp))


def cluster(data_dir: Path) -> Path:
    return data_dir / f"pg{MAJOR}"


def postmaster_pid(data_dir: Path) -> int | None:
    """The process id of the folder's live server."""
    pid_file = cluster(data_dir) / "data" / "postmaster.pid"
    if not pid_file.exists() or is_stopped(data_dir):
        return None
    return int(pid_file.read_text().splitlines()[0])


def is_stopped(data_dir: Path) -> bool:
    """Whether no process of the folder's server is left."""
    if not (cluster(data_dir) / "server.lock").exists():
        return True
    lock = FolderLock(cluster(data_dir) / "server.lock")
    try:
        return lock.try_exclusive()
    finally:
        lock.close()


async def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def fetch(dsn: str, statement: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def test_it_starts_and_stops_and_keeps_what_was_committed(short_tmp: Path) -> None:
    async with await start_embedded(short_tmp) as server:
        await fetch(server.dsn, "CREATE TABLE t AS SELECT 'kept' AS v")
        first = postmaster_pid(short_tmp)
        assert first is not None
    assert is_stopped(short_tmp)
    await until(lambda: not psutil.pid_exists(first))
    async with await start_embedded(short_tmp) as server:
        assert await fetch(server.dsn, "SELECT v FROM t") == "kept"


async def test_it_listens_on_a_private_socket_only_and_is_durable(folder: Path) -> None:
    async with await start_embedded(folder) as server:
        for setting, value in {
            "listen_addresses": "",
            "fsync": "on",
            "synchronous_commit": "on",
            "full_page_writes": "on",
            "data_checksums": "on",
            "server_encoding": "UTF8",
            "TimeZone": "UTC",
            "jit": "off",
        }.items():
            assert await fetch(server.dsn, f"SHOW {setting}") == value, setting
        assert str(await fetch(server.dsn, "SHOW server_version")).split(".")[0] == str(MAJOR)
        assert await fetch(server.dsn, "SELECT 'ä' < 'b'") is False, "ordered by code point on every machine"
        assert cluster(folder).stat().st_mode & 0o077 == 0
        pid = postmaster_pid(folder)
        assert pid is not None
        assert not [c for c in psutil.Process(pid).net_connections("inet") if c.status == psutil.CONN_LISTEN]


async def test_processes_of_a_folder_share_one_server_and_the_last_one_stops_it(spawn: Spawn, folder: Path) -> None:
    first, second = await spawn(), await spawn()
    assert await first.dsn() == await second.dsn()
    pid = postmaster_pid(folder)
    await first.leave()
    assert postmaster_pid(folder) == pid
    await second.leave()
    assert is_stopped(folder)


def test_it_works_on_the_event_loop_of_the_workers(folder: Path) -> None:
    async def main() -> object:
        async with await start_embedded(folder) as server:
            return await fetch(server.dsn, "SELECT 1")

    assert uvloop.run(main()) == 1
    assert is_stopped(folder)


async def test_two_shares_in_one_process_count_as_two(folder: Path) -> None:
    first, second = await start_embedded(folder), await start_embedded(folder)
    await first.close()
    await first.close()
    assert not is_stopped(folder)
    assert await fetch(second.dsn, "SELECT 1") == 1
    await second.close()
    assert is_stopped(folder)


async def test_processes_that_start_at_once_make_one_server(spawn: Spawn, short_tmp: Path) -> None:
    clients = await asyncio.gather(*(spawn() for _ in range(4)))
    addresses = await asyncio.gather(*(client.dsn() for client in clients))
    assert len(set(addresses)) == 1
    log = (cluster(short_tmp) / "log").read_text()
    assert log.count("ready to accept connections") == 1
    assert not list(cluster(short_tmp).glob("data.new.*"))
    await asyncio.gather(*(client.leave() for client in clients))
    assert is_stopped(short_tmp)


async def test_one_leaves_while_another_joins(spawn: Spawn, folder: Path) -> None:
    leaver = await spawn()
    await leaver.dsn()
    for _ in range(3):
        joiner = await spawn()
        _, dsn = await asyncio.gather(leaver.leave(), joiner.dsn())
        assert await fetch(dsn, "SELECT 1") == 1
        leaver = joiner
    await leaver.leave()
    assert is_stopped(folder)


async def test_a_killed_process_leaves_the_server_to_the_next(spawn: Spawn, folder: Path) -> None:
    first = await spawn()
    dsn = await first.dsn()
    pid = postmaster_pid(folder)
    await first.kill()
    assert await fetch(dsn, "SELECT 1") == 1
    second = await spawn()
    assert await second.dsn() == dsn
    assert postmaster_pid(folder) == pid
    await second.leave()
    assert is_stopped(folder)


async def test_a_process_killed_beside_another_does_not_count_any_more(spawn: Spawn, folder: Path) -> None:
    first, second = await spawn(), await spawn()
    await asyncio.gather(first.dsn(), second.dsn())
    await first.kill()
    await second.leave()
    assert is_stopped(folder)


async def test_a_killed_server_is_started_again_and_nothing_committed_is_lost(folder: Path) -> None:
    server = await start_embedded(folder)
    await fetch(server.dsn, "CREATE TABLE t (n int)")
    held = await asyncpg.connect(server.dsn)
    for number in range(3):
        await fetch(server.dsn, f"INSERT INTO t VALUES ({number})")
        pid = postmaster_pid(folder)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await server.join()
        assert postmaster_pid(folder) not in (None, pid)
        assert await fetch(server.dsn, "SELECT count(*) FROM t") == number + 1
    held.terminate()
    await server.close()
    assert is_stopped(folder)


async def test_a_new_process_finds_its_way_right_after_the_server_was_killed(spawn: Spawn, folder: Path) -> None:
    first = await spawn()
    await first.dsn()
    pid = postmaster_pid(folder)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    second = await spawn()
    assert await fetch(await second.dsn(), "SELECT 1") == 1
    await first.leave()
    assert not is_stopped(folder)
    await second.leave()
    assert is_stopped(folder)


async def test_a_process_killed_while_it_makes_the_cluster_leaves_nothing_half_done(
    spawn: Spawn, short_tmp: Path
) -> None:
    first = await spawn()
    await until(lambda: bool(list(cluster(short_tmp).glob("data.new.*/PG_VERSION"))))
    await first.kill()
    assert not (cluster(short_tmp) / "data").exists()
    second = await spawn()
    assert await fetch(await second.dsn(), "SELECT 1") == 1
    assert not list(cluster(short_tmp).glob("data.new.*"))


async def test_a_stale_pid_file_that_names_a_living_process_does_not_mislead(folder: Path) -> None:
    async with await start_embedded(folder) as server:
        pid_file = cluster(folder) / "data" / "postmaster.pid"
        text = pid_file.read_text()
    bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        pid_file.write_text("\n".join([str(bystander.pid), *text.splitlines()[1:]]) + "\n")
        async with await start_embedded(folder) as server:
            assert await fetch(server.dsn, "SELECT 1") == 1
        assert bystander.poll() is None
    finally:
        bystander.communicate(b"\n")


async def test_interrupting_a_terminal_does_not_reach_the_server(spawn: Spawn, folder: Path) -> None:
    client = await spawn()
    dsn = await client.dsn()
    pid = postmaster_pid(folder)
    assert pid is not None
    assert os.getpgid(pid) != os.getpgid(client.process.pid)
    assert os.getsid(pid) != os.getsid(client.process.pid)
    assert await fetch(dsn, "SELECT 1") == 1


@pytest.mark.parametrize("name", ["x" * 200, "a,b c'd", "grün"])
async def test_long_and_odd_paths_work(short_tmp: Path, ready_cluster: Path, name: str) -> None:
    (short_tmp / name).mkdir()
    subprocess.run(["cp", "-a", ready_cluster, short_tmp / name], check=True)
    async with await start_embedded(short_tmp / name) as server:
        assert await fetch(server.dsn, "SELECT 1") == 1
        async with await start_embedded(short_tmp / name) as other:
            assert other.dsn == server.dsn
    socket_dir = socket_dir_for(cluster(short_tmp / name).resolve())
    assert socket_dir.parent == Path("/tmp")
    assert socket_dir.stat().st_mode & 0o077 == 0
    socket_dir.rmdir()


async def test_a_socket_folder_that_somebody_else_made_is_refused(short_tmp: Path) -> None:
    folder = short_tmp / ("y" * 200)
    socket_dir = socket_dir_for(cluster(folder).resolve())
    socket_dir.symlink_to(short_tmp)
    try:
        with pytest.raises(DataDirUnusable) as caught:
            await start_embedded(folder)
        assert str(socket_dir) in caught.value.what
    finally:
        socket_dir.unlink()


async def test_a_file_in_the_folders_place_is_refused(short_tmp: Path) -> None:
    (short_tmp / "file").write_text("")
    with pytest.raises(DataDirUnusable) as caught:
        await start_embedded(short_tmp / "file")
    assert caught.value.code == "data_dir_unusable"
    assert str(short_tmp / "file") in caught.value.what


async def test_a_folder_that_cannot_be_written_is_refused(spawn: Spawn, short_tmp: Path) -> None:
    short_tmp.chmod(0o555)
    client = await spawn(short_tmp / "data", uid=NOBODY if IS_ROOT else 0)
    answer = await client.answer()
    assert answer["code"] == "data_dir_unusable"
    assert str(short_tmp) in answer["what"]


@pytest.mark.skipif(not IS_ROOT, reason="only root can change to another user")
async def test_an_ordinary_user_and_root_can_share_a_folder(spawn: Spawn, short_tmp: Path) -> None:
    os.chown(short_tmp, NOBODY, NOBODY)
    ordinary = await spawn(uid=NOBODY)
    dsn = await ordinary.dsn()
    async with await start_embedded(short_tmp) as server:
        assert server.dsn == dsn
        pid = postmaster_pid(short_tmp)
        assert pid is not None
        assert psutil.Process(pid).uids().real == NOBODY
    await ordinary.leave()
    assert is_stopped(short_tmp)
    # And in the other order: nothing root made is in the ordinary user's way.
    async with await start_embedded(short_tmp):
        pass
    again = await spawn(uid=NOBODY)
    assert await again.dsn() == dsn
    await again.leave()


@pytest.mark.skipif(not IS_ROOT, reason="only root can change to another user")
async def test_the_folder_of_another_user_is_refused(spawn: Spawn, short_tmp: Path) -> None:
    os.chown(short_tmp, NOBODY, NOBODY)
    cluster(short_tmp).mkdir()
    os.chown(cluster(short_tmp), 1, 1)
    answer = await (await spawn(uid=NOBODY)).answer()
    assert answer["code"] == "data_dir_unusable"
    assert "user id 1" in answer["what"]


@pytest.mark.skipif(not IS_ROOT, reason="only for root is there a choice of account")
async def test_for_root_the_server_runs_unprivileged_below_a_closed_folder(short_tmp: Path) -> None:
    short_tmp.chmod(0o700)
    async with await start_embedded(short_tmp):
        pid = postmaster_pid(short_tmp)
        assert pid is not None
        assert psutil.Process(pid).uids().real != 0
    assert short_tmp.stat().st_mode & 0o777 == 0o700
    assert short_tmp.stat().st_uid == 0


@pytest.mark.skipif(
    not IS_ROOT or sys.platform != "linux", reason="only for root, and there on Linux, is this a matter"
)
async def test_for_root_the_installation_may_lie_below_a_closed_folder(short_tmp: Path) -> None:
    closed = short_tmp / "closed"
    installed = wheel_programs().parents[1]
    libraries = installed.with_name(f"{installed.name}.libs")
    (closed / installed.name).mkdir(parents=True)
    closed.chmod(0o700)
    subprocess.run(["cp", "-r", installed / f"pginstall{MAJOR}", closed / installed.name], check=True)
    subprocess.run(["cp", "-r", libraries, closed], check=True)
    programs = closed / installed.name / f"pginstall{MAJOR}" / "bin"
    async with await start_embedded(short_tmp / "data", programs=programs) as server:
        assert await fetch(server.dsn, "SELECT 1") == 1
    assert closed.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(not IS_ROOT or sys.platform != "linux", reason="mounts a small disk")
async def test_a_full_disk_is_said(short_tmp: Path) -> None:
    disk = short_tmp / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", disk], check=False).returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        with pytest.raises(JournalFull) as caught:
            await start_embedded(disk / "data")
        assert caught.value.code == "journal_full"
        assert not list(cluster(disk / "data").glob("data*")), "a failed start leaves no half cluster"
    finally:
        subprocess.run(["umount", disk], check=True)


async def test_missing_programs_are_named(short_tmp: Path) -> None:
    with pytest.raises(EmbeddedFilesMissing) as caught:
        await start_embedded(short_tmp, programs=short_tmp / "bin")
    assert caught.value.code == "embedded_files_missing"
    assert str(short_tmp / "bin" / "initdb") in caught.value.what


@pytest.mark.parametrize(("major", "advice"), [(MAJOR + 1, "upgrade penstock"), (MAJOR - 1, "dump the data")])
async def test_data_of_another_major_version_is_refused(short_tmp: Path, major: int, advice: str) -> None:
    (short_tmp / f"pg{major}" / "data").mkdir(parents=True)
    with pytest.raises(DataVersionMismatch) as caught:
        await start_embedded(short_tmp)
    assert f"PostgreSQL {major};" in caught.value.what
    assert advice in caught.value.advice
    assert not cluster(short_tmp).exists()


async def test_a_cluster_marked_with_another_version_is_refused(folder: Path) -> None:
    async with await start_embedded(folder):
        pass
    (cluster(folder) / "data" / "PG_VERSION").write_text(f"{MAJOR + 1}\n")
    with pytest.raises(DataVersionMismatch):
        await start_embedded(folder)


async def test_a_damaged_cluster_is_reported_with_the_servers_last_words(folder: Path) -> None:
    async with await start_embedded(folder):
        pass
    control = cluster(folder) / "data" / "global" / "pg_control"
    control.write_bytes(b"\xff" * len(control.read_bytes()))
    with pytest.raises(EmbeddedServerError) as caught:
        await start_embedded(folder)
    assert "pg_control" in caught.value.what or "control file" in caught.value.what
    assert caught.value.code == "embedded_server"


async def test_a_starter_that_never_ends_is_not_waited_for_for_ever(short_tmp: Path) -> None:
    cluster(short_tmp).mkdir(mode=0o700)
    holder = FolderLock(cluster(short_tmp) / "start.lock")
    assert holder.try_exclusive()
    with pytest.raises(EmbeddedServerError, match=r"did not answer within 0\.2 s"):
        await start_embedded(short_tmp, start_seconds=0.2)
    holder.close()


async def test_what_no_lock_can_be_taken_on_is_said(short_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: FolderLock) -> bool:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(FolderLock, "try_exclusive", refuse)
    with pytest.raises(PenstockError, match="No locks available"):
        await start_embedded(short_tmp)


async def test_started_again_after_a_crash_of_everything(spawn: Spawn, folder: Path) -> None:
    client = await spawn()
    await fetch(await client.dsn(), "CREATE TABLE t AS SELECT 1 AS n")
    pid = postmaster_pid(folder)
    assert pid is not None
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    await client.kill()
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    async with await start_embedded(folder) as server:
        assert await fetch(server.dsn, "SELECT n FROM t") == 1
