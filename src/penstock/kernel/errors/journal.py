"""What the journal refused, could not do, or holds in a form that cannot be read."""

from typing import Any

from penstock.kernel.errors.base import PenstockError


class JournalError(PenstockError):
    """The journal refused or could not be reached."""

    code = "journal"


class JournalUnavailable(JournalError):
    """The database cannot be reached."""

    code = "journal_unavailable"
    hint = "run `penstock doctor`; nothing recorded is lost, and runs go on when it is back"


class JournalFull(JournalError):
    """The database cannot write: disk full."""

    code = "journal_full"
    hint = "free space on the database's disk; runs go on by themselves when it can write again"


class SchemaTooNew(JournalError):
    """The database was migrated by a newer Penstock."""

    code = "schema_too_new"
    hint = "upgrade this installation of penstock"


class SchemaBusy(JournalError):
    """The schema could not be brought up to date beside what workers do."""

    code = "schema_busy"
    hint = "nothing is half done: run it again, at a quieter time or after long transactions (see pg_stat_activity) end"


class NotFinalized(JournalError):
    """What was asked for is recorded in a form that workers of an older Penstock, which may still run, cannot read."""

    code = "not_finalized"
    hint = "when no older worker is left: penstock upgrade finalize; runs submitted before it keep their format"


class BackupFailed(JournalError):
    """A copy of the journal could not be written, or not be read back."""

    code = "backup_failed"


class ServerTooOld(JournalError):
    """The PostgreSQL server is older than what Penstock needs."""

    code = "server_too_old"
    hint = "use PostgreSQL 15 or newer, or unset PENSTOCK_DATABASE_URL to use the embedded server"


class EmbeddedServerError(JournalError):
    """The embedded PostgreSQL server could not be started."""

    code = "embedded_server"
    hint = "run `penstock doctor`, or set PENSTOCK_DATABASE_URL to use a PostgreSQL server of your own"


class EmbeddedFilesMissing(EmbeddedServerError):
    """The programs of the embedded PostgreSQL server are not installed."""

    code = "embedded_files_missing"
    hint = "reinstall penstock, or set PENSTOCK_DATABASE_URL to use a PostgreSQL server of your own"


class DataDirUnusable(EmbeddedServerError):
    """The data folder cannot be made, entered or written by the account that needs it."""

    code = "data_dir_unusable"
    hint = "set PENSTOCK_DATA_DIR to a folder that this account may write"


class DataVersionMismatch(EmbeddedServerError):
    """The data folder holds a database of another PostgreSQL major version."""

    code = "data_version_mismatch"


class ClaimLost(JournalError):
    """This worker no longer holds the run; another has gone on with it."""

    code = "claim_lost"


class ShareLost(JournalError):
    """What is granted to this process of a budget does not hold a call that is about to be made: its intent was not
    written. Internal: the gate asks for a share anew."""

    code = "share_lost"


class IntentRefused(JournalError):
    """A kill, cancel or pause covers the run: the intent was not written, and its call must not be made.

    ``stop`` is the stop that was met. Internal: the engine turns it into the run's outcome.
    """

    code = "intent_refused"

    def __init__(self, stop: Any) -> None:
        super().__init__(f"a {stop} covers the run", stop=str(stop))
        self.stop = stop


class EventTooLarge(JournalError):
    """An event over its named bound."""

    code = "event_too_large"


class EventUnreadable(JournalError):
    """A stored event of a kind or version that this installation cannot read."""

    code = "event_unreadable"
    hint = "upgrade this installation of penstock, or restore the row from a backup if it was damaged"


class ChainBroken(JournalError):
    """A stored event does not match the hash chain: it was changed, removed, added or moved."""

    code = "chain_broken"
    hint = "treat the run's record as tampered with; compare it with a backup or an external checkpoint"


class DocumentUnreadable(JournalError):
    """A document's content is missing, damaged, or not what was written: it is quarantined and nothing is guessed at.

    Also the code of the outcome ``escalated`` of a run that met it.
    """

    code = "document_unreadable"
    hint = "see `penstock documents history`; then restore an older version, or mend the cause and release it"


class PayloadMissing(JournalError):
    """A payload that an event refers to is not in the store: erased, or lost."""

    code = "payload_missing"


class RunPruned(JournalError):
    """A run's record is not in the journal any more: a retention policy archived or pruned it.

    ``fields`` has ``archive``, the name of the file that holds it; '' = none does.
    """

    code = "run_pruned"
    hint = "if it was archived: penstock runs replay ID --archive FILE"


class ArchiveInvalid(JournalError):
    """A file is no archive of runs, is cut off, or does not hold what its manifest says."""

    code = "archive_invalid"
    hint = "use another copy of the file"


class UsageBusy(JournalError):
    """Another process is counting what runs have spent."""

    code = "usage_busy"
    hint = "try again when it is done; a process that died is waited for as long as its lease lasts"


class RetentionBusy(JournalError):
    """Another process is archiving or pruning."""

    code = "retention_busy"
    hint = "try again when it is done; a process that died is waited for as long as its lease lasts"
