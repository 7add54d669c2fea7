"""Exit codes. They are kept: scripts depend on them."""

from enum import IntEnum

from penstock.kernel.errors import (
    ChainBroken,
    EmbeddedServerError,
    JournalError,
    JournalFull,
    JournalUnavailable,
    PenstockError,
    SchemaTooNew,
    ServerTooOld,
    UsageError,
)


class ExitCode(IntEnum):
    """What the process says of itself when it ends."""

    OK = 0
    FAILED = 1
    USAGE = 2
    JOURNAL = 3
    CHAIN = 4
    INTERNAL = 70
    INTERRUPTED = 130


MEANINGS: dict[ExitCode, str] = {
    ExitCode.OK: "Done. For `run`: the run succeeded. For `worker`: it was told to stop, and has drained.",
    ExitCode.FAILED: "It did not work out: a run's outcome is not `succeeded`, a replay diverged, a kill is "
    "not sealed, a check of `doctor` failed, or an error that is none of those below.",
    ExitCode.USAGE: "The command line, a setting, an input or an id is wrong; nothing was done.",
    ExitCode.JOURNAL: "The journal's database cannot be started, reached or used.",
    ExitCode.CHAIN: "A stored event or payload is not what was recorded.",
    ExitCode.INTERNAL: "A bug in Penstock (the error is on standard error), or a worker that ended itself because its "
    "event loop was blocked.",
    ExitCode.INTERRUPTED: "Interrupted with Ctrl-C. A run that was being waited for goes on when a worker takes it.",
}

_NO_JOURNAL = (JournalUnavailable, JournalFull, EmbeddedServerError, SchemaTooNew, ServerTooOld)


def exit_code_of(error: PenstockError) -> ExitCode:
    """The exit code that an error ends the process with."""
    if isinstance(error, UsageError):
        return ExitCode.USAGE
    if isinstance(error, ChainBroken):
        return ExitCode.CHAIN
    if isinstance(error, _NO_JOURNAL) or type(error) is JournalError:
        return ExitCode.JOURNAL
    return ExitCode.FAILED
