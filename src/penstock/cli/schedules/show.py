"""``penstock schedules ls | show | next``."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute, opened
from penstock.cli.options import AsJson, ScheduleName, Tenant
from penstock.cli.output import columns, note, plain, print_json, say
from penstock.cli.text import whole

if TYPE_CHECKING:
    from penstock.ports.schedules import Schedule


def ls(
    after: Annotated[str, typer.Option(metavar="NAME", help="Only those after this name.", show_default=False)] = "",
    limit: Annotated[int, typer.Option(help="At most so many; 1000 at most.", min=1, max=1000)] = 100,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """List schedules by name, with their state."""
    return execute(_ls(after, limit, tenant, as_json))


def show(name: ScheduleName, tenant: Tenant = None, as_json: AsJson = False) -> int:
    """Show one schedule: its plan, its input, and where it stands."""
    return execute(_show(name, tenant, as_json))


def upcoming(
    name: ScheduleName,
    count: Annotated[int, typer.Option("--count", "-n", help="How many times.", min=1, max=1000)] = 5,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """Show a schedule's next times, in its time zone and in UTC, without jitter."""
    return execute(_upcoming(name, count, tenant, as_json))


async def _ls(after: str, limit: int, tenant: str | None, as_json: bool) -> int:
    async with opened(tenant) as platform:
        found = await platform.schedules.list_schedules(after=after, limit=limit)
        now = await platform.journal.now()
    if as_json:
        print_json([as_json_of(item) for item in found])
    elif not found:
        note("there are no schedules")
    else:
        rows = [
            (item.name, item.agent, pattern(item), _state(item, now), when(item, item.next_at), f"{item.fired:,}")
            for item in found
        ]
        say(columns(("NAME", "AGENT", "WHEN", "STATE", "NEXT", "RUNS"), rows, drop=("RUNS", "AGENT")))
    return ExitCode.OK


async def _show(name: str, tenant: str | None, as_json: bool) -> int:
    import msgspec

    from penstock.kernel.errors import PayloadMissing

    async with opened(tenant) as platform:
        item = await platform.schedules.get(name)
        now = await platform.journal.now()
        try:
            data = await platform.services.reader.read(item.tenant, item.subject, item.address)
        except PayloadMissing:
            value = None
        else:
            value = msgspec.json.decode(data)
    if as_json:
        print_json({**as_json_of(item), "input": value})
        return ExitCode.OK
    plan = item.plan
    lines = [
        ("schedule", item.name),
        ("agent", item.agent),
        ("when", pattern(item)),
        ("from", when(item, plan.start)),
        ("until", when(item, plan.end)),
        ("jitter", _duration(plan.jitter) if plan.jitter else "none"),
        ("missed", f"all, at most {plan.catch_up}" if plan.missed == "all" else plan.missed),
        ("overlap", plan.overlap),
        (
            "runs",
            f"{item.fired:,}" + (f" of {plan.max_runs:,}" if plan.max_runs else "") + f", {item.skipped:,} skipped",
        ),
        ("state", _state(item, now)),
        ("next", when(item, item.next_at)),
        ("last", when(item, item.last_at) + (f", run {item.last_run}" if item.last_run else "")),
        ("problem", item.last_error),
        ("made", f"{when(item, item.created_at)} by {item.created_by}"),
        ("input", value),
    ]
    say("\n".join(f"{label:<9} {whole(value)}" for label, value in lines if value not in ("", None)))
    return ExitCode.OK


async def _upcoming(name: str, count: int, tenant: str | None, as_json: bool) -> int:
    async with opened(tenant) as platform:
        times = await platform.schedules.upcoming(name, count)
    if as_json:
        print_json([time.isoformat() for time in times])
    elif not times:
        note(f"schedule {name} has no time to come")
    else:
        head = ("LOCAL", "UTC")
        rows = [(f"{time:%a %Y-%m-%d %H:%M:%S %Z}", f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S}") for time in times]
        say(columns(head, rows))
    return ExitCode.OK


def as_json_of(schedule: "Schedule") -> dict[str, Any]:
    """All of a schedule but where its input is stored."""
    found: dict[str, Any] = plain(schedule)
    for name in ("address", "subject"):
        del found[name]
    return found


def pattern(schedule: "Schedule") -> str:
    """When it runs, in a few words."""
    plan = schedule.plan
    return f"{plan.cron} {plan.timezone}" if plan.cron else f"every {_duration(plan.every)}"


def when(schedule: "Schedule", time: int) -> str:
    """A moment by the clocks of the schedule's zone; '-' for none."""
    if not time:
        return "-"
    from zoneinfo import ZoneInfo

    return f"{datetime.fromtimestamp(time / 1e6, ZoneInfo(schedule.plan.timezone)):%Y-%m-%d %H:%M:%S %Z}"


def _duration(microseconds: int) -> str:
    from penstock.views.lines import duration

    return duration(microseconds)


def _state(schedule: "Schedule", now: int) -> str:
    if schedule.paused:
        return "paused" + (f" by {schedule.paused_by}" if schedule.paused_by else "")
    if not schedule.next_at:
        return "over"
    if schedule.last_error:
        return "failing"
    if schedule.queued_at:
        return "waits for its last run"
    late = now - schedule.due_at
    return f"overdue by {_duration(late)}" if late > OVERDUE_US else "active"


OVERDUE_US = 10_000_000
"""From how late on a list says so: workers look every second or so, so nobody offers the agent."""
