"""What the engine asks of a store about the queue: who may come in, who comes first, and how long it takes.

How runs are ordered is said in ``docs/how-to/queues.md``; both stores pass `tests/contract/queue_suite.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from penstock.kernel.errors import InputInvalid, QueueFull
from penstock.ports.records import Status, Stop

UNIT = 1_000_000
"""How far one run advances the virtual time of a customer of weight 1."""
PRIORITY_UNIT = 1000 * UNIT
"""The head start that one level of priority is worth: a thousand runs of each customer."""
WEIGHT_MIN, WEIGHT_MAX = 0.01, 1000.0
RECOUNT_SECONDS = 1.0
"""A queue that looks full is counted at most this often."""
BUCKET_SECONDS = 10
"""A pace is what the present and the last stretch of this length say."""
BACKLOG_SECONDS = 1.0
"""A pace counts as the workers' when the run claimed last had waited for as long: else there was too little to do."""
RETRY_MIN_SECONDS, RETRY_MAX_SECONDS = 1.0, 3600.0
RETRY_UNKNOWN_SECONDS = 60.0
LIST_MAX = 1000


@dataclass(slots=True, frozen=True)
class Order:
    """A run that asks to be let into the queue."""

    tenant: str
    agent: str
    release: str
    customer: str = ""  # the tag; "" = the tenant itself
    priority: int = 0
    key: str | None = None
    session: str = ""
    max_wait: int = 0  # microseconds; 0 = any wait will do


@dataclass(slots=True, frozen=True)
class Bounds:
    """Runs that may be queued at a time."""

    per_agent: int  # of one tenant
    per_customer: int  # of one agent


@dataclass(slots=True, frozen=True)
class Depth:
    """How things stand with one customer's runs of one agent. ``customer`` "" = those without the tag."""

    tenant: str
    agent: str
    customer: str
    queued: int
    behind: int  # of these, those that wait behind another run of their session
    running: int
    parked: int
    quarantined: int
    oldest: int | None  # when the oldest of the queued ones was submitted, microseconds since the epoch
    weight: float
    rate: float  # queued runs that are taken in a second, of late
    expected_seconds: float | None  # the wait of one submitted now; None: nothing was taken of late


@dataclass(slots=True, frozen=True)
class HeldSession:
    """A session behind whose run others wait."""

    tenant: str
    session: str
    holder: UUID
    status: Status
    stop: Stop | None
    code: str
    behind: int  # at most LIST_MAX are counted
    since: int  # when the first of those behind was submitted, microseconds since the epoch

    @property
    def blocked(self) -> bool:
        """Whether it does not go on by itself: its run is set aside or paused."""
        return self.status is Status.QUARANTINED or self.stop is Stop.PAUSE


class Queue(Protocol):
    """Admission, order and state of the queue."""

    async def admit(self, orders: Sequence[Order], bounds: Bounds) -> list[int | None]:
        """Let all in, or none. The ranks to create them with; None for repeats of a key and for those that wait behind
        another run of their session. Never more than the bounds are let in, but for submissions that are under way
        while a full queue is counted, and children of runs, which are never refused and count; a queue that has become
        shorter may look full for `RECOUNT_SECONDS`.

        Raises:
            QueueFull: a bound is reached, or the expected wait is longer than an order's ``max_wait``.
        """
        ...

    async def depths(self, tenant: str | None = None, agent: str | None = None, limit: int = LIST_MAX) -> list[Depth]:
        """The queues that are not empty, the longest first, at most ``limit``. Reads a row for each unended run."""
        ...

    async def sessions(self, tenant: str | None = None, limit: int = LIST_MAX) -> list[HeldSession]:
        """Sessions behind whose run others wait, by name, at most ``limit``."""
        ...

    async def set_weight(self, tenant: str, customer: str, weight: float) -> None:
        """Give a customer that many shares of the runs taken, for what is submitted from now on; 1 is everybody's.

        Raises:
            InputInvalid: outside ``WEIGHT_MIN`` to ``WEIGHT_MAX``.
        """
        ...

    async def weights(self, tenant: str) -> dict[str, float]:
        """The weights that are not 1, by customer."""
        ...


def queue_full(
    order: Order,
    *,
    why: str,
    count: int,
    queued: int,
    bound: int | None,
    rate: float,
    expected_seconds: float | None,
) -> QueueFull:
    """The refusal of ``count`` orders, in words and with its figures.

    Args:
        why: ``"agent"``, ``"customer"`` (whose queue is full) or ``"wait"``.
        queued: runs before it in that queue.
        rate: runs a second that leave that queue.
    """
    whose = f"agent {order.agent}" + (f" for customer {order.customer}" if why != "agent" and order.customer else "")
    wait = "nothing was taken from it of late" if expected_seconds is None else f"about {expected_seconds:,.0f} s"
    if why == "wait":
        over = None if expected_seconds is None else expected_seconds - order.max_wait / 1e6
        words = f"a run of {whose} would wait ({wait}) longer than the {order.max_wait / 1e6:,.1f} s it may"
    else:
        over = (queued + count - (bound or 0)) / rate if rate > 0 else None
        words = f"the queue of {whose} holds {queued:,} of at most {bound:,} runs; expected wait: {wait}"
    retry = RETRY_UNKNOWN_SECONDS if over is None else min(max(over, RETRY_MIN_SECONDS), RETRY_MAX_SECONDS)
    return QueueFull(
        words,
        hint=f"try again in {retry:,.0f} s, start more workers, or look at `penstock queue ls`",
        why=why,
        agent=order.agent,
        customer=order.customer,
        retry_after_seconds=round(retry, 3),
        place=queued + 1,
        bound=bound,
        rate=rate,
        expected_wait_seconds=None if expected_seconds is None else round(expected_seconds, 3),
    )


def same_queue(order: Order, other: Order, why: str) -> bool:
    """Whether two orders count for the queue that is full."""
    return (order.tenant, order.agent) == (other.tenant, other.agent) and (
        why == "agent" or order.customer == other.customer
    )


def check_weight(weight: float) -> None:
    """Refuse a weight that is out of bounds.

    Raises:
        InputInvalid: it is.
    """
    if not WEIGHT_MIN <= weight <= WEIGHT_MAX:
        raise InputInvalid(f"the weight {weight:g} is outside its bounds, {WEIGHT_MIN:g} to {WEIGHT_MAX:g}")


def expected_wait(queued: int, rate: float, seconds: float | None) -> float | None:
    """The wait to show of a queue: None when there are runs and none is taken; 0 when a new one would be the next."""
    if queued and not rate:
        return None
    return seconds or 0.0
