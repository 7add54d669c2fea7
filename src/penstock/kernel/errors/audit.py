"""What the audit log refuses, and what it cannot do."""

from penstock.kernel.errors.journal import ChainBroken
from penstock.kernel.errors.usage import UsageError


class NoteInvalid(UsageError):
    """A text is no signed note, checkpoint, public key or signature line, or is damaged."""

    code = "note_invalid"
    hint = "hand it over as it was given out, with its line ends: see docs/how-to/audit.md"


class CheckpointForeign(UsageError):
    """A checkpoint is of another log: another database's, or another tenant's."""

    code = "checkpoint_foreign"
    hint = "hold it against the log that its first line names"


class SignatureRefused(UsageError):
    """A signature is of none of the keys or witnesses that are known here, or does not fit what it is said to sign."""

    code = "signature_refused"
    hint = "name witnesses' public keys in PENSTOCK_AUDIT_WITNESSES"


class NotSealed(UsageError):
    """What is asked for is not in the audit log, or not yet."""

    code = "not_sealed"
    hint = "try again in a moment; `penstock doctor` says whether the log is being sealed"


class AuditKeyMissing(UsageError):
    """There is no key to sign the audit log with: none is set, or its file cannot be read or holds none."""

    code = "audit_key_missing"
    hint = "make one: penstock audit keygen FILE; then set PENSTOCK_AUDIT_KEY_FILE to it"


class AuditKeyWrong(UsageError):
    """The key, or the log's name, is another one than the log's. Nothing is sealed with it, and nothing is lost."""

    code = "audit_key_wrong"
    hint = "use the log's own key, or go over to this one with the old one at hand: penstock audit rotate"


class LogForked(ChainBroken):
    """A checkpoint that the log once gave out is not a state that the log has been in: its history was rewritten."""

    code = "log_forked"
    hint = "keep the checkpoint, it is the evidence; compare the log with a backup"
