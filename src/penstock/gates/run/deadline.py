"""What time is left: to a run, to a call inside a time-out, to a child and to a tool."""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from penstock.gates.order.branches import Branch
    from penstock.gates.run.context import RunContext

LEAST_SECONDS = 0.001


class Scope(Protocol):
    """A time-out that the agent is in."""

    prefix: str
    until: int  # microseconds since the epoch, the store's clock
    frozen: bool

    def ended(self, branch: "Branch") -> None:
        """A call in this branch, which may be one inside, is over."""
        ...


def deadline_of(ctx: "RunContext", branch: "Branch") -> int:
    """When nobody waits any more for what this branch does: microseconds since the epoch; 0 = never.

    A time-out that has fired no longer counts: what still goes on inside it is being settled.
    """
    if not ctx.scopes:
        return ctx.claim.deadline
    around = [scope for scope in ctx.scopes.values() if not scope.frozen and branch.prefix.startswith(scope.prefix)]
    times = [ctx.claim.deadline, *(scope.until for scope in around)]
    return min((time for time in times if time), default=0)


def seconds_to_deadline(ctx: "RunContext", branch: "Branch") -> float | None:
    """How far off that is; None = there is none. Below zero when it has passed."""
    deadline = deadline_of(ctx, branch)
    return (deadline - ctx.now()) / 1e6 if deadline else None


def working_seconds_left(ctx: "RunContext") -> float | None:
    """What the budget leaves of the time in which a worker is busy with the run; None = no limit."""
    seconds = ctx.facts.budget.seconds
    return seconds - ctx.active_seconds() if seconds else None


def at_most(ctx: "RunContext", seconds: float) -> float:
    """A call's time-out cut down to what the run's own seconds and deadline leave."""
    left = seconds
    working = working_seconds_left(ctx)
    if working is not None:
        left = min(left, working)
    if ctx.claim.deadline:
        left = min(left, (ctx.claim.deadline - ctx.now()) / 1e6)
    return left if left >= LEAST_SECONDS else max(min(seconds, LEAST_SECONDS), left)


def at_most_within(ctx: "RunContext", branch: "Branch", seconds: float) -> float:
    """The same for a call that nothing cuts short, a write: it ends with the time-outs around it."""
    seconds = at_most(ctx, seconds)
    left = seconds_to_deadline(ctx, branch)
    return seconds if left is None else max(min(seconds, LEAST_SECONDS), min(seconds, left))
