"""What the caller got wrong; nothing was done."""

from penstock.kernel.errors.base import PenstockError


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


class PolicyInvalid(UsageError):
    """A policy that cannot be read: nothing of it is in force. ``problems`` has each with file, line and column."""

    code = "policy_invalid"
    hint = "see docs/how-to/policies.md for the language"


class FiltersInvalid(UsageError):
    """Filters that contradict themselves, or name a kind, an action or a pattern that cannot be used."""

    code = "filters_invalid"
    hint = "see docs/how-to/filters.md for what can be said"


class ProverMissing(UsageError):
    """Something is to be proved of a policy, and the solver is not installed."""

    code = "prover_missing"
    hint = "pip install 'penstock[policy]'"


class ParquetMissing(UsageError):
    """A Parquet file is asked for, and what writes such files is not installed."""

    code = "parquet_missing"
    hint = "pip install 'penstock[parquet]', or ask for CSV"


class PriceUnknown(UsageError):
    """A money budget meets a model whose price is not known."""

    code = "price_unknown"
    hint = "add the model's price to the file that PENSTOCK_PRICES_FILE names, or use a budget without money"


class BudgetInvalid(UsageError):
    """A budget that cannot be kept, for example one too small to hold a final answer."""

    code = "budget_invalid"


class BudgetUnknown(UsageError):
    """There is no budget above the task of that name."""

    code = "budget_unknown"
    hint = "see `penstock budgets ls` for those there are"


class InputInvalid(UsageError):
    """An input or a tag that cannot be stored: NUL, lone surrogate, NaN, infinity, too deep, too large a number."""

    code = "input_invalid"


class InputTooLarge(UsageError):
    """An input over its named bound."""

    code = "input_too_large"


class SpanUnknown(UsageError):
    """The run has no call at that path."""

    code = "span_unknown"
    hint = "paths are those of the run's trace, such as 3 or 4.0.1"


class RunUnknown(UsageError):
    """No such run for this tenant."""

    code = "run_unknown"


class IdempotencyConflict(UsageError):
    """The idempotency key was used before with another agent or input."""

    code = "idempotency_conflict"
    hint = "use a new key for a new request; repeat the exact request to get the first one's run"


class InboxFull(UsageError):
    """The run was sent, or the name and key hold, as many events as are allowed."""

    code = "inbox_full"
    hint = "send fewer events, or raise PENSTOCK_EVENTS_MAX_PER_RUN or PENSTOCK_EVENTS_MAX_PER_KEY"


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


class ApprovalChanged(UsageError):
    """The question was changed since the decider saw it; ``fields["version"]`` is what it is now."""

    code = "approval_changed"
    hint = "look at the approval again and decide on what it says now"


class ApprovalExpired(UsageError):
    """The time to decide is over; the run is told that nobody did."""

    code = "approval_expired"
    hint = "submit the request again when it is still wanted"


class ApprovalWithdrawn(UsageError):
    """The run that asks is being killed or cancelled: nothing would come of the decision."""

    code = "approval_withdrawn"
    hint = "submit the request again when it is still wanted"


class ApprovalOwn(UsageError):
    """Nobody decides on what they asked for themselves."""

    code = "approval_own"
    hint = "ask somebody else to decide; where one person does both, PENSTOCK_APPROVALS_OWN=1 allows it"


class BreakerUnknown(UsageError):
    """This tenant has no breaker of that name."""

    code = "breaker_unknown"
    hint = "see `penstock breakers ls`"


class ControlUnknown(UsageError):
    """No such control for this tenant."""

    code = "control_unknown"


class RunIsOver(UsageError):
    """The run has ended: there is nothing to stop; ``fields["outcome"]`` is how."""

    code = "run_is_over"


class ScopeUnsupported(UsageError):
    """The scope cannot be stopped in this way, or at all."""

    code = "scope_unsupported"
    hint = "kill, pause and resume work on every scope; cancel works on a run"


class NotArmed(UsageError):
    """A stop wider than one run was not confirmed by typing the name of its scope."""

    code = "not_armed"
    hint = "send the scope's name as `armed`: the tenant's name, or for everything the environment's"


class RunNotEnded(UsageError):
    """The run has not ended, so it has no result, and cannot be run again."""

    code = "run_not_ended"
    hint = "wait for it: ?wait=SECONDS, or its events"


class SessionUnknown(UsageError):
    """No such session for this tenant."""

    code = "session_unknown"


class RunNotSetAside(UsageError):
    """The run is not quarantined, so there is nothing to let it out of."""

    code = "run_not_set_aside"
    hint = "see how it stands: `penstock runs show`"


class CursorInvalid(UsageError):
    """A cursor that no page gave."""

    code = "cursor_invalid"
    hint = "use the `next` of the page before as it is; leave it out for the first page"


class DocumentUnknown(UsageError):
    """No such document or version for this tenant, or a version whose content is gone."""

    code = "document_unknown"
    hint = "see `penstock documents ls` and `penstock documents history`"


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
    hint = "tags are customer, feature, task_type, user, kind, and your own with keys like x_team"


class AnswerInvalid(UsageError):
    """A decision that does not answer the question that was asked."""

    code = "answer_invalid"


class ScheduleInvalid(UsageError):
    """A schedule that cannot be kept to: a time pattern or zone that cannot be read, or one that never comes."""

    code = "schedule_invalid"


class ScheduleUnknown(UsageError):
    """No schedule of that name for this tenant."""

    code = "schedule_unknown"
    hint = "see `penstock schedules ls`"


class ScheduleExists(UsageError):
    """The tenant has a schedule of that name."""

    code = "schedule_exists"
    hint = "choose another name, or replace it: --replace, or replace=True"


class SchedulesFull(UsageError):
    """The tenant has as many schedules as it may have."""

    code = "schedules_full"
    hint = "remove some, or raise PENSTOCK_SCHEDULES_MAX"


class TriggerInvalid(UsageError):
    """A trigger that cannot be: a name, a bound, or a path into the event that cannot be read."""

    code = "trigger_invalid"


class TriggerUnknown(UsageError):
    """No trigger of that name for this tenant."""

    code = "trigger_unknown"
    hint = "see `penstock triggers ls`"


class TriggerExists(UsageError):
    """The tenant has a trigger of that name."""

    code = "trigger_exists"
    hint = "choose another name, or replace it: --replace, or replace=True"


class TriggersFull(UsageError):
    """The tenant, or the event, has as many triggers as it may have."""

    code = "triggers_full"
    hint = "remove some, or raise PENSTOCK_TRIGGERS_MAX or PENSTOCK_TRIGGERS_MAX_PER_EVENT"


class McpMissing(UsageError):
    """The official MCP package is not installed."""

    code = "mcp_missing"
    hint = "install it with Penstock: pip install 'penstock[mcp]'"


class McpConfigInvalid(UsageError):
    """A declaration of MCP servers, or the file of the MCP proxy, that cannot be."""

    code = "mcp_config_invalid"


class McpLockInvalid(UsageError):
    """The file of pinned MCP tools cannot be read, or was changed by hand."""

    code = "mcp_lock_invalid"
    hint = "write it anew with `penstock mcp --pin`, and look at what changes"


class McpToolInvalid(UsageError):
    """A tool of an MCP server whose name, description or schema cannot be accepted."""

    code = "mcp_tool_invalid"


class McpUnreachable(UsageError):
    """An MCP server could not be started or reached."""

    code = "mcp_unreachable"


class GatewayInvalid(UsageError):
    """The gateway's configuration cannot be read, or names what there is not."""

    code = "gateway_invalid"
    hint = "docs/how-to/gateway.md shows a whole configuration"


class KeyBound(UsageError):
    """What a key of the gateway is bound to cannot be, or the key is bound to something else already."""

    code = "key_bound"
    hint = "a key keeps its binding for life: make another with `penstock keys add NAME --gateway`"
