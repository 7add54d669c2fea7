"""What this process was granted of one account, and what it has reserved from that."""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from penstock.ports.budgets import UNLIMITED, Budget, Charge, Standing, Triple

if TYPE_CHECKING:
    from uuid import UUID


class Share:
    """The holder's own view of its row in the store. It never thinks that it has more than the row says: what is
    reserved counts at once, and what is given back only when that is durable."""

    __slots__ = (
        "account",
        "budget",
        "free_calls",
        "free_nano",
        "free_tokens",
        "granted",
        "heard_ns",
        "holder",
        "open",
        "standing",
        "tenant",
        "touched",
        "until",
        "used_ns",
        "waiting",
        "wanted",
        "who",
    )

    def __init__(self, tenant: str, account: int, holder: "UUID") -> None:
        self.tenant = tenant
        self.account = account
        self.holder = holder
        self.budget: Budget | None = None
        self.who: tuple[str, ...] = ()
        self.until = 0  # when its period ends, microseconds; 0 = never
        self.granted: Triple = (0, 0, 0)
        self.free_nano = self.free_tokens = self.free_calls = 0
        self.waiting: deque[Waiter] = deque()
        self.standing: Standing | None = None
        self.heard_ns = 0  # when the store said so, by the clock since boot
        self.wanted = False
        self.touched = False  # since the store was asked
        self.open = 0  # holds that are not settled
        self.used_ns = 0

    @property
    def free(self) -> Triple:
        return self.free_nano, self.free_tokens, self.free_calls

    @property
    def taken(self) -> Triple:
        """What is spent or reserved of what was granted."""
        nano, tokens, calls = self.granted
        return nano - self.free_nano, tokens - self.free_tokens, calls - self.free_calls

    def add(self, nano: int, tokens: int, calls: int) -> None:
        self.free_nano += nano
        self.free_tokens += tokens
        self.free_calls += calls

    def grant(self, granted: Triple) -> None:
        """So much is granted in all."""
        before, self.granted = self.granted, granted
        self.add(granted[0] - before[0], granted[1] - before[1], granted[2] - before[2])

    def give_up(self) -> Triple:
        """Nothing that is free may be used from now on; what has to be kept."""
        left = [have - max(0, free) for have, free in zip(self.granted, self.free, strict=True)]
        kept = [
            UNLIMITED if self.budget is not None and not limit else part
            for part, limit in zip(left, self.budget.limits if self.budget else (1, 1, 1), strict=True)
        ]
        self.grant((min(self.granted[0], kept[0]), min(self.granted[1], kept[1]), min(self.granted[2], kept[2])))
        return kept[0], kept[1], kept[2]

    def has_some(self) -> bool:
        """Whether something is free that others could use."""
        limits = self.budget.limits if self.budget is not None else (1, 1, 1)
        return any(limit and free > 0 for limit, free in zip(limits, self.free, strict=True))


class Cover:
    """The shares that a call is reserved from: one of each budget that covers it. ``until``: microseconds."""

    __slots__ = ("counting", "money", "shares", "until")

    def __init__(self, shares: list[Share], until: int) -> None:
        self.shares = shares
        self.until = until
        limits = [(share, share.budget.limits if share.budget is not None else (0, 0, 0)) for share in shares]
        self.counting = [share for share, limit in limits if limit[2]]
        """Those that limit calls: they count calls of tools too."""
        self.money = any(limit[0] for _, limit in limits)


class Hold:
    """A reservation from some shares. It ends once: released, or handed to the event that makes it durable."""

    __slots__ = ("amount", "live", "shares")

    def __init__(self, shares: list[Share], amount: Triple) -> None:
        self.shares = shares
        self.amount = amount
        self.live = True

    @property
    def accounts(self) -> list[int]:
        return [share.account for share in self.shares]

    def charges(self) -> list[Charge]:
        """What its intent charges."""
        nano, tokens, calls = self.amount
        return [Charge(share.account, share.holder, nano, tokens, calls) for share in self.shares]


@dataclass(slots=True, eq=False)
class Waiter:
    """A call in line for room. ``ready`` gets a `Hold`, a `Refusal`, or None: try again."""

    cover: Cover
    amount: Triple
    give_up_ns: int
    ready: "asyncio.Future[Hold | Refusal | None]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


@dataclass(slots=True, frozen=True)
class Refusal:
    """Why a call is not made: account of ``budget`` cannot hold ``part`` (0 nano-dollars, 1 tokens, 2 calls) of it.

    ``spent``: for good, as long as the limit and the period last; else calls under way hold what it would need, and
    have held it for as long as a call waits.
    """

    budget: Budget
    share: Share
    part: int
    asked: int
    left: int
    until: int
    spent: bool


def take(cover: Cover, amount: Triple, first: "Share | None" = None) -> Hold | Share:
    """Reserve from all shares, or from none: then the one that does not hold it.

    Nobody passes those who wait, except ``first``'s first in line.
    """
    nano, tokens, calls = amount
    shares = cover.shares if nano or tokens else cover.counting
    for share in shares:
        if share.free_nano < nano or share.free_tokens < tokens or share.free_calls < calls:
            return share
        if share.waiting and share is not first:
            return share
    for share in shares:
        share.free_nano -= nano
        share.free_tokens -= tokens
        share.free_calls -= calls
        share.open += 1
    return Hold(shares, amount)
