"""Sealing: one worker at a time appends what the journal has recorded to the audit logs, about once a second.

It is no part of any append: it reads where the chains stand and writes tables of its own. While it cannot be done, for
want of the right key or of the database, nothing is lost: what has gone on meanwhile is sealed when it can be again.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from penstock.gates.run.services import Services
from penstock.journal.leaves import base_of, check_statement, first_statement
from penstock.journal.notes import SigningKey, is_name
from penstock.journal.sealing import CHECKPOINTS_KEPT, Signer, grow_log, seal
from penstock.kernel.errors import AuditKeyMissing, AuditKeyWrong, JournalError, NoteInvalid, NotSealed
from penstock.kernel.ids import new_id
from penstock.kernel.randomness import jitter
from penstock.ports.audit import LEAVES_MAX, Ahead, Audit, LogHead, LogKey
from penstock.ports.journal import Journal
from penstock.ports.records import RunKey
from penstock.settings import Settings

LEASE_SECONDS = 10.0
"""How long a sealer that has died is waited for, at least."""
TRIES = 20
"""Of sealing at once, while others append to the same log."""

_logger = logging.getLogger("penstock.runs")


def read_key(path: Path | None) -> SigningKey:
    """The key in a file.

    Raises:
        AuditKeyMissing: none is set, or there is none in it.
    """
    if path is None:
        raise AuditKeyMissing("PENSTOCK_AUDIT_KEY_FILE is not set: there is no key to sign the audit log with")
    try:
        return SigningKey.from_pem(path.read_bytes())
    except OSError as error:
        raise AuditKeyMissing(f"the audit key {path} cannot be read: {error.strerror or error}") from error
    except (ValueError, TypeError) as error:
        raise AuditKeyMissing(f"{path} holds no Ed25519 key in PEM form without a password") from error


async def base_name(journal: Journal, settings: Settings) -> str:
    """The name of all logs of the journal: that of the first key's statement, else the setting's, else the database's.

    Raises:
        AuditKeyWrong: the setting has another name than the logs, or none that a log can have.
    """
    keys = await journal.audit.keys()
    wanted = settings.audit_origin
    if wanted and not is_name(wanted):
        raise AuditKeyWrong(
            f"PENSTOCK_AUDIT_ORIGIN is {wanted!r}, which no log can be named",
            hint="choose a name without spaces and without +, such as audit.example.com/penstock",
        )
    if keys:
        known = base_of(keys[0])
        if wanted and wanted != known:
            raise AuditKeyWrong(
                f"the audit logs here are named {known!r}; PENSTOCK_AUDIT_ORIGIN says {wanted!r}",
                hint=f"set PENSTOCK_AUDIT_ORIGIN to {known}, or unset it",
            )
        return known
    return wanted or f"penstock/{(await journal.retention.origin()).hex}"


async def open_signer(journal: Journal, settings: Settings) -> Signer:
    """What the logs are sealed with now; the first key is made known here.

    Raises:
        AuditKeyMissing, AuditKeyWrong: there is no key, or it is another one than the logs'.
    """
    key = read_key(settings.audit_key_file)
    base = await base_name(journal, settings)
    keys = await journal.audit.keys()
    if not keys:
        await journal.audit.add_key(LogKey(1, key.public, first_statement(base, key)))
        keys = await journal.audit.keys()
    check_history(keys, base)
    if keys[-1].public != key.public:
        retired = next((item.number for item in keys if item.public == key.public), None)
        if retired is not None:
            raise AuditKeyWrong(
                f"the key in {settings.audit_key_file} is key {retired} of the audit logs, which was retired",
                hint="use the key that followed it",
            )
        raise AuditKeyWrong(f"the key in {settings.audit_key_file} is not the one that signs the audit logs here")
    return Signer(key, base, keys)


def check_history(keys: Sequence[LogKey], base: str) -> None:
    """Check that each key was brought in by the one before it.

    Raises:
        AuditKeyWrong: one was not.
    """
    previous: bytes | None = None
    for key in keys:
        try:
            public = check_statement(key.statement, base, previous)
        except NoteInvalid as error:
            raise AuditKeyWrong(f"key {key.number} of the audit logs has no right to be it: {error.what}") from error
        if public != key.public:
            raise AuditKeyWrong(f"key {key.number} of the audit logs is another one than its statement says")
        previous = key.public


async def seal_now(journal: Journal, settings: Settings, tenant: str, runs: Sequence[UUID] | None = None) -> int:
    """Seal what some runs of a tenant, or all that a look finds, have recorded, without waiting for the sealer; how
    many leaves were written.

    Raises:
        AuditKeyMissing, AuditKeyWrong: it cannot be sealed from here.
    """
    signer = await open_signer(journal, settings)
    audit, written = journal.audit, 0
    for _ in range(TRIES):
        ahead = await _ahead_of(audit, tenant, runs)
        if ahead:
            written += await seal(audit, signer, ahead, await journal.now())
        elif tenant in await audit.heads([tenant]):
            return written
        else:
            written += await _begin(audit, signer, tenant, await journal.now())
    raise NotSealed(f"others appended to the audit log of {tenant!r} all the time", hint="try again")


async def _begin(audit: Audit, signer: Signer, tenant: str, now_us: int) -> int:
    """A log without leaves begins with the statements of its keys."""
    growth = await grow_log(audit, signer, tenant, LogHead(), [], now_us)
    return len(growth.leaves) if (await audit.grow([growth], CHECKPOINTS_KEPT))[0] else 0


async def _ahead_of(audit: Audit, tenant: str, runs: Sequence[UUID] | None) -> list[Ahead]:
    found = (await audit.ahead([], LEAVES_MAX)).ahead if runs is None else []
    ahead = [item for item in found if item.tenant == tenant]
    return ahead if runs is None else await audit.ahead_of(tenant, runs)


class Sealing:
    """The duty of a worker: seals when it is its turn."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._journal = services.journal
        self._holder = new_id(services.clock)
        self._seen: Sequence[RunKey] = ()
        self._said = ""

    async def run(self) -> None:
        """Seal again and again, until cancelled. Without a key set, nothing is sealed from here."""
        settings = self._services.settings
        if settings.audit_key_file is None:
            return
        while True:
            pause = settings.audit_seal_seconds
            try:
                if await self.look():
                    continue
            except JournalError as error:
                self._say(f"the audit log cannot be sealed: {error.what}")
                pause += jitter(0, pause)
            except Exception:
                _logger.exception("sealing the audit log failed")
            await self._services.clock.sleep(pause)

    async def look(self) -> bool:
        """Seal what has gone on, if it is this worker's turn; True when there is more to be sealed at once."""
        audit, settings = self._journal.audit, self._services.settings
        turn = await audit.take_turn(self._holder, max(LEASE_SECONDS, 3 * settings.audit_seal_seconds))
        if not turn.mine:
            return False
        try:
            signer = await open_signer(self._journal, settings)
        except (AuditKeyMissing, AuditKeyWrong) as error:
            self._say(error.what)
            await audit.report(f"{error.what} [{error.code}]")
            await audit.end_turn(self._holder)  # another worker may have the right key
            return False
        found = await audit.ahead(self._seen, LEAVES_MAX)
        await seal(audit, signer, found.ahead, turn.now)
        await audit.looked(found.place)
        await audit.report("")
        self._seen = found.running
        self._say("")
        return found.more

    def _say(self, words: str) -> None:
        """Log what has changed, not each time that it is so."""
        if words and words != self._said:
            _logger.warning("%s", words)
        self._said = words
