"""Tool calls. An effect starts when its intent commits."""

from penstock.events.cache import CacheSource
from penstock.events.envelope import Amount, Event, Failure, RuleVerdict
from penstock.events.filtered import Filtered


class ToolIntent(Event, tag="tool.intent"):
    """A tool is about to be called with ``payloads.args``."""

    tool: str
    digest: str  # of the arguments: what replay compares
    effect: str = "write"  # read | write
    risk: str = "medium"  # low | medium | high
    in_doubt: str = "escalate"  # idempotent | keyed | confirm | escalate
    call_id: str = ""  # the model's own id of the call
    attempt: int = 1
    key: str = ""  # idempotency key handed to the tool
    allowance: int = 0  # microseconds within which the call may start, from this intent's commit
    timeout: int = 0  # microseconds
    reserved: Amount = Amount()
    approval: str = ""
    passed: list[str] = []
    verdicts: list[RuleVerdict] = []
    because: str = ""  # of an attempt that is not the first: retry | in_doubt | hedge
    shape: str = ""  # keyed hashes of the arguments' leaves, to see which calls are nearly the same
    repeatable: bool = False  # its author says that asking again with the same arguments is meaningful
    charged: list[int] = []  # accounts of budgets above the task that it is reserved in
    labels: dict[str, str] = {}  # who answers for the tool, as its author declared: owner, reviewed, ...
    cache: str = ""  # hit: nothing is called; miss: the cache was asked in vain; "": it was not asked
    filtered: list[Filtered] = []  # what was found in the arguments before they were used
    binding: str = ""  # what takes the tool's place in its environment: module:tool@digest; "" = nothing does


class ToolDoubted(Event, tag="tool.doubted"):
    """An intent has no outcome and may or may not have had its effect."""

    tool: str
    attempt: int = 1
    cause: str = ""  # crash | timeout | cancelled | connection | repeat (one that certainly did nothing)
    way: str = ""  # idempotent | keyed | confirm | escalate
    settle_at: int = 0  # microseconds since the epoch, database clock: not settled before


class ToolOutcome(Event, tag="tool.outcome"):
    """What came of it. ``payloads.result`` is what the tool returned."""

    attempt: int = 1
    status: str = "ok"  # ok | error | not_started | happened | did_not_happen
    used: Amount = Amount()
    latency: int = 0  # microseconds
    again: bool = False  # another attempt follows; the agent has not seen this one
    retry_at: int = 0  # microseconds since the epoch, the store's clock: it is not made before
    settled_by: str = ""  # for an effect that was in doubt: repeat | confirm | person | late
    failure: Failure | None = None
    facts: str = ""  # keyed hashes of the result's leaves, to see what of it was known
    source: CacheSource | None = None  # the call that this result was given by, when it comes from the cache
    filtered: list[Filtered] = []  # what was found in the result before it was released
    taint: dict[str, str] = {}  # what the agent reads with it from outside: source → kind
