"""One world: a bank of its own with one customer a ticket, and the figures of working the tickets in it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from penstock.adapters.simulated import NearestExamples
from penstock.demo.bank import Bank
from penstock.demo.judge import outcomes
from penstock.demo.meter import Reading
from penstock.demo.result import ModeResult
from penstock.demo.situations import Situation, situation
from penstock.demo.support import message
from penstock.demo.tickets import Ticket

PROHIBITED = ("close_account",)


@dataclass(frozen=True, slots=True)
class World:
    """A founded world. Situations stand in the order of the tickets; worlds of one demo differ in their code alone."""

    code: str
    tickets: Sequence[Ticket]
    situations: Sequence[Situation]

    def text(self, number: int) -> str:
        """What the desk is given for a ticket."""
        return message(self.situations[number].customer_id, self.tickets[number].text)


async def found(
    bank: Bank, code: str, tickets: Sequence[Ticket], seed: int, guesses: NearestExamples | None = None
) -> World:
    """Open a world. A ticket without a category gets the situation that its nearest examples suggest, if ``guesses``
    are given, so that there is something to find in the bank; no accuracy is then computed."""
    situations = []
    for ticket in tickets:
        category = ticket.category or (guesses.classify(ticket.text).category if guesses else "")
        situations.append(situation(seed, ticket.number, category, f"C-{code}-{ticket.number:05d}"))
    await bank.found(code, situations)
    return World(code, tickets, situations)


async def measure(
    bank: Bank,
    world: World,
    readings: Mapping[str, Reading],
    *,
    waiting: Collection[int],
    approvals: int,
    tool_calls: int,
    stopped: Collection[int] = (),
    wall_seconds: float,
) -> ModeResult:
    """What happened in a world: money and calls by the meter at the wire, effects by the bank's books.

    ``waiting``: tickets that wait for a person; ``stopped``: tickets that a limit cut short.
    """
    ledgers = await bank.ledger(world.code)
    meters = [readings.get(one.customer_id, Reading()) for one in world.situations]
    ends = outcomes(ledgers, [one.truth for one in world.situations], waiting)
    spirals = [number for number, meter in enumerate(meters) if meter.spiral]
    halted = [number for number in spirals if number in stopped or meters[number].interrupted]
    labelled = [(meter.category, ticket.category) for meter, ticket in zip(meters, world.tickets, strict=True)]
    known = [(said, label) for said, label in labelled if label]
    return ModeResult(
        nano=tuple(meter.nano for meter in meters),
        outcomes=tuple(ends),
        tokens_total=sum(meter.tokens for meter in meters),
        model_calls=sum(meter.model_calls for meter in meters),
        tool_calls=tool_calls,
        spirals=len(spirals),
        stopped_at=tuple(meters[number].spiral_until for number in halted),
        approvals_waiting=approvals,
        prohibited_attempted=sum(meter.asked_for(PROHIBITED) for meter in meters),
        prohibited_executed=sum(ledger.counts.get("closure", 0) for ledger in ledgers),
        accuracy=sum(said == label for said, label in known) / len(known) if known else None,
        wall_seconds=wall_seconds,
    )
