"""Model calls: every attempt is an intent and an outcome of its own."""

from penstock.events.cache import CacheSource
from penstock.events.envelope import Amount, Event, Failure, RuleVerdict
from penstock.events.filtered import Filtered

ANSWERED = ("ok", "cached")
"""How outcomes end that hold an answer."""


class ModelIntent(Event, tag="model.intent"):
    """A call to a model is about to be made.

    ``payloads.messages`` are the messages that follow the first ``prefix_count`` ones of the prompt of the call at
    ``prefix_path``: a conversation is never stored twice.
    """

    model: str
    digest: str  # of messages, tools and settings: what replay compares
    attempt: int = 1
    purpose: str = "step"  # step | final | repair | and what an agent names
    reserved: Amount = Amount()
    max_tokens: int = 0
    timeout: int = 0  # microseconds
    prefix_path: str = ""
    prefix_count: int = 0
    tool_choice: str = ""
    offered: str = ""  # digest of the tool definitions offered
    passed: list[str] = []  # rules that allowed without a remark, "name@version"
    verdicts: list[RuleVerdict] = []
    because: str = ""  # of an attempt that is not the first: retry | in_doubt | hedge | fallback
    instead_of: str = ""  # the model that this one stands in for, after its last attempt failed
    shortened: bool = False  # the last answer's prompt had to leave out the middle of the conversation
    level: int = 0  # 50: told that it repeats itself; 70: to wrap up; 90, or 91 in a spiral: tools are forbidden
    heard: bool = False  # somebody outside said something since the model's last answer
    charged: list[int] = []  # accounts of budgets above the task that it is reserved in
    filtered: list[Filtered] = []  # what was found in the prompt before it was sent
    cache: str = ""  # hit: nothing is called; miss: the cache was asked in vain; "": it was not asked


class ModelOutcome(Event, tag="model.outcome"):
    """What came of it. ``payloads.response`` is the answer as one neutral message."""

    attempt: int = 1
    status: str = "ok"  # ok | error | lost | not_started | cached
    used: Amount = Amount()
    at_maximum: bool = False  # charged at the reservation: the real figure is not known
    latency: int = 0  # microseconds
    finish: str = ""  # stop | length | tool_calls | content_filter
    provider_id: str = ""
    failure: Failure | None = None
    simulated: bool = False
    again: bool = False  # another attempt follows; the agent has not seen this one
    retry_at: int = 0  # microseconds since the epoch, the store's clock: it is not made before
    said: str = ""  # a keyed hash of the answer's words, to see which are said again
    source: CacheSource | None = None  # of a cached one: the call that was made and paid for
    saved_nano: int = 0  # of a cached one: what that call had cost
    saved_tokens: int = 0  # and how many tokens it had used
    price: str = ""  # what it was rated at, as `penstock.ports.price.Price.text` writes it; "" = not by a price
    filtered: list[Filtered] = []  # what was found in the answer before it was released
