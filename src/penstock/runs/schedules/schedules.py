"""`Penstock.schedules`: declare what is to run again and again, look at it, steer it."""

from dataclasses import replace as changed
from datetime import UTC, datetime, timedelta
from typing import Any, get_args
from zoneinfo import ZoneInfo

import msgspec

from penstock.gates.run.services import Services
from penstock.journal.payloads import address, make_payload
from penstock.kernel.canonical import NAME_MAX_CHARS, check_size, stable_json
from penstock.kernel.errors import ScheduleExists, ScheduleInvalid, ScheduleUnknown
from penstock.kernel.ids import new_id
from penstock.kernel.randomness import token_bytes
from penstock.ports.agents import AgentDef
from penstock.ports.schedules import Missed, Overlap, Plan, Schedule
from penstock.runs.at_home import check_at_home
from penstock.runs.schedules.firing_times import check_plan, jitter_of, next_time
from penstock.runs.submit import Request, check_agent, check_declared_name, check_request

UPCOMING_MAX = 1000


class ScheduleClient:
    """The schedules of an open platform. ``tenant`` of each method defaults to the platform's own."""

    def __init__(self, services: Services, tenant: str) -> None:
        self._services = services
        self._tenant = tenant

    async def add(
        self,
        name: str,
        agent: AgentDef,
        value: Any,
        *,
        cron: str = "",
        every: timedelta | float = 0,
        timezone: str = "UTC",
        start: datetime | None = None,
        end: datetime | None = None,
        jitter: timedelta | float = 0,
        missed: Missed = "once",
        catch_up: int = 10,
        overlap: Overlap = "skip",
        max_runs: int = 0,
        tags: dict[str, str] | None = None,
        priority: int = 0,
        session: str = "",
        paused: bool = False,
        replace: bool = False,
        actor: str = "api",
        tenant: str | None = None,
    ) -> Schedule:
        """Declare a schedule. Durable when this returns.

        Args:
            name: up to 64 lower-case letters, digits, dots, dashes, underscores; unique in the tenant.
            agent: kept by its name: each run is of the release that the worker which fires it offers.
            value: the input of every run.
            cron: minute, hour, day of month, month, day of week; or ``@daily`` and the like.
            every: instead of ``cron``, the time from one run to the next (a number is seconds), counted from
                ``start``, else from now.
            timezone: the IANA zone whose clocks ``cron`` goes by.
            start, end: no run before, and none from then on; both with a time zone.
            jitter: each run is put off by a time of its own up to this.
            missed: what becomes of times that nobody was there for: ``once`` (one run for the latest), ``skip``, or
                ``all`` (the latest ``catch_up`` of them).
            overlap: when the run before has not ended: ``skip``, ``queue`` (one waits), ``cancel_previous``, ``allow``.
            max_runs: runs in all, after which it is over; 0 = any number.
            tags, priority, session: of each run.
            paused: it does nothing until it is resumed.
            replace: change the one of that name, if there is one; its counters and its pause stay.
            actor: who declares it.

        Raises:
            ScheduleInvalid: the plan cannot be kept to.
            ScheduleExists, EnvironmentForeign: there is one of that name; it is of another environment.
            SchedulesFull: the tenant has ``PENSTOCK_SCHEDULES_MAX``.
            UsageError: the input or a tag is not acceptable.
        """
        tenant = tenant or self._tenant
        plan = Plan(
            cron=cron,
            every=_microseconds(every, "every"),
            timezone=timezone,
            start=_moment(start, "start"),
            end=_moment(end, "end"),
            jitter=_microseconds(jitter, "jitter"),
            missed=_one_of(missed, Missed, "missed"),
            catch_up=catch_up,
            overlap=_one_of(overlap, Overlap, "overlap"),
            max_runs=max_runs,
            tags=dict(tags or {}),
            priority=priority,
            session=session,
        )
        plan = _anchored(plan, now := await self._services.journal.now())
        self._check(name, agent, value, plan, tenant, actor)
        return await self._put(name, agent, value, plan, tenant, actor, now, paused=paused, replace=replace)

    async def get(self, name: str, *, tenant: str | None = None) -> Schedule:
        """One schedule.

        Raises:
            ScheduleUnknown: there is none of that name.
        """
        tenant = tenant or self._tenant
        found = await self._services.journal.schedules.get(tenant, name)
        if found is None:
            raise _unknown(tenant, name)
        return found

    async def list_schedules(self, *, after: str = "", limit: int = 100, tenant: str | None = None) -> list[Schedule]:
        """By name, those after ``after``, at most ``limit`` (bounded at 1000)."""
        return await self._services.journal.schedules.list_schedules(tenant or self._tenant, after, limit)

    async def pause(self, name: str, *, actor: str = "api", tenant: str | None = None) -> None:
        """Fire it no more until it is resumed. Runs that it has made go on.

        Raises:
            ScheduleUnknown: there is none of that name.
        """
        tenant = tenant or self._tenant
        if not await self._services.journal.schedules.pause(tenant, name, actor[:NAME_MAX_CHARS]):
            raise _unknown(tenant, name)

    async def resume(self, name: str, *, tenant: str | None = None) -> None:
        """Fire it again, from its next time on: what lay in the pause was not missed, it was not wanted.

        Raises:
            ScheduleUnknown: there is none of that name.
        """
        schedule = await self.get(name, tenant=tenant)
        next_at = 0
        if not schedule.plan.max_runs or schedule.fired < schedule.plan.max_runs:
            next_at = next_time(schedule.plan, await self._services.journal.now())
        due_at = _due(schedule, next_at)
        if not await self._services.journal.schedules.resume(schedule.tenant, name, next_at, due_at):
            raise _unknown(schedule.tenant, name)

    async def remove(self, name: str, *, tenant: str | None = None) -> None:
        """Forget it, and erase its stored input. The runs that it has made stay.

        Raises:
            ScheduleUnknown: there is none of that name.
        """
        schedule = await self.get(name, tenant=tenant)
        journal = self._services.journal
        if not await journal.schedules.remove(schedule.tenant, name):
            raise _unknown(schedule.tenant, name)
        await journal.erase_subject(schedule.tenant, schedule.subject)

    async def fire(self, name: str, *, tenant: str | None = None) -> None:
        """Have a worker make one run of it soon, out of turn, whatever runs already, and also while it is paused.

        Raises:
            ScheduleUnknown: there is none of that name.
        """
        tenant = tenant or self._tenant
        if not await self._services.journal.schedules.request(tenant, name):
            raise _unknown(tenant, name)

    async def upcoming(self, name: str, count: int = 5, *, tenant: str | None = None) -> list[datetime]:
        """The next ``count`` times of its plan (bounded at 1000), in its time zone, without jitter.

        Raises:
            ScheduleUnknown: there is none of that name.
        """
        schedule = await self.get(name, tenant=tenant)
        return upcoming(schedule, count)

    def _check(self, name: str, agent: AgentDef, value: Any, plan: Plan, tenant: str, actor: str) -> None:
        check_declared_name(name, "schedule", ScheduleInvalid)
        check_agent(agent)
        check_plan(plan)
        request = Request(
            agent, value, tags=plan.tags, tenant=tenant, session=plan.session, priority=plan.priority, actor=actor
        )
        check_request(request, self._services.settings)

    async def _put(
        self,
        name: str,
        agent: AgentDef,
        value: Any,
        plan: Plan,
        tenant: str,
        actor: str,
        now: int,
        *,
        paused: bool,
        replace: bool,
    ) -> Schedule:
        journal, settings = self._services.journal, self._services.settings
        self._services.agents.add(agent)
        data = check_size(
            stable_json(agent.plain_input(value)), settings.input_max_bytes, "the input", "input_max_bytes"
        )
        known = await journal.schedules.get(tenant, name)
        if known is not None and not replace:
            raise ScheduleExists(f"the tenant {tenant!r} has a schedule named {name}")
        if known is not None:
            check_at_home(settings, known.plan.environment, f"the schedule {name}")
        identity = known.id if known else new_id(self._services.clock)
        subject = f"schedule:{identity}"
        key = await journal.ensure_subject(tenant, subject, token_bytes(32))
        payload = make_payload(tenant, subject, address(key, data), data)
        await journal.put_payloads([payload])
        next_at = next_time(plan, now - 1 if plan.start else now)
        schedule = Schedule(
            tenant=tenant,
            id=identity,
            name=name,
            agent=agent.name,
            plan=msgspec.structs.replace(plan, environment=settings.environment),
            subject=subject,
            address=payload.address,
            next_at=next_at,
            due_at=0,
            created_by=actor,
            paused=paused,
        )
        schedule = changed(schedule, due_at=_due(schedule, next_at))
        if not await journal.schedules.put(schedule, replace=replace, limit=settings.schedules_max):
            raise ScheduleExists(f"the tenant {tenant!r} has a schedule named {name}")
        return await self.get(name, tenant=tenant)


def upcoming(schedule: Schedule, count: int) -> list[datetime]:
    """The next times of a schedule's plan, in its time zone; none when it is over."""
    zone = ZoneInfo(schedule.plan.timezone)
    found: list[datetime] = []
    time = schedule.next_at
    most = min(count, UPCOMING_MAX)
    if schedule.plan.max_runs:
        most = min(most, schedule.plan.max_runs - schedule.fired)
    while time and len(found) < most:
        found.append(datetime.fromtimestamp(time / 1e6, UTC).astimezone(zone))
        time = next_time(schedule.plan, time)
    return found


def _due(schedule: Schedule, next_at: int) -> int:
    return next_at + jitter_of(schedule.id, next_at, schedule.plan.jitter) if next_at else 0


def _anchored(plan: Plan, now: int) -> Plan:
    """An interval without a start has its first run one interval from now."""
    return msgspec.structs.replace(plan, anchor=(plan.start or now + plan.every) if plan.every else now)


def _unknown(tenant: str, name: str) -> ScheduleUnknown:
    return ScheduleUnknown(f"the tenant {tenant!r} has no schedule named {str(name)[:100]!r}")


def _microseconds(duration: timedelta | float, name: str) -> int:
    seconds = duration.total_seconds() if isinstance(duration, timedelta) else duration
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= 366 * 86_400:
        raise ScheduleInvalid(f"{name} is from 0 seconds to 366 days, not {duration!r}")
    return round(seconds * 1e6)


def _moment(moment: datetime | None, name: str) -> int:
    if moment is None:
        return 0
    if moment.tzinfo is None:
        raise ScheduleInvalid(f"{name} has no time zone", hint="for example datetime(2027, 1, 1, tzinfo=UTC)")
    return round(moment.timestamp() * 1e6)


def _one_of(value: Any, kind: Any, name: str) -> Any:
    if value not in get_args(kind):
        raise ScheduleInvalid(f"{name} is {value!r}", hint=f"one of: {', '.join(get_args(kind))}")
    return value
