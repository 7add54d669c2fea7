"""``penstock schedules add``."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.loading import load_agent
from penstock.cli.opening import execute, opened
from penstock.cli.options import Actor, AsJson, Tenant, actor_or_account
from penstock.cli.output import print_json, say
from penstock.cli.run import input_of, tags_of
from penstock.cli.schedules.show import as_json_of, when
from penstock.kernel.errors import UsageError

if TYPE_CHECKING:
    from penstock.agents.definition import Definition

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def add(  # noqa: PLR0917 - each parameter is an option of the command
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is called; unique in the tenant.")],
    agent: Annotated[str, typer.Argument(metavar="MODULE:AGENT", help="Where the agent is.")],
    value: Annotated[str, typer.Argument(metavar="INPUT", help="The input of every run, as for `penstock run`.")],
    cron: Annotated[
        str | None, typer.Option(help="minute hour day month weekday, or @daily and the like.", show_default=False)
    ] = None,
    every: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="Instead of --cron: such as 90s, 15m, 6h, 2d.", show_default=False),
    ] = None,
    timezone: Annotated[str, typer.Option(metavar="ZONE", help="Whose clocks --cron goes by, an IANA name.")] = "UTC",
    start: Annotated[
        str | None, typer.Option(metavar="TIME", help="No run before, such as 2027-01-31T08:00.", show_default=False)
    ] = None,
    end: Annotated[str | None, typer.Option(metavar="TIME", help="No run from then on.", show_default=False)] = None,
    jitter: Annotated[
        str, typer.Option(metavar="DURATION", help="Put each run off by a time of its own up to this.")
    ] = "0s",
    missed: Annotated[
        str, typer.Option(metavar="once|skip|all", help="What becomes of times that nobody was there for.")
    ] = "once",
    catch_up: Annotated[int, typer.Option(help="With --missed all: runs made up for, at most.")] = 10,
    overlap: Annotated[
        str,
        typer.Option(metavar="skip|queue|cancel_previous|allow", help="When the run before has not ended."),
    ] = "skip",
    max_runs: Annotated[int, typer.Option(help="Runs in all; 0 = any number.")] = 0,
    tag: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="A tag of each run; repeatable.", show_default=False),
    ] = None,
    priority: Annotated[int, typer.Option(help="Priority of each run; higher first.")] = 0,
    paused: Annotated[bool, typer.Option("--paused", help="Do nothing until it is resumed.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Change the one of that name, if there is one.")] = False,
    tenant: Tenant = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> int:
    """Run an agent again and again: at the times of a cron pattern, or at an interval.

    Workers that offer the agent fire it, whichever is there; each time becomes one run. Times without a zone are those
    of --timezone.
    """
    definition = load_agent(agent)
    options: dict[str, Any] = {
        "cron": cron or "",
        "every": _seconds(every, "--every") if every else 0,
        "timezone": timezone,
        "start": _moment(start, timezone, "--start"),
        "end": _moment(end, timezone, "--end"),
        "jitter": _seconds(jitter, "--jitter"),
        "missed": missed,
        "catch_up": catch_up,
        "overlap": overlap,
        "max_runs": max_runs,
        "tags": tags_of(tag or []),
        "priority": priority,
        "paused": paused,
        "replace": replace,
        "actor": actor_or_account(actor),
    }
    return execute(_add(name, definition, input_of(definition, value), options, tenant, as_json))


async def _add(
    name: str, agent: "Definition", value: Any, options: dict[str, Any], tenant: str | None, as_json: bool
) -> int:
    async with opened(tenant, agents=[agent]) as platform:
        stored = await platform.schedules.add(name, agent, value, **options)
    if as_json:
        print_json(as_json_of(stored))
    else:
        state = ", paused" if stored.paused else ""
        say(f"schedule {stored.name}: next at {when(stored, stored.next_at)}{state}")
    return ExitCode.OK


def _seconds(text: str, option: str) -> float:
    """A duration such as ``15m``; a bare number is seconds."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS else (text, "s")
    try:
        return float(number) * _UNITS[unit]
    except ValueError:
        raise UsageError(f"{option} {text!r} is not a duration", hint="for example 90s, 15m, 6h or 2d") from None


def _moment(text: str | None, timezone: str, option: str) -> datetime | None:
    if text is None:
        return None
    from zoneinfo import ZoneInfo

    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC if timezone == "UTC" else ZoneInfo(timezone))
    except (ValueError, OSError, KeyError):
        hint = "for example 2027-01-31T08:00, with a --timezone that exists"
        raise UsageError(f"{option} {text!r} is not a time", hint=hint) from None
    return moment
