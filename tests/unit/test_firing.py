"""Firing schedules: which times become runs, and that each becomes one, whatever happens meanwhile."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from penstock import Run, Settings, agent
from penstock.adapters.memory import MemoryJournal
from penstock.kernel.errors import JournalUnavailable, ScheduleExists, ScheduleInvalid, ScheduleUnknown, TagInvalid
from penstock.ports.records import RunFilter, RunRow, Status, Stop, Submitted
from penstock.ports.schedules import Due, Plan, Schedule
from penstock.runs.client import Penstock
from penstock.runs.schedules.firing import Firing, moves_of
from penstock.testing import in_memory
from penstock.wiring import assemble

SECOND = 1_000_000
MINUTE, HOUR = 60 * SECOND, 3600 * SECOND
GRACE = MINUTE
NOON = 1_800_000_000 * SECOND - 1_800_000_000 * SECOND % HOUR
ID = UUID(int=7)


class HandClock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.us = NOON

    def now_us(self) -> int:
        return self.us

    def boot_ns(self) -> int:
        return self.us * 1000

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def due(late: int = 0, *, still_open: bool = False, **fields: Any) -> Due:
    """An hourly schedule whose next time is noon, taken ``late`` microseconds after that."""
    plan = Plan(every=HOUR, **{name: fields.pop(name) for name in list(fields) if name in Plan.__struct_fields__})
    at = fields.pop("next_at", NOON)
    schedule = Schedule("acme", ID, "hourly", "clerk", plan, "s", b"", at, at, **fields)
    return Due(schedule, NOON + late, still_open, 1)


class TestMissed:
    def test_what_is_due_is_fired_for_and_the_next_time_follows(self) -> None:
        moves = moves_of(due(SECOND), GRACE)
        assert (moves.fire, moves.skipped, moves.next_at, moves.last_at) == ([NOON], 0, NOON + HOUR, NOON)

    @pytest.mark.parametrize(("late", "fired"), [(GRACE, 1), (GRACE + 1, 0)])
    def test_skip_fires_only_within_the_grace(self, late: int, fired: int) -> None:
        moves = moves_of(due(late, missed="skip"), GRACE)
        assert (len(moves.fire), moves.skipped, moves.next_at) == (fired, 1 - fired, NOON + HOUR)

    def test_once_fires_for_the_latest_alone(self) -> None:
        moves = moves_of(due(5 * HOUR + SECOND), GRACE)
        assert (moves.fire, moves.skipped, moves.next_at) == ([NOON + 5 * HOUR], 5, NOON + 6 * HOUR)

    def test_all_fires_for_each_up_to_its_bound(self) -> None:
        moves = moves_of(due(5 * HOUR, missed="all", overlap="allow"), GRACE)
        assert moves.fire == [NOON + n * HOUR for n in range(6)]
        moves = moves_of(due(500 * HOUR, missed="all", overlap="allow", catch_up=3), GRACE)
        assert moves.fire == [NOON + n * HOUR for n in (498, 499, 500)]
        assert moves.next_at == NOON + 501 * HOUR


class TestOverlap:
    def test_allow(self) -> None:
        assert moves_of(due(still_open=True, overlap="allow"), GRACE).fire == [NOON]

    def test_skip(self) -> None:
        moves = moves_of(due(still_open=True), GRACE)
        assert (moves.fire, moves.skipped, moves.next_at) == ([], 1, NOON + HOUR)
        assert len(moves_of(due(2 * HOUR, missed="all"), GRACE).fire) == 1

    def test_queue_lets_one_wait(self) -> None:
        moves = moves_of(due(2 * HOUR, still_open=True, overlap="queue", missed="all"), GRACE)
        assert (moves.fire, moves.queued_at, moves.skipped) == ([], NOON, 2)
        moves = moves_of(due(HOUR, overlap="queue", missed="all"), GRACE)
        assert (moves.fire, moves.queued_at, moves.skipped) == ([NOON], NOON + HOUR, 0)

    def test_what_waits_goes_when_the_run_has_ended_and_not_before(self) -> None:
        waits = due(-SECOND, still_open=True, overlap="queue", queued_at=NOON - HOUR)
        moves = moves_of(waits, GRACE)
        assert (moves.fire, moves.queued_at, moves.next_at, moves.last_at) == ([], NOON - HOUR, NOON, 0)
        moves = moves_of(due(-SECOND, overlap="queue", queued_at=NOON - HOUR), GRACE)
        assert (moves.fire, moves.queued_at, moves.next_at) == ([NOON - HOUR], 0, NOON)

    def test_cancel_previous_fires_for_the_latest(self) -> None:
        moves = moves_of(due(HOUR, still_open=True, overlap="cancel_previous", missed="all"), GRACE)
        assert (moves.fire, moves.cancel_last, moves.skipped) == ([NOON + HOUR], True, 1)
        assert not moves_of(due(overlap="cancel_previous"), GRACE).cancel_last
        assert not moves_of(
            due(GRACE + 1, still_open=True, overlap="cancel_previous", missed="skip"), GRACE
        ).cancel_last


def test_the_runs_of_a_schedule_are_counted() -> None:
    moves = moves_of(due(5 * HOUR, missed="all", overlap="allow", max_runs=4, fired=1), GRACE)
    assert (len(moves.fire), moves.next_at, moves.due_at) == (3, 0, 0)
    assert moves_of(due(max_runs=2), GRACE).next_at == NOON + HOUR


def test_a_run_is_put_off_by_its_jitter_and_not_lost_by_it() -> None:
    first = moves_of(due(jitter=10 * MINUTE), GRACE)
    assert first.fire in ([], [NOON])
    late = moves_of(due(10 * MINUTE, jitter=10 * MINUTE), GRACE)
    assert late.fire == [NOON]
    assert late.next_at == NOON + HOUR
    assert NOON + HOUR <= late.due_at <= NOON + HOUR + 10 * MINUTE


def test_a_paused_one_that_was_asked_for_stays_where_it_was() -> None:
    moves = moves_of(due(5 * HOUR, paused=True, requested_at=1, queued_at=3), GRACE)
    assert (moves.fire, moves.next_at) == ([], NOON)


@agent("clerk", version="1")
async def clerk(run: Run, value: int) -> int:
    return value


@agent("clerk", version="2")
async def newer_clerk(run: Run, value: str) -> str:
    return value


class Desk:
    """A platform on a clock that stands still, and a worker's firing."""

    def __init__(self, platform: Penstock, clock: HandClock) -> None:
        self.platform = platform
        self.clock = clock
        self.firing = self.another()

    def another(self, platform: Penstock | None = None) -> Firing:
        """Another worker's."""
        platform = platform or self.platform
        return Firing(platform.services, lambda: platform.registry.names)

    async def add(self, name: str = "hourly", **options: Any) -> Schedule:
        return await self.platform.schedules.add(name, clerk, 7, **{"every": timedelta(hours=1), **options})

    async def look(self, after: float = 0.0) -> list[RunRow]:
        """Let seconds pass, fire what is due; all runs there are, oldest first."""
        self.clock.us += int(after * 1e6)
        await self.firing.look()
        return await self.runs()

    async def runs(self) -> list[RunRow]:
        return (await self.platform.journal.list_runs("default", RunFilter(), 1000))[::-1]

    async def now(self, name: str = "hourly") -> Schedule:
        return await self.platform.schedules.get(name)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    clock = HandClock()
    async with assemble(MemoryJournal(clock), Settings(), clock=clock) as platform:
        yield Desk(platform, clock)


async def test_each_time_becomes_one_run(desk: Desk) -> None:
    await desk.add(overlap="allow", tags={"customer": "acme"}, priority=3, session="s")
    assert await desk.look() == []
    [run] = await desk.look(3600)
    assert (run.agent, run.tags, run.priority, run.session) == ("clerk", {"customer": "acme"}, 3, "s")
    assert await desk.look(5) == [run]
    runs = await desk.look(3595)
    assert [item.key for item in runs] == [f"schedule:{(await desk.now()).id}:{NOON + n * HOUR}" for n in (1, 2)]
    stored = await desk.now()
    assert (stored.fired, stored.last_run, stored.last_at) == (2, runs[1].id, NOON + 2 * HOUR)


async def test_two_workers_at_once_make_one_run(desk: Desk) -> None:
    for number in range(20):
        await desk.add(f"s{number}")
    desk.clock.us += HOUR
    await asyncio.gather(*(desk.another().look() for _ in range(4)))
    assert len(await desk.runs()) == 20


async def test_a_worker_that_dies_before_it_submits_loses_nothing(desk: Desk) -> None:
    await desk.add()
    desk.clock.us += HOUR
    journal = desk.platform.journal
    assert len(await journal.schedules.take_due(["clerk"], 15.0, 10, "development")) == 1
    assert await desk.look() == []
    [run] = await desk.look(16)
    assert run.key == f"schedule:{(await desk.now()).id}:{NOON + HOUR}"


class Broken(MemoryJournal):
    """A journal that breaks off at a named moment, once."""

    def __init__(self, clock: HandClock, moment: str) -> None:
        super().__init__(clock)
        self.moment = moment
        settle = self.schedules.settle

        async def settled(*args: Any) -> bool:
            self.strike("before settle")
            return await settle(*args)

        self.schedules.settle = settled  # type: ignore[method-assign,assignment]

    def strike(self, moment: str) -> None:
        if self.moment == moment:
            self.moment = ""
            raise JournalUnavailable(moment)

    async def submit(self, *args: Any, **kwargs: Any) -> list[Submitted]:
        self.strike("before submit")
        done = await super().submit(*args, **kwargs)
        self.strike("after submit")
        return done


@pytest.mark.parametrize("moment", ["before submit", "after submit", "before settle"])
@pytest.mark.parametrize("overlap", ["allow", "skip", "queue", "cancel_previous"])
async def test_wherever_firing_breaks_off_each_time_becomes_one_run(moment: str, overlap: Any) -> None:
    """The next time has come when the lease is over: even so the first one's run is the one made first."""
    clock = HandClock()
    async with assemble(Broken(clock, moment), Settings(lease_seconds=3600), clock=clock) as platform:
        desk = Desk(platform, clock)
        await desk.add(every=timedelta(minutes=30), missed="all", overlap=overlap)
        await desk.look(1800)
        await desk.look(3601)
        first, *_ = runs = await desk.runs()
        assert first.key is not None
        assert first.key.endswith(f":{NOON + HOUR // 2}")
        assert len({run.key for run in runs}) == len(runs)
        after = await desk.now()
        if overlap == "allow":
            runs = await desk.look(1)
            times = {str(run.key).split(":")[2] for run in runs}
            assert times == {str(NOON + n * HOUR // 2) for n in (1, 2, 3)}
            assert (await desk.now()).fired == 3
        else:
            assert len(runs) == 1, "a second one beside it would overlap"
            assert after.last_run == first.id


async def end(desk: Desk, run: RunRow) -> None:
    """Let a run end as cancelled."""
    await desk.platform.cancel(run.id, actor="ada")
    worker = desk.platform.start_worker("w")
    await desk.platform.result(run.id, timeout_seconds=60)
    worker.drain()


async def test_one_waits_until_the_run_before_has_ended(desk: Desk) -> None:
    await desk.add(overlap="queue")
    [first] = await desk.look(3600)
    assert len(await desk.look(3600)) == 1
    assert (await desk.now()).queued_at == NOON + 2 * HOUR
    assert len(await desk.look(3600)) == 1
    assert (await desk.now()).skipped == 1
    await end(desk, first)
    runs = await desk.look(2)
    assert [str(run.key).split(":")[2] for run in runs] == [str(NOON + n * HOUR) for n in (1, 2)]
    assert (await desk.now()).queued_at == 0


async def test_the_previous_run_is_cancelled(desk: Desk) -> None:
    await desk.add(overlap="cancel_previous")
    [first] = await desk.look(3600)
    old, new = await desk.look(3600)
    assert (old.id, old.stop, new.stop) == (first.id, Stop.CANCEL, None)


async def test_a_run_is_of_the_release_that_the_firing_worker_offers(desk: Desk) -> None:
    await desk.add(overlap="allow")
    [run] = await desk.look(3600)
    assert run.release == clerk.release
    async with assemble(desk.platform.journal, Settings(), clock=desk.clock, agents=[newer_clerk]) as deployed:
        desk.clock.us += HOUR
        await desk.another(deployed).look()
        assert (await desk.now()).last_error.startswith("the input of clerk is not valid")
        assert (await desk.now()).skipped == 1


async def test_an_agent_that_nobody_offers_is_fired_for_when_somebody_does(desk: Desk) -> None:
    await desk.add(missed="all", overlap="allow")
    async with assemble(desk.platform.journal, Settings(), clock=desk.clock) as empty:
        desk.clock.us += 3 * HOUR
        assert await desk.another(empty).look() == 0
    assert len(await desk.look()) == 3


async def test_nothing_is_fired_under_a_kill_and_the_rest_afterwards(desk: Desk) -> None:
    await desk.add()
    await desk.platform.kill_everything(actor="ada", reason="incident")
    assert await desk.look(3600) == []
    await desk.platform.resume_everything(actor="ada")
    assert len(await desk.look()) == 1


async def test_what_lies_in_a_pause_is_not_made_up_for(desk: Desk) -> None:
    await desk.add(missed="all", overlap="allow")
    await desk.platform.schedules.pause("hourly", actor="ben")
    assert await desk.look(5 * 3600 + 60) == []
    await desk.platform.schedules.resume("hourly")
    assert await desk.look() == []
    [run] = await desk.look(3600)
    assert str(run.key).endswith(str(NOON + 6 * HOUR))


async def test_one_run_out_of_turn_also_while_paused(desk: Desk) -> None:
    await desk.add(paused=True)
    await desk.platform.schedules.fire("hourly")
    [run] = await desk.look()
    assert ":asked:" in str(run.key)
    assert len(await desk.look(5 * 3600)) == 1
    assert (await desk.now()).requested_at == 0


async def test_after_its_last_run_it_is_over(desk: Desk) -> None:
    await desk.add(overlap="allow", max_runs=2)
    for _ in range(4):
        await desk.look(3600)
    assert len(await desk.runs()) == 2
    assert (await desk.now()).next_at == 0
    assert await desk.platform.schedules.upcoming("hourly") == []
    await desk.platform.schedules.pause("hourly")
    await desk.platform.schedules.resume("hourly")
    assert len(await desk.look(3600)) == 2


async def test_the_input_of_a_removed_one_is_erased(desk: Desk) -> None:
    stored = await desk.add()
    journal = desk.platform.journal
    assert await journal.get_payloads("default", stored.subject, [stored.address])
    await desk.platform.schedules.remove("hourly")
    assert not await journal.get_payloads("default", stored.subject, [stored.address])
    assert await desk.look(3600) == []
    with pytest.raises(ScheduleUnknown):
        await desk.platform.schedules.remove("hourly")


async def test_one_that_is_replaced_goes_by_its_new_plan_and_input(desk: Desk) -> None:
    first = await desk.add(overlap="allow")
    await desk.look(3600)
    with pytest.raises(ScheduleExists):
        await desk.add()
    changed = await desk.platform.schedules.add("hourly", clerk, 8, every=60, overlap="allow", replace=True)
    assert (changed.id, changed.fired, changed.next_at) == (first.id, 1, NOON + HOUR + MINUTE)
    assert changed.address != first.address
    assert len(await desk.look(60)) == 2


async def test_one_that_cannot_be_worked_out_holds_up_nobody(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(3):
        await desk.add(f"s{number}")
    stored = await desk.now("s1")
    unknown = dataclasses.replace(stored, plan=Plan(cron="* * * * *", timezone="Mars/Olympus"))
    assert await desk.platform.journal.schedules.put(unknown, replace=True, limit=10)
    assert len(await desk.look(3600)) == 2
    assert "s1 of default could not be fired" in caplog.text


async def test_what_is_next_is_told_in_its_zone(desk: Desk) -> None:
    await desk.add("nightly", every=0, cron="30 2 * * *", timezone="Europe/Berlin")
    first, second = await desk.platform.schedules.upcoming("nightly", 2)
    assert (first.strftime("%H:%M %Z"), second - first) == ("02:30 CET", timedelta(days=1))


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"cron": "bad"}, ScheduleInvalid),
        ({"every": 0}, ScheduleInvalid),
        ({"every": float("nan")}, ScheduleInvalid),
        ({"start": datetime(2027, 1, 1)}, ScheduleInvalid),  # noqa: DTZ001 - what is refused
        ({"start": datetime(2030, 1, 2, tzinfo=UTC), "end": datetime(2030, 1, 1, tzinfo=UTC)}, ScheduleInvalid),
        ({"missed": "never"}, ScheduleInvalid),
        ({"overlap": "maybe"}, ScheduleInvalid),
        ({"tags": {"colour": "red"}}, TagInvalid),
        ({"name": "Not A Name"}, ScheduleInvalid),
    ],
)
async def test_what_cannot_be_kept_to_is_refused_before_anything_is_stored(
    desk: Desk, options: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        await desk.add(**options)
    assert await desk.platform.schedules.list_schedules() == []


async def test_a_worker_fires_by_itself() -> None:
    async with in_memory(Settings(schedule_poll_seconds=0.05, poll_seconds=0.05)) as platform:
        await platform.schedules.add("quick", clerk, 7, every=1, max_runs=1)
        async with asyncio.timeout(30):
            while not (found := await platform.journal.list_runs("default", RunFilter(status=Status.ENDED), 10)):
                await asyncio.sleep(0.02)
    assert [run.outcome for run in found] == ["succeeded"]
