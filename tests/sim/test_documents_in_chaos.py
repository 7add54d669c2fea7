"""Documents under the simulation's seeded faults: each write that is on a record is in its document, and once."""

from collections import Counter
from typing import Any

import msgspec
import pytest
from tests.sim.world import programs, seeds
from tests.sim.world.programs import Author, Program
from tests.sim.world.seeds import Report, World

from penstock import Run
from penstock.adapters.memory.documents import MemoryDocuments
from penstock.events import DocumentIntent, DocumentWritten, decode
from penstock.gates.order.branches import CURRENT
from penstock.journal.documents import read
from penstock.journal.payloads import ref_address, unpack
from penstock.kernel.errors import DocumentConflict, JournalUnavailable
from penstock.kernel.randomness import seeded
from penstock.ports.documents import Write, Written

SEEDS = 20
ASKED_HERE = ("sessions_do_not_conflict", "a_version_a_write", "each_write_once", "documents_replay")
AT_LEAST = {"written": 60, "conflict": 5, "session written": 2, "runs": 100, "crash": 4, "answer lost": 5}
"""What that many seeds must have met, so that they cannot pass by doing nothing."""


def marked(known: Any, mark: str) -> list[str]:
    return [*(known or []), mark]


async def mark(run: Run, program: Program) -> Any:
    """Add a mark to what all runs share, and to the session's, if there is one."""
    name = f"{run.id.hex[-6:]}-{program['x']}"
    try:
        await run.document("marks").update(lambda known: marked(known, name), attempts=50)
    except DocumentConflict as conflict:
        return ["conflict", conflict.fields["version"]]
    branch = CURRENT.get()
    if run.context.tape.submitted.session and branch is not None and branch.prefix == "":
        await run.session.put(marked(await run.session.get(), name))
    return name


class DocumentAuthor(Author):
    """Writes programs of which every other leaf writes documents."""

    def _leaf(self) -> Program:
        leaf = super()._leaf()
        return {"do": "mark", "x": self._number} if self.rng.random() < 0.5 else leaf


class Unsteady(MemoryDocuments):
    """Loses the answer of one write in eight, after it was made: more than the simulated lines do."""

    def __init__(self, of: MemoryDocuments, world: World) -> None:
        super().__init__(of._store, of._clock)
        self._world = world
        self._draw = seeded(world.seed, "documents").random

    async def put(self, write: Write, keep: int) -> Written:
        written = await super().put(write, keep)
        if self._draw() < 0.125:
            self._world.count("answer lost")
            raise JournalUnavailable("the answer to a write was lost")
        return written


class DocumentWorld(World):
    """Asks about documents, too."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        known = self.database.memory.documents
        assert isinstance(known, MemoryDocuments)
        self.database.memory.documents = Unsteady(known, self)

    async def run(self) -> None:
        await super().run()
        for tenant in ("default", "other"):
            await self._check(tenant)

    async def _check(self, tenant: str) -> None:
        documents = self.database.memory.documents
        written: dict[tuple[str, str], Counter[str]] = {}
        maybe: dict[tuple[str, str], set[str]] = {}
        for run in self.database.stored.runs.values():
            if run.new.tenant != tenant:
                continue
            self.count("runs")
            events = [decode(row.body) for row in run.tape]
            intents = {event.path: event for event in events if isinstance(event, DocumentIntent)}
            outcomes = {event.path: event for event in events if isinstance(event, DocumentWritten)}
            for path, intent in intents.items():
                place = intent.of, intent.name
                outcome = outcomes.get(path)
                name = self._value(tenant, run.new.subject, intent.payloads["value"][0])[-1]
                if outcome is None:
                    maybe.setdefault(place, set()).add(name)
                    continue
                self.count(outcome.status)
                self.count(f"{intent.of} {outcome.status}")
                if outcome.status == "written":
                    written.setdefault(place, Counter())[name] += 1
                if intent.of == "session" and outcome.status != "written":
                    self.fail("sessions_do_not_conflict", f"{run.new.id.hex[-6:]} at {path}: {outcome.status}")
        for (of, name), marks in written.items():
            found = await documents.get(tenant, of, name)  # type: ignore[arg-type]
            data = read(found.latest) if found is not None else None
            held = Counter(msgspec.json.decode(data or b"[]"))
            if found is None or found.latest.version != held.total():
                self.fail("a_version_a_write", f"{of} {name} holds {held.total()} marks: {found}")
            doubled = [each for each, times in held.items() if times > 1]
            lost = [each for each in marks if not held[each]]
            strange = [each for each in held if not marks[each] and each not in maybe.get((of, name), ())]
            if doubled or lost or strange:
                self.fail("each_write_once", f"{of} {name}: doubled {doubled}, lost {lost}, unrecorded {strange}")

    def _value(self, tenant: str, subject: str, ref: str) -> Any:
        return msgspec.json.decode(unpack(self.database.stored.payloads[tenant, subject][ref_address(ref)]))


@pytest.fixture(autouse=True)
def with_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(programs.STEPS, "mark", mark)
    monkeypatch.setattr(seeds, "Author", DocumentAuthor)
    monkeypatch.setattr(seeds, "World", DocumentWorld)


@pytest.mark.usefixtures("killed_processes")
def test_each_write_on_a_record_is_in_its_document_once() -> None:
    counts: Counter[str] = Counter()
    for seed in range(SEEDS):
        report: Report = seeds.run_seed(seed)
        wrong = [violation for violation in report.violations if violation[0] in ASKED_HERE]
        assert not wrong, f"seed {seed}: {wrong[0]}\n" + "\n".join(report.trace[-60:])
        counts.update(report.counts)
    short = {what: (counts[what], least) for what, least in AT_LEAST.items() if counts[what] < least}
    assert not short, counts
