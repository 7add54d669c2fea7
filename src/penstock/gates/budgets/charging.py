"""What a run's events charge to the budgets above the task: read off the events themselves.

An intent that names accounts reserves in them; the outcome of its attempt replaces the reservation by what was used;
the run's last event charges what is still open at its maximum. So the accounts are a function of the tapes, whatever
path through the gates has written an event, and whoever goes on with a run settles what others had reserved.
"""

from collections.abc import Iterable
from typing import Final
from uuid import UUID

from penstock.events import Event, ModelIntent, ModelOutcome, RunEnded, ToolIntent, ToolOutcome
from penstock.gates.budgets.share import Hold
from penstock.gates.budgets.shares import Shares
from penstock.kernel.errors import PenstockError, ShareLost
from penstock.ports.budgets import Charge, Charges, Triple

Attempt = tuple[str, int]

INTENTS: Final = frozenset({ModelIntent, ToolIntent})
SETTLING: Final = frozenset({ModelOutcome, ToolOutcome, RunEnded})


class _Open:
    """A reservation that is on the tape, or on its way there."""

    __slots__ = ("accounts", "amount", "is_ours", "settling")

    def __init__(self, accounts: list[int], amount: Triple, *, is_ours: bool) -> None:
        self.accounts = accounts
        self.amount = amount
        self.is_ours = is_ours  # reserved by this process
        self.settling = False


class _Reserved:
    """Charges of an intent."""

    __slots__ = ("_attempt", "_charging", "_hold", "items")

    def __init__(self, charging: "Charging", attempt: Attempt, hold: Hold) -> None:
        self._charging, self._attempt, self._hold = charging, attempt, hold
        self.items = hold.charges()

    def applied(self) -> None:
        """The reservation stands."""

    def dropped(self, error: PenstockError) -> None:
        self._charging.open.pop(self._attempt, None)
        self._charging.shares.dropped(self._hold)
        if isinstance(error, ShareLost):
            self._charging.shares.lost(self.items[0].holder)


class _Settled:
    """Charges of an outcome, or of the run's end: of one or more reservations."""

    __slots__ = ("_charging", "_holder", "_of", "items")

    def __init__(self, charging: "Charging", of: list[tuple[Attempt, _Open, Triple]], holder: UUID) -> None:
        self._charging, self._of, self._holder = charging, of, holder
        items = []
        for _, reservation, used in of:
            reservation.settling = True
            nano, tokens, calls = reservation.amount
            items += [Charge(account, holder, -nano, -tokens, -calls, *used) for account in reservation.accounts]
        self.items = items

    def applied(self) -> None:
        charging = self._charging
        for attempt, reservation, used in self._of:
            charging.open.pop(attempt, None)
            for account in reservation.accounts:
                charging.shares.settled(
                    charging.tenant, account, self._holder, reservation.amount, used, was_ours=reservation.is_ours
                )

    def dropped(self, error: PenstockError) -> None:
        del error
        for _, reservation, _ in self._of:
            reservation.settling = False


class Charging:
    """One run's, for its log.

    Args:
        events: of its tape, from its beginning or from a moment at which no call was open.
    """

    def __init__(self, shares: Shares, tenant: str, events: Iterable[Event]) -> None:
        self.shares = shares
        self.tenant = tenant
        self.open: dict[Attempt, _Open] = {}
        """Reservations that are not settled, by the path and number of their attempts."""
        self.holds: set[Hold] = set()
        """Reservations for calls whose intents are not written yet."""
        self._expected: Hold | None = None
        for event in events:
            if isinstance(event, ModelIntent | ToolIntent):
                if event.charged:
                    self.open[event.path, event.attempt] = _Open(event.charged, amount_of(event), is_ours=False)
            elif isinstance(event, ModelOutcome | ToolOutcome):
                self.open.pop((event.path, event.attempt), None)

    def expect(self, hold: Hold) -> None:
        """The next intent that is added reserves this."""
        self._expected = hold

    def __call__(self, event: Event) -> Charges | None:
        """What an event that is being added charges; None = nothing."""
        kind = type(event)
        if kind in INTENTS:
            return self._reserve(event) if event.charged else None  # type: ignore[attr-defined,arg-type]
        if not self.open or kind not in SETTLING:
            return None
        if isinstance(event, ModelOutcome | ToolOutcome):
            attempt = event.path, event.attempt
            reservation = self.open.get(attempt)
            if reservation is None or reservation.settling:
                return None
            return _Settled(self, [(attempt, reservation, used_of(event))], self.shares.holder)
        rest = [(attempt, item, item.amount) for attempt, item in self.open.items() if not item.settling]
        return _Settled(self, rest, self.shares.holder) if rest else None

    def let_go(self) -> None:
        """The run is put away: no intent follows."""
        for hold in self.holds:
            self.shares.release(hold)
        self.holds.clear()

    def _reserve(self, event: ModelIntent | ToolIntent) -> Charges | None:
        hold, self._expected = self._expected, None
        assert hold is not None, "an intent names accounts that nothing was reserved in"
        assert hold.live, "a reservation was given back before its intent"
        hold.live = False  # the event has it now
        self.holds.discard(hold)
        attempt = event.path, event.attempt
        self.open[attempt] = _Open(event.charged, hold.amount, is_ours=True)
        return _Reserved(self, attempt, hold)


def amount_of(intent: ModelIntent | ToolIntent) -> Triple:
    """What an intent reserves: the most its call can use."""
    reserved = intent.reserved
    return reserved.nano, reserved.tokens, 1


def used_of(outcome: ModelOutcome | ToolOutcome) -> Triple:
    """What a call used, by its outcome. One that was not started is no call."""
    used = outcome.used
    return max(0, used.nano), max(0, used.tokens), int(outcome.status not in ("not_started", "did_not_happen"))
