"""What several commands on the audit log share."""

import contextlib
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from penstock.kernel.errors import AuditKeyMissing, InputInvalid

if TYPE_CHECKING:
    from penstock.journal.notes import SigningKey
    from penstock.runs.client import Penstock

HeldCheckpoint = Annotated[
    Path | None,
    typer.Option("--checkpoint", metavar="FILE", help="A checkpoint that you hold.", show_default=False),
]
SealFirst = Annotated[
    bool, typer.Option("--seal/--no-seal", help="Seal what was recorded first, where the key is at hand.")
]


def write_key(path: Path, key: "SigningKey") -> None:
    """Write a key for its owner alone.

    Raises:
        InputInvalid: there is a file already, or it cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError as error:
        raise InputInvalid(f"{path} exists already", hint="name a file that does not") from error
    except OSError as error:
        raise InputInvalid(f"{path} cannot be written: {error.strerror or error}") from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(key.pem())
        file.flush()
        os.fsync(file.fileno())


def read_text(path: Path) -> str:
    """A small text as it was given out, line ends included.

    Raises:
        InputInvalid: it cannot be read.
    """
    try:
        return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise InputInvalid(f"{path} cannot be read: {error}") from error


async def sealed(platform: "Penstock", runs: Sequence[UUID] | None = None) -> bool:
    """Seal what a tenant has recorded, if the key is here; False: it is not, and the sealer does it."""
    from penstock.runs.sealing import seal_now

    settings = platform.services.settings
    if settings.audit_key_file is None:
        return False
    try:
        await seal_now(platform.journal, settings, platform.tenant, runs)
    except AuditKeyMissing:
        return False
    return True


async def noted(platform: "Penstock", actor: str, action: str, target: str, detail: dict[str, Any]) -> None:
    """Write who read what into the tenant's list of actions."""
    from penstock.server.action_log import ActionLog

    log = ActionLog(platform.journal.actions)
    await log.record_as(platform.tenant, actor, action, target, detail)


@contextlib.asynccontextmanager
async def reading(tenant: str | None) -> "AsyncIterator[Penstock]":
    """The platform of the configured database."""
    from penstock.cli.opening import opened

    async with opened(tenant) as platform:
        yield platform
