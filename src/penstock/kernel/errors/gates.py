"""A call that a gate refused, or that failed."""

from penstock.kernel.errors.base import PenstockError


class GateError(PenstockError):
    """A gate refused a call, or the call itself failed."""

    code = "gate"


class CallDenied(GateError):
    """A rule denied the call; nothing was done."""

    code = "call_denied"


class BreakerOpen(CallDenied):
    """A circuit breaker that covers the call is open; nothing was done."""

    code = "breaker_open"
    hint = "see `penstock breakers show` for what tripped it and when it lets probes through, or reset it"


class RefusedLate(GateError):
    """Something changed while a call's intent was on its way; nothing was written. The gate asks again."""

    code = "refused_late"


class BreakerTripped(RefusedLate):
    """A circuit breaker tripped while a call's intent was on its way; nothing was written. The gate asks again."""

    code = "breaker_tripped"


class ToolStopped(RefusedLate):
    """Somebody stopped the tool while the intent of a call was on its way; nothing was written. The gate asks again,
    and then denies the call or lets it wait."""

    code = "tool_stopped"
    hint = "see `penstock resume --tool` for how to let it be called again"


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


class McpToolError(ToolFailed):
    """A tool of an MCP server answered that it failed."""

    code = "mcp_tool_error"


class McpRefused(ToolFailed):
    """An MCP server answered a call with a protocol error instead of a result."""

    code = "mcp_refused"


class McpToolChanged(ToolFailed):
    """An MCP server's tool is not the one that was agreed to: it is gone, or its description or schema has changed.
    Nothing was called."""

    code = "mcp_tool_changed"
    hint = "look at what it says now, and agree to it: `penstock mcp --pin`, or a restart where nothing is pinned"


class TokenUnknown(ToolFailed):
    """A token that stands for a value was to be turned back into it, and nothing is kept for it under the run's data
    subject: it was erased, belongs to another subject, or was made up. Nothing was called."""

    code = "token_unknown"
    hint = "runs that hand tokens to each other must be of one data subject: name it when submitting"


class IsolationFull(CallFailed):
    """Every thread for synchronous reads is held by a call over its time-out; nothing was done."""

    code = "isolation_full"
    hint = "give those tools time-outs of their own on what they wait for, or make them async; restart this worker"


class ModelFailed(CallFailed):
    """The model could not be reached or gave no usable answer."""

    code = "model_failed"


class UsageUnreadable(CallFailed):
    """What a provider says a call used is missing, or cannot be; the call was paid for all the same."""

    code = "usage_unreadable"
    hint = "the most that the call could have used is charged, and marked as such; see `penstock costs reconcile`"


class ChildFailed(CallFailed):
    """A child run ended without success."""

    code = "child_failed"


class OutputInvalid(GateError):
    """The model's final answer did not match the output type after the allowed repairs."""

    code = "output_invalid"


class TimedOut(GateError):
    """What an agent did under `run.timeout` took longer than it had, and was cut short.

    ``fields["took_effect"]`` names the tools whose writes took effect all the same.
    """

    code = "timed_out"
    hint = "catch it to go on without the result, or allow more seconds"


class WaitFailed(GateError):
    """What a run waits for cannot come: the other run is not known, or ended without sending it."""

    code = "wait_failed"


class WaitWithheld(WaitFailed):
    """The event came, and the filters did not let its value through; nothing of that is kept."""

    code = "filter_blocked"


class WaitCycle(WaitFailed):
    """The call would have closed a circle of runs that wait for each other for ever; ``fields["circle"]`` names them.

    The rule: the call that would add the last edge fails, the others go on waiting.
    """

    code = "wait_cycle"
    hint = "wait with a time-out, or let one of these runs go on without the other; see `penstock runs waits`"


class DocumentConflict(GateError):
    """A document has another version than the one it was to be written over; nothing was written.

    ``fields["version"]`` is the version that stands there.
    """

    code = "document_conflict"
    hint = "read it again and write what follows from that, or use `update`, which does so"


class GateMisused(GateError):
    """A gate was used from a task that is no branch of the run, or after the run had closed its gates."""

    code = "gate_misused"
    hint = "use run.gather or run.map for concurrency; asyncio.create_task and asyncio.gather are not replayable"


class GateCancelled(GateError):
    """A gate call was cancelled by something other than the engine, for example a bare asyncio.timeout."""

    code = "gate_cancelled"
    hint = "give the tool or the agent a time-out of its own instead of cancelling the call from outside"
