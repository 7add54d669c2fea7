"""``penstock triggers ls | show``."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute, opened
from penstock.cli.options import AsJson, Tenant, TriggerName
from penstock.cli.output import columns, note, plain, print_json, say
from penstock.cli.text import whole

if TYPE_CHECKING:
    from penstock.ports.triggers import Trigger

FAILURES_SHOWN = 10


def ls(
    after: Annotated[str, typer.Option(metavar="NAME", help="Only those after this name.", show_default=False)] = "",
    limit: Annotated[int, typer.Option(help="At most so many; 1000 at most.", min=1, max=1000)] = 100,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """List triggers by name, with their state."""
    return execute(_ls(after, limit, tenant, as_json))


def show(name: TriggerName, tenant: Tenant = None, as_json: AsJson = False) -> int:
    """Show one trigger: what it is for, what became of its events, and those that failed."""
    return execute(_show(name, tenant, as_json))


async def _ls(after: str, limit: int, tenant: str | None, as_json: bool) -> int:
    async with opened(tenant) as platform:
        found = await platform.triggers.list_triggers(after=after, limit=limit)
    if as_json:
        print_json([as_json_of(item) for item in found])
    elif not found:
        note("there are no triggers")
    else:
        rows = [
            (item.name, what_for(item), item.agent, _state(item), f"{item.fired:,}", f"{item.failed:,}")
            for item in found
        ]
        say(columns(("NAME", "EVENT", "AGENT", "STATE", "RUNS", "FAILED"), rows, drop=("FAILED", "RUNS")))
    return ExitCode.OK


async def _show(name: str, tenant: str | None, as_json: bool) -> int:
    async with opened(tenant) as platform:
        item = await platform.triggers.get(name)
        backlog = await platform.triggers.backlog(name)
        failures = await platform.triggers.failures(name, FAILURES_SHOWN)
    failed = [
        {"key": one.key, "dedup": one.dedup, "at": one.at, "error": one.error, "event": one.event} for one in failures
    ]
    if as_json:
        counts = {"pending": backlog.pending, "failed_kept": backlog.failed, "failures": failed}
        print_json({**as_json_of(item), **counts})
        return ExitCode.OK
    import json

    plan = item.plan
    lines = [
        ("trigger", item.name),
        ("event", what_for(item)),
        ("agent", item.agent),
        ("input", json.dumps(plan.input)),
        ("tags", " ".join(f"{key}={value}" for key, value in sorted(plan.tags.items()))),
        ("session", plan.session),
        ("state", _state(item)),
        ("pending", f"{backlog.pending:,} of at most {item.pending_max:,}"),
        ("runs", f"{item.fired:,}" + (f", the last {_when(item.last_at)}: {item.last_run}" if item.last_run else "")),
        ("failed", f"{item.failed:,}, {backlog.failed:,} of them kept for `penstock triggers retry`"),
        *(("problem", f"key {one['key']}, id {one['dedup']}: {one['error']}") for one in failed),
        ("made", f"{_when(item.created_at)} by {item.created_by}"),
    ]
    say("\n".join(f"{label:<9} {whole(value)}" for label, value in lines if value))
    return ExitCode.OK


def as_json_of(trigger: "Trigger") -> dict[str, Any]:
    """All of a trigger."""
    found: dict[str, Any] = plain(trigger)
    return found


def what_for(trigger: "Trigger") -> str:
    """Which events it is for, in a few words."""
    return f"{trigger.event} of {trigger.prefix}*" if trigger.prefix else trigger.event


def _when(time: int) -> str:
    return f"{datetime.fromtimestamp(time / 1e6, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _state(trigger: "Trigger") -> str:
    if trigger.paused:
        return "paused" + (f" by {trigger.paused_by}" if trigger.paused_by else "")
    return "failing" if trigger.last_error else "active"
