"""``penstock queue ls``."""

from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute, opened_journal
from penstock.cli.options import AsJson, Tenant
from penstock.cli.output import columns, note, print_json, say
from penstock.cli.scopes import in_words
from penstock.kernel.errors import InputInvalid, UsageError

if TYPE_CHECKING:
    from penstock.ports.queue import Depth, HeldSession

LIMIT_MAX = 1000


def ls(
    agent: Annotated[str | None, typer.Option(help="Only this agent's.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(help=f"How many lines of each kind, at most {LIMIT_MAX}.")] = 50,
    everybody: Annotated[bool, typer.Option("--all-tenants", help="Those of all tenants.")] = False,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """Show what is queued for each agent and customer, how fast it moves, and the sessions that hold runs up.

    PACE is how many queued runs are taken in a second, WAIT what a run submitted now must expect, both by what
    happened in the last 20 seconds. A wait of "?" means that nothing was taken in that time.
    """
    if not 1 <= limit <= LIMIT_MAX:
        raise InputInvalid(f"--limit is {limit}", hint=f"give a number from 1 to {LIMIT_MAX}")
    if everybody and tenant is not None:
        raise UsageError("--tenant and --all-tenants contradict each other")
    return execute(_ls(agent, limit, everybody, tenant, as_json))


async def _ls(agent: str | None, limit: int, everybody: bool, tenant: str | None, as_json: bool) -> int:
    async with opened_journal(tenant) as place:
        whose = None if everybody else place.tenant
        queue = place.journal.queue
        depths = await queue.depths(whose, agent, limit)
        sessions = await queue.sessions(whose, limit)
        stops = await place.journal.controls.wide(place.tenant)
        now = await place.journal.now()
    if as_json:
        waits = [{**_plain(depth), "oldest_wait_seconds": _age(depth.oldest, now)} for depth in depths]
        print_json({"queues": waits, "sessions": [{**_plain(item), "blocked": item.blocked} for item in sessions]})
        return ExitCode.OK
    if depths:
        say(_queues(depths, now, everybody))
    else:
        note("nothing is queued, running or parked")
    if sessions:
        say("")
        say(_sessions(sessions, now))
    for item in sessions:
        if item.blocked:
            note(_advice(item))
    if stops:
        note(f"held back until it is resumed: {', '.join(in_words(stop) for stop in stops)}")
    return ExitCode.OK


def _queues(depths: "list[Depth]", now: int, everybody: bool) -> str:
    from penstock.views.lines import duration

    rows = [
        (
            depth.tenant,
            depth.agent,
            depth.customer or "-",
            f"{depth.queued:,}" + (f" ({depth.behind:,} in sessions)" if depth.behind else ""),
            f"{depth.running:,}",
            f"{depth.parked:,}",
            f"{depth.quarantined:,}",
            "-" if depth.oldest is None else duration(max(0, now - depth.oldest)),
            f"{depth.rate:,.3g}/s" if depth.queued else "-",
            "?" if depth.expected_seconds is None else duration(round(depth.expected_seconds * 1e6)),
            f"{depth.weight:g}",
        )
        for depth in depths
    ]
    head = [
        "TENANT",
        "AGENT",
        "CUSTOMER",
        "QUEUED",
        "RUNNING",
        "PARKED",
        "SET ASIDE",
        "OLDEST",
        "PACE",
        "WAIT",
        "WEIGHT",
    ]
    first = 0 if everybody else 1
    return columns(
        head[first:], [row[first:] for row in rows], drop=("SET ASIDE", "PARKED", "WEIGHT", "PACE", "RUNNING")
    )


def _sessions(sessions: "list[HeldSession]", now: int) -> str:
    from penstock.views.lines import duration

    rows = [
        (
            item.session,
            str(item.holder),
            item.status.value
            + (f" ({item.stop.value})" if item.stop else "")
            + (f" [{item.code}]" if item.code else ""),
            f"{item.behind:,}" + ("+" if item.behind >= LIMIT_MAX else ""),
            duration(max(0, now - item.since)),
        )
        for item in sessions
    ]
    return columns(("SESSION", "HELD BY", "STATE", "BEHIND IT", "SINCE"), rows, drop=("SINCE",))


def _advice(item: "HeldSession") -> str:
    from penstock.cli.text import safe
    from penstock.ports.records import Stop

    how = "resume" if item.stop is Stop.PAUSE else "release"
    tenant = f" --tenant {item.tenant}"
    return (
        f"session {safe(item.session)} is blocked; `penstock runs {how} {item.holder}{tenant}` lets it go on,"
        f" `penstock runs cancel {item.holder}{tenant}` gives it to the next"
    )


def _age(since: int | None, now: int) -> float | None:
    return None if since is None else max(0, now - since) / 1e6


def _plain(item: "Depth | HeldSession") -> dict[str, object]:
    from penstock.cli.output import plain

    shown: dict[str, object] = plain(item)
    return shown
