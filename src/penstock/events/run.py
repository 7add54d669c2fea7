"""The life of a run."""

from uuid import UUID

from penstock.events.envelope import BudgetRecord, Event, Totals, Waiting


class RunSubmitted(Event, tag="run.submitted"):
    """First event of every run. ``payloads.input`` is the input."""

    key: str = ""  # idempotency key; also in the runs row
    budget: BudgetRecord = BudgetRecord()
    session: str = ""
    priority: int = 0
    deadline: int = 0  # microseconds since the epoch; 0 = none
    depth: int = 0
    subject: str = ""  # the data subject whose key commits the payloads; "" = the run's own


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

    from_release: str = ""
    to_release: str = ""


class RunPatched(Event, tag="run.patched"):
    """`run.patched(id)` was asked, and answered: which branch of changed code this run takes."""

    patch: str
    taken: bool


class RunContinued(Event, tag="run.continued"):
    """The run goes on in another with a fresh history."""

    next_run: UUID


class RunEnded(Event, tag="run.ended"):
    """Last event of every run. ``payloads.output`` is the result, whole or partial."""

    outcome: str  # succeeded | failed | exhausted | refused | escalated | cancelled | killed
    code: str = ""
    reason: str = ""
    missing: list[str] = []  # what a partial result lacks
    needed: list[str] = []  # what it would take to finish
    first_cause: str = ""  # run and path of the first failure of a cascade
    totals: Totals = Totals()
    simulated: bool = False  # a simulated model took part
