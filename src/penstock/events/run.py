"""The life of a run."""

from typing import ClassVar
from uuid import UUID

from penstock.events.envelope import BudgetRecord, Event, Totals, Waiting
from penstock.events.filtered import Filtered


class RunSubmitted(Event, tag="run.submitted"):
    """First event of every run. ``payloads.input`` is the input, as the filters let it through."""

    key: str = ""  # idempotency key; also in the runs row
    budget: BudgetRecord = BudgetRecord()
    session: str = ""
    priority: int = 0
    deadline: int = 0  # microseconds since the epoch; 0 = none
    depth: int = 0
    subject: str = ""  # the data subject whose key commits the payloads; "" = the run's own
    format: int = 1  # kinds of events that the run may hold: those whose ``since`` is not above it
    continues: UUID | None = None  # the run that goes on in this one
    first: UUID | None = None  # where that chain began: whom a parent waits for
    carried: Totals = Totals()  # what the earlier runs of the chain have used
    taint: dict[str, str] = {}  # what whoever started it had read from outside: source → kind
    filtered: list[Filtered] = []  # what was found in the input before it was stored
    withheld: str = ""  # why the run may not have it, so that it ends at once; "" = it may


class RunClaimed(Event, tag="run.claimed"):
    """A worker took the run. Written with the first event that follows from it, not before."""

    worker: UUID
    worker_name: str = ""
    claims: int = 1  # claims since the last progress


class RunParked(Event, tag="run.parked"):
    """Nothing to do until one of ``waiting`` happens; the worker has let go."""

    waiting: list[Waiting] = []


class RunHandedBack(Event, tag="run.handed_back"):
    """The worker let go of the run before its end: drain, or divergence that waits for another release."""

    reason: str = ""


class RunAdopted(Event, tag="run.adopted"):
    """A person let the run go on under another release."""

    since: ClassVar[int] = 2

    from_release: str = ""
    to_release: str = ""
    arguments: bool = False  # calls that had ended by then may have been made with other arguments
    format: int = 1  # the run's from here on
    reason: str = ""


class RunPatched(Event, tag="run.patched"):
    """`run.patched(id)` was asked, and answered: which branch of changed code this run takes."""

    patch: str
    taken: bool


class RunContinued(Event, tag="run.continued"):
    """The run goes on in another with a fresh history. ``payloads.input`` is that one's input."""

    since: ClassVar[int] = 2

    next_run: UUID
    digest: str = ""  # of the input: what replay compares


class RunEnded(Event, tag="run.ended"):
    """Last event of every run. ``payloads.output`` is the result, whole or partial."""

    outcome: str  # succeeded | failed | exhausted | refused | escalated | cancelled | killed
    code: str = ""
    reason: str = ""
    missing: list[str] = []  # what a partial result lacks
    needed: list[str] = []  # what it would take to finish
    done: list[str] = []  # writes that took effect and stand, of a run that failed or had a fallback's answer
    first_cause: str = ""  # run and path of the first failure of a cascade
    totals: Totals = Totals()
    simulated: bool = False  # a simulated model took part
