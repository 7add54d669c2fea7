"""The account that the embedded server runs under.

PostgreSQL refuses to run as root. When Penstock itself runs as root, the server gets an unprivileged account that the
system already has: nothing is created on the machine, and no permission of an existing folder is changed. Where a
folder on the way is closed to that account (a data folder below ``/root``), the server keeps the one capability to
pass such folders; that works on Linux only.
"""

import dataclasses
import os
import pwd
import stat
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from penstock.kernel.errors import DataDirUnusable

# In this order. `nobody` is there on every Linux and macOS.
_CANDIDATES = ("penstock", "postgres", "nobody")
_LAUNCHER = Path(__file__).with_name("drop_root.py")


@dataclasses.dataclass(frozen=True, slots=True)
class Account:
    """A user and group id that is not root's."""

    uid: int
    gid: int

    def own(self, path: Path) -> None:
        """Give ``path`` to this account; never what a link there points to, which the account may have planted."""
        os.chown(path, self.uid, self.gid, follow_symlinks=False)


def account_for(folder: Path) -> Account | None:
    """The account for a server whose files are in ``folder`` (which may not exist yet); None means our own.

    A folder that exists keeps its owner, so that `sudo penstock` works on the data of the ordinary user.

    Raises:
        DataDirUnusable: the folder belongs to somebody else, or the system has no unprivileged account.
    """
    me = os.geteuid()
    owner = folder.stat() if folder.exists() else None
    if me != 0:
        if owner is not None and owner.st_uid != me:
            raise DataDirUnusable(f"{folder} belongs to user id {owner.st_uid}, and this process runs as user id {me}")
        return None
    if owner is not None and owner.st_uid != 0:
        return Account(owner.st_uid, owner.st_gid)
    for name in _CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    raise DataDirUnusable(
        "PostgreSQL does not run as root, and this system has no unprivileged account",
        hint="run penstock as an ordinary user, or set PENSTOCK_DATABASE_URL",
    )


def command_as(account: Account | None, command: Sequence[str], needs: Iterable[Path]) -> list[str]:
    """``command`` in a form that runs it under ``account``; ``needs`` are the paths it must be able to reach."""
    if account is None:
        return list(command)
    closed = any(not _reachable(path, account) for path in needs)
    # -I -S: nothing of the user's environment or site-packages takes part while this is still root.
    launcher = [sys.executable, "-I", "-S", str(_LAUNCHER)]
    return [*launcher, str(account.uid), str(account.gid), "pass" if closed else "plain", *command]


def _reachable(path: Path, account: Account) -> bool:
    return all(_may_enter(parent.stat(), account) for parent in path.resolve().parents)


def _may_enter(folder: os.stat_result, account: Account) -> bool:
    if folder.st_uid == account.uid:
        return bool(folder.st_mode & stat.S_IXUSR)
    if folder.st_gid == account.gid:
        return bool(folder.st_mode & stat.S_IXGRP)
    return bool(folder.st_mode & stat.S_IXOTH)
