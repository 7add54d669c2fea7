"""The budgets above the task, as the gates see them: a call is reserved in all that cover it before its intent.

Like the wait for a shared rate limit, a wait for room leaves no event, and replay reserves nothing: what the agent sees
does not depend on either. A refusal is a verdict of the rule ``shared_budget``, on the tape like any other.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeVar

from penstock.events import Amount, ModelIntent, ToolIntent, Waiting
from penstock.gates.budgets.share import Cover, Hold, Refusal, Share, take
from penstock.journal.held import HeldLog
from penstock.kernel.money import show_usd
from penstock.ports.budgets import Triple
from penstock.rules.verdict import CallFacts, Decision, Ruling, Verdict

if TYPE_CHECKING:
    from penstock.gates.budgets.charging import Charging
    from penstock.gates.budgets.shares import Shares
    from penstock.gates.run.call import Call
    from penstock.gates.run.context import RunContext

CODES: Final = ("over_shared_usd", "over_shared_tokens", "over_shared_calls")
LOOK_AGAIN_US: Final = 900_000_000
"""How long a run that waits for a budget sleeps at most, should nobody have told it."""
HELD_US: Final = 60_000_000
"""The same where calls under way hold what it needs."""
NOTHING: Final = Amount()
T = TypeVar("T")


class BudgetShut(Exception):
    """A budget above the task does not hold a call of a tool."""

    def __init__(self, decision: Decision) -> None:
        super().__init__(decision.reason)
        self.decision = decision


@dataclass(slots=True, frozen=True)
class Lack:
    """What has to be waited for: room in a share, or (None) to know which shares there are."""

    amount: Triple
    cover: Cover | None = None
    share: Share | None = None


async def in_budget(
    ctx: "RunContext", call: "Call", propose: Callable[[Decision | None], tuple[T, CallFacts, Ruling]]
) -> tuple[T, Ruling]:
    """What is proposed, its reservation made in all budgets above the task; or what the rules deny.

    The reservation is in ``call.hold``; nothing may be awaited between this and the intent that takes it along, but
    what gives it up when the run is put away.

    Args:
        propose: plans the call anew and asks the rules, with what the budgets have said against it; called again after
            every wait, for other calls of the run may have used what was planned with.
    """
    shares = ctx.services.budgets
    if shares is None or not shares.apply(ctx.claim.tenant):
        what, _, ruling = propose(None)
        call.hold = None
        return what, ruling
    shared: Decision | None = None
    got: Hold | None = None
    while True:
        what, facts, ruling = propose(shared)
        if ruling.verdict >= Verdict.HOLD:
            _release(ctx, got)
            return what, ruling
        amount = facts.reserved.nano, facts.reserved.tokens, 1
        now = _at_once(ctx, amount, got, priced=facts.gate != "model" or facts.price is not None)
        if isinstance(now, Lack):
            now = await _in_turn(ctx, call, now)
            if now is None or isinstance(now, Hold):
                got = now
                continue
        if isinstance(now, Decision):
            shared, got = now, None
            continue
        call.hold = now
        return what, ruling


async def hold_for_tool(ctx: "RunContext", call: "Call") -> None:
    """Reserve a call of a tool in the budgets that limit calls, into ``call.hold``; waits for room.

    Raises:
        BudgetShut: one of them does not hold it.
    """
    while True:
        now = _at_once(ctx, (0, 0, 1), None, priced=True)
        if isinstance(now, Lack):
            now = await _in_turn(ctx, call, now)
            if now is None:
                continue
        if isinstance(now, Decision):
            raise BudgetShut(now)
        call.hold = now
        return


def hold_at_once(ctx: "RunContext", call: "Call", reserved: Amount = NOTHING) -> bool:
    """Whether a call beside another of its kind fits, without waiting; then its reservation is in ``call.hold``."""
    now = _at_once(ctx, (reserved.nano, reserved.tokens, 1), None, priced=True)
    if isinstance(now, Lack | Decision):
        return False
    call.hold = now
    return True


def bind(ctx: "RunContext", call: "Call", intent: ModelIntent | ToolIntent) -> None:
    """The intent, which is added next, takes along what was reserved for its call."""
    hold, call.hold = call.hold, None
    if hold is not None:
        intent.charged = hold.accounts
        _charging(ctx).expect(hold)


def let_go(ctx: "RunContext") -> None:
    """The run is put away: what it reserved for calls without an intent is free again."""
    if ctx.ledger.charging is not None:
        ctx.ledger.charging.let_go()


def _at_once(ctx: "RunContext", amount: Triple, got: Hold | None, *, priced: bool) -> Hold | Decision | Lack | None:
    """Reserve without waiting. ``got`` was reserved before, perhaps for less or more. None: no budget covers it."""
    shares = ctx.services.budgets
    if shares is None or not shares.apply(ctx.claim.tenant):
        return None
    if got is not None:
        if got.amount == amount and got.live:
            return got
        _release(ctx, got)
    submitted = ctx.tape.submitted
    cover = shares.listing.known(ctx.claim.tenant, submitted.agent, submitted.tags, str(ctx.root))
    if cover is False:
        return Lack(amount)
    if cover is None or not (cover.counting or amount[0] or amount[1]):
        return None
    if cover.money and not priced:
        words = "a budget above the task limits money, and the price of the model is not known"
        return Decision(Verdict.DENY, words, "price_unknown", ends_run=True)
    hold = take(cover, amount)
    if isinstance(hold, Share):
        return Lack(amount, cover, hold)
    if not hold.shares:
        return None
    _charging(ctx).holds.add(hold)
    return hold


async def _in_turn(ctx: "RunContext", call: "Call", lack: Lack) -> Hold | Decision | None:
    """Wait for room; None: try again."""
    shares = ctx.services.budgets
    assert shares is not None
    change = shares.listing.change  # what is said against the call is of these budgets, or of later ones
    if ctx.draining:
        await ctx.halt()
    ctx.services.outside += 1
    try:
        if lack.cover is None or lack.share is None:
            submitted = ctx.tape.submitted
            known = shares.cover(ctx.claim.tenant, submitted.agent, submitted.tags, str(ctx.root))
            await ctx.interruptible(call.branch, known)
            return None
        got = await ctx.interruptible(call.branch, shares.room(lack.cover, lack.amount, lack.share))
    finally:
        ctx.services.outside -= 1
    if isinstance(got, Hold):
        _charging(ctx).holds.add(got)
        return got
    if got is None:
        return None
    assert isinstance(got, Refusal)
    if got.budget.at_end == "park" and not isinstance(ctx.log, HeldLog):  # whose client would wait, not its run
        await _parked(ctx, call, shares, got, change)
        return None
    return decision_of(got)


async def _parked(ctx: "RunContext", call: "Call", shares: "Shares", refusal: Refusal, change: int) -> None:
    """Wait until the budget is changed or its period is over, in a way that lets the run park. ``change``: how often
    budgets had been changed when the refusal was asked for."""
    share = refusal.share
    now = await ctx.reading(
        lambda: ctx.services.journal.budgets.wait(share.tenant, share.account, ctx.run_id, call.path)
    )
    if now != change:  # it may have been raised since, and whoever did so may not have found this wait
        shares.listing.forget()
        return
    until = shares.listing.now() + (LOOK_AGAIN_US if refusal.spent else HELD_US)
    until = min(until, refusal.until) if refusal.until else until
    dedup = f"budget:{call.path}:{share.account}:{change}"
    until += ctx.now() - shares.listing.now()
    letter = await ctx.mail.wait(Waiting("budget", call.path, refusal.budget.name, until=until), dedup)
    if letter is not None:
        ctx.log.consume(letter.dedup)
    shares.listing.forget()


def decision_of(refusal: Refusal) -> Decision:
    """A refusal as the rule gives it."""
    budget, part = refusal.budget, refusal.part
    limit = budget.limits[part]
    asked, left, of = (_shown(number, part) for number in (refusal.asked, refusal.left, limit))
    who = ", ".join(value or '""' for value in refusal.share.who)
    name = f"{budget.name!r}" + (f" ({who})" if who else "")
    ends = f" until {datetime.fromtimestamp(refusal.until / 1e6, UTC):%Y-%m-%d %H:%M} UTC" if refusal.until else ""
    words = f"the call may use {asked}; the budget {name} has {left} of {of} left{ends}"
    if not refusal.spent:
        words += ", and calls under way hold it"
    return Decision(Verdict.DENY, words, CODES[part], ends_run=True)


def _shown(number: int, part: int) -> str:
    if part == 0:
        return show_usd(number)
    return f"{number:,} {('tokens', 'calls')[part - 1]}"


def _release(ctx: "RunContext", hold: Hold | None) -> None:
    if hold is not None and ctx.services.budgets is not None:
        _charging(ctx).holds.discard(hold)
        ctx.services.budgets.release(hold)


def _charging(ctx: "RunContext") -> "Charging":
    charging = ctx.ledger.charging
    assert charging is not None
    ctx.log.charging = charging
    return charging
