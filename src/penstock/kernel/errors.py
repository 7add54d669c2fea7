"""Every error Penstock raises, in one tree.

An error has a stable ``code`` (the same in the command line, in HTTP answers and in a run's outcome), a sentence that
says what happened, and a ``hint`` that says what to do. ``fields`` carries the values a program may want.

    PenstockError
    ├── UsageError            the caller's input is wrong; nothing was done
    ├── JournalError          the journal refused or could not be reached
    ├── GateError             a gate refused a call, or the call itself failed
    ├── ReplayError           the agent's code did not repeat what the tape holds
    └── RunStopped            the run is over; raised only at the edges, never inside an agent
"""

from typing import Any, ClassVar


class PenstockError(Exception):
    """Base of all errors of this package."""

    code: ClassVar[str] = "penstock_error"
    hint: ClassVar[str] = ""

    def __init__(self, what: str, *, hint: str | None = None, **fields: Any) -> None:
        super().__init__(what)
        self.what = what
        self.advice = self.hint if hint is None else hint
        self.fields = fields

    def __str__(self) -> str:
        return f"{self.what} [{self.code}]" + (f"\n  hint: {self.advice}" if self.advice else "")


class UsageError(PenstockError):
    """The caller's input is wrong; nothing was done."""

    code = "usage"


class SettingUnknown(UsageError):
    """A ``PENSTOCK_*`` variable that names no setting."""

    code = "setting_unknown"
    hint = "see docs/reference/settings.md for the settings there are"


class SettingInvalid(UsageError):
    """A setting whose value cannot be read or lies outside its bounds."""

    code = "setting_invalid"


class AgentUnknown(UsageError):
    """No agent of that name is registered here."""

    code = "agent_unknown"
    hint = "name it as module:attribute, or start the process with the module that defines it"


class AgentInvalid(UsageError):
    """An agent's definition contradicts itself."""

    code = "agent_invalid"


class ToolInvalid(UsageError):
    """A tool's definition is incomplete or contradicts itself."""

    code = "tool_invalid"


class ModelUnknown(UsageError):
    """No provider answers to that model name."""

    code = "model_unknown"
    hint = "write it as provider:model, for example openai:gpt-5-mini, or pass a model object"


class ProviderInvalid(UsageError):
    """A provider is not configured (no key) or cannot be driven safely (it retries by itself)."""

    code = "provider_invalid"


class PriceUnknown(UsageError):
    """A money budget meets a model whose price is not known."""

    code = "price_unknown"
    hint = "add the model's price to the file that PENSTOCK_PRICES_FILE names, or use a budget without money"


class BudgetInvalid(UsageError):
    """A budget that cannot be kept, for example one too small to hold a final answer."""

    code = "budget_invalid"


class InputInvalid(UsageError):
    """An input or a tag that cannot be stored: NUL, lone surrogate, NaN, infinity, too deep, too large a number."""

    code = "input_invalid"


class InputTooLarge(UsageError):
    """An input over its named bound."""

    code = "input_too_large"


class RunUnknown(UsageError):
    """No such run for this tenant."""

    code = "run_unknown"


class IdempotencyConflict(UsageError):
    """The idempotency key was used before with another agent or input."""

    code = "idempotency_conflict"
    hint = "use a new key for a new request; repeat the exact request to get the first one's run"


class ApprovalUnknown(UsageError):
    """No such approval for this tenant."""

    code = "approval_unknown"


class ApprovalDecided(UsageError):
    """The approval was decided, expired or withdrawn before this decision arrived."""

    code = "approval_decided"


class ApprovalMismatch(UsageError):
    """The decision was bound to other arguments than the ones that wait."""

    code = "approval_mismatch"
    hint = "look at the approval again and decide on what it says now"


class WorkerNameTaken(UsageError):
    """A live worker already has that name."""

    code = "worker_name_taken"
    hint = "give each worker its own --name, or wait until the other's lease ends"


class NoRuntime(UsageError):
    """`agent.run` was called where nothing can run it."""

    code = "no_runtime"
    hint = "use `async with penstock.open()`, or `penstock.wiring.open_in_memory()` in a unit test"


class TagInvalid(UsageError):
    """A tag whose key is unknown or whose value is not acceptable."""

    code = "tag_invalid"
    hint = "tags are customer, feature, task_type, and your own with keys like x_team"


class AnswerInvalid(UsageError):
    """A decision that does not answer the question that was asked."""

    code = "answer_invalid"


class RunFault(PenstockError):
    """Why the engine ends a run by itself; becomes the run's outcome whatever the agent's code does."""

    code = "run_fault"

    def __init__(self, outcome: str, code: str, what: str, *, needed: list[str] | None = None) -> None:
        super().__init__(what)
        self.outcome = outcome
        self.fault_code = code
        self.needed = needed or []


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


class PayloadMissing(JournalError):
    """A payload that an event refers to is not in the store: erased, or lost."""

    code = "payload_missing"


class GateError(PenstockError):
    """A gate refused a call, or the call itself failed."""

    code = "gate"


class CallDenied(GateError):
    """A rule denied the call; nothing was done."""

    code = "call_denied"


class ApprovalDenied(CallDenied):
    """A person denied the call, or nobody decided in time; nothing was done."""

    code = "approval_denied"


class CallFailed(GateError):
    """The call was made and failed for good."""

    code = "call_failed"


class ToolFailed(CallFailed):
    """The tool raised, or returned what cannot be stored."""

    code = "tool_failed"


class ToolResultInvalid(ToolFailed):
    """The tool ran, but what it returned has no plain form or is too large."""

    code = "tool_result_invalid"
    hint = "return plain values or pydantic models, and a reference to what is large instead of the thing itself"


class ToolTimeout(CallFailed):
    """The tool did not end within its time-out."""

    code = "tool_timeout"


class IsolationFull(CallFailed):
    """Every thread for synchronous reads is held by a call over its time-out; nothing was done."""

    code = "isolation_full"
    hint = "give those tools time-outs of their own on what they wait for, or make them async; restart this worker"


class ModelFailed(CallFailed):
    """The model could not be reached or gave no usable answer."""

    code = "model_failed"


class ChildFailed(CallFailed):
    """A child run ended without success."""

    code = "child_failed"


class OutputInvalid(GateError):
    """The model's final answer did not match the output type after the allowed repairs."""

    code = "output_invalid"


class GateMisused(GateError):
    """A gate was used from a task that is no branch of the run, or after the run had closed its gates."""

    code = "gate_misused"
    hint = "use run.gather or run.map for concurrency; asyncio.create_task and asyncio.gather are not replayable"


class GateCancelled(GateError):
    """A gate call was cancelled by something other than the engine, for example a bare asyncio.timeout."""

    code = "gate_cancelled"
    hint = "give the tool or the agent a time-out of its own instead of cancelling the call from outside"


class ReplayError(PenstockError):
    """The agent's code did not repeat what the tape holds."""

    code = "replay"


class Divergence(ReplayError):
    """The first call that differs from the tape, side by side."""

    code = "divergence"
    hint = "wrap clocks, randomness and I/O in run.now, run.random or run.record; or run the release that made the tape"


class RunStopped(PenstockError):
    """The run is over; raised to callers who wait for its result, never inside an agent."""

    code = "run_stopped"


class RunQuarantined(RunStopped):
    """The run is set aside for a person: its record cannot be repeated or read here, or workers died of it."""

    code = "run_quarantined"
    hint = "look at it with `penstock runs show`; when the cause is mended, `penstock runs release` lets it go on"


class Escalation(PenstockError):
    """Raised by an agent to hand the case to a person; ``penstock.escalate("not confident")`` raises it."""

    code = "escalated"
