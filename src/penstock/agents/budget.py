"""`Budget`: the limits of one task."""

from dataclasses import dataclass
from decimal import Decimal

from penstock.events import BudgetRecord
from penstock.kernel.errors import BudgetInvalid
from penstock.kernel.money import nano_usd


@dataclass(slots=True, frozen=True)
class Budget:
    """What one task may use, children included. None = no limit of that kind.

    At 70 % of the limit that is used up furthest the model is told to wrap up; at 90 % it must answer; at 100 % the
    run stops. Spending never exceeds ``tokens`` and ``usd``: a call starts only when the most it can use still fits.

    Attributes:
        tokens: input and output tokens of all model calls.
        usd: dollars, best as a string: ``"0.10"``. Needs a known price.
        steps: model turns.
        calls: tool calls and children.
        attempts: tries of one model call, the first included.
        seconds: time in which a worker is busy with the run; waiting for people does not count.
        depth: how deep children of children may go.
        fanout: how many children the run may start.
        retries: tries again, children's included, beyond one for every ten calls. None = the setting
            ``retry_budget``.
    """

    tokens: int | None = None
    usd: str | float | Decimal | None = None
    steps: int | None = None
    calls: int | None = None
    attempts: int | None = None
    seconds: float | None = None
    depth: int | None = None
    fanout: int | None = None
    retries: int | None = None

    def record(self) -> BudgetRecord:
        """As the journal keeps it: money in nano-dollars, 0 = no limit.

        Raises:
            BudgetInvalid: a limit that is not a positive number.
        """
        for name in ("tokens", "steps", "calls", "attempts", "seconds", "depth", "fanout"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 2**53:
                raise BudgetInvalid(f"budget {name}={value!r} is not a positive number", hint="use None for no limit")
        if self.retries is not None and not 0 <= self.retries < 2**53:
            raise BudgetInvalid(f"budget retries={self.retries!r} is no number of retries", hint="use 0 for none")
        nano = 0 if self.usd is None else nano_usd(self.usd)
        if self.usd is not None and nano == 0:
            raise BudgetInvalid("budget usd='0' allows nothing", hint="use None for no limit")
        if nano >= 2**53:
            raise BudgetInvalid(
                f"budget usd={self.usd!r} is more money than can be counted", hint="use None for no limit"
            )
        return BudgetRecord(
            tokens=self.tokens or 0,
            nano=nano,
            steps=self.steps or 0,
            calls=self.calls or 0,
            attempts=self.attempts or 0,
            seconds=self.seconds or 0,
            depth=self.depth or 0,
            fanout=self.fanout or 0,
            retries=0 if self.retries is None else self.retries or -1,
        )
