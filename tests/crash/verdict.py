"""What must be true after a trial, whatever was done to workers, database and network."""

from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

from tests.crash.fleet_agents import BUDGET, expected
from tests.crash.record import TENANT, asked_whether_it_happened, check_record, doubts, spent_nano, story
from tests.crash.trial import Trial

from penstock.events import ChildIntent, Event, RunClaimed, ToolIntent, ToolOutcome
from penstock.journal.payloads import ref_address, unpack
from penstock.ports.records import Status
from penstock.runs.client import Penstock

KEYED, UNKEYED = ("charge", "stamp", "book"), ("notify", "post")
LOSES_ITS_ANSWER = {"sent": "notify", "posted": "post", "charged": "charge", "stamped": "stamp"}
PAYLOADS_AT_ONCE = 500


async def check(trial: Trial, penstock: Penstock) -> None:
    """Assert it all; the message of a failure holds the seed, what was done, and the run's tape."""
    try:
        rescued = await penstock.journal.wakeups.rescued(10)
        assert not rescued, f"runs slept although their wait was over: {rescued}"
        keys, runs = trial.fleet.ledger.keys(), 0
        for tag, run in trial.load.acknowledged.items():
            everything, told = await _check_run(trial, penstock, tag, run)
            known = _check_effects(trial, tag, everything, told)
            hexes = {event.run.hex for event in everything}
            done = {key for key in keys if key.partition(":")[2].partition("-")[0] in hexes}
            assert done == known, f"the world knows {done}; the record {known}\n{told}"
            keys -= done
            runs += len(hexes)
        assert not keys, f"effects of calls that no record holds: {keys}"
        stored = await trial.server().ask("SELECT count(*), sum(last_seq) FROM penstock.runs")
        assert stored[0][0] == runs, "a run was lost, or is there twice"
        trial.tally.events = stored[0][1]
        assert trial.tally.late <= len(trial.load.acknowledged) // 4, "most runs fail: this proves little"
    except AssertionError as error:
        raise AssertionError(f"{error}\n{await trial.story()}") from error


async def _check_run(trial: Trial, penstock: Penstock, tag: str, run: UUID) -> tuple[list[Event], str]:
    """One run and its child, by their records; their events, and their story for messages."""
    row = await penstock.journal.get_run(TENANT, run)
    assert row is not None, f"{tag} was acknowledged and is lost"
    told = f"{tag}\n{story(await penstock.journal.tape(TENANT, run))}"
    assert row.status is Status.ENDED, f"{row.status} {row.code}: {told}"
    result = await penstock.read_result(row)
    events = await check_record(penstock, run)
    everything = list(events)
    for event in events:
        if isinstance(event, ChildIntent):
            everything += await check_record(penstock, event.child)
    for one in {event.run for event in everything}:
        _check_holders([event for event in everything if event.run == one], told)
        await _check_payloads(penstock, one, [event for event in everything if event.run == one], told)
    not_begun = any(status == "not_started" for _, status in _ends(everything).values())
    if result.outcome == "failed" and (not_begun or result.reason.startswith("look: no answer within")):
        trial.tally.late += 1  # a machine so slow that a call was not begun, or a read not answered, in time: honest
    else:
        assert result.outcome == "succeeded", f"{result}\n{told}"
        for name, value in expected(tag).items():
            lost = name in LOSES_ITS_ANSWER and doubts(everything, LOSES_ITS_ANSWER[name])
            assert result.output[name] == value or (lost and result.output[name] is None), f"{name}: {result}\n{told}"
    wire = trial.fleet.ledger.model_nano(tag)
    assert wire <= result.totals.nano == spent_nano(events), f"{wire} at the wire; {result}\n{told}"
    assert result.totals.nano <= BUDGET.record().nano, f"{result}\n{told}"
    trial.tally.doubts += sum(doubts(everything, tool) for tool in (*KEYED, *UNKEYED))
    return everything, told


def _ends(events: Sequence[Event]) -> dict[tuple[UUID, str], tuple[ToolIntent, str]]:
    """How each write ended, by run and path: its last intent, and the last outcome's status."""
    ends: dict[tuple[UUID, str], tuple[ToolIntent, str]] = {}
    for event in events:
        if isinstance(event, ToolIntent) and event.effect == "write":
            ends[event.run, event.path] = (event, "")
        elif isinstance(event, ToolOutcome) and (event.run, event.path) in ends:
            ends[event.run, event.path] = (ends[event.run, event.path][0], event.status)
    return ends


def _check_effects(trial: Trial, tag: str, events: Sequence[Event], told: str) -> set[str]:
    """Each effect happened once, by a call whose intent is on the record, under the claim that holds the intent; what
    the record says did not happen did not. The keys that the world must know by now."""
    intents = {(event.run, event.path, event.attempt): event for event in events if isinstance(event, ToolIntent)}
    processes: dict[tuple[UUID, int], set[int]] = defaultdict(set)
    entries = list(trial.fleet.ledger.of(tag))
    for entry in entries:
        intent = intents.get((entry.run, entry.path, entry.attempt))
        assert intent is not None, f"{entry} was made and no record tells of it\n{told}"
        assert (intent.tool, intent.epoch) == (entry.tool, entry.epoch), f"{entry} by another claim's holder\n{told}"
        if entry.tool != "stamp":  # made in a process of its own
            processes[entry.run, entry.epoch].add(entry.process)
    for (_, epoch), ids in processes.items():
        assert len(ids) == 1, f"processes {ids} acted under one claim, epoch {epoch}\n{told}"
    keys: set[str] = set()
    for (run, path), (intent, status) in _ends(events).items():
        tool, happened = intent.tool, status in ("ok", "happened")
        doubted = doubts(list(events), tool)
        if tool in UNKEYED:
            times = trial.fleet.ledger.happened(tool, tag)
            assert times == happened, f"{tool} happened {times} times; the record says {status}: {entries}\n{told}"
        elif happened:
            keys.add(f"{tool}:{run.hex}-{path}")
        asked = asked_whether_it_happened(list(events), tool)
        assert asked <= doubted, f"{tool}: a person was asked though there was no doubt\n{told}"
        calls = sum(entry.tool == tool and entry.kind == "call" for entry in entries)
        assert happened <= calls <= 1 + doubted, f"{tool} was called {calls} times: blindly repeated\n{told}"
    return keys


def _check_holders(events: Sequence[Event], told: str) -> None:
    """Each claim's events stand together, and begin with the claim."""
    holder: dict[int, UUID] = {}
    for event in events:
        if isinstance(event, RunClaimed):
            assert event.epoch not in holder, f"epoch {event.epoch} was claimed twice\n{told}"
            holder[event.epoch] = event.worker
        else:
            assert event.epoch == 0 or event.epoch in holder, f"epoch {event.epoch} has no holder\n{told}"


async def _check_payloads(penstock: Penstock, run: UUID, events: Sequence[Event], told: str) -> None:
    """What an event names is there, and is what was committed to."""
    key = await penstock.journal.subject_key(TENANT, str(run))
    refs = {ref_address(ref) for event in events for refs in event.payloads.values() for ref in refs}
    wanted = [(TENANT, str(run), address) for address in sorted(refs)]
    assert len(wanted) <= PAYLOADS_AT_ONCE
    found = await penstock.journal.fetch_payloads(wanted)
    for where in wanted:
        assert where in found, f"a durable event names a payload that is lost\n{told}"
        unpack(found[where], key)
