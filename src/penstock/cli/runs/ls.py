"""``penstock runs ls``."""

from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute, find_run, opened_journal
from penstock.cli.options import AsJson, Tenant
from penstock.cli.output import columns, note, print_json, say
from penstock.cli.scopes import held_by
from penstock.kernel.errors import InputInvalid
from penstock.ports.words import OUTCOMES

if TYPE_CHECKING:
    from penstock.ports.controls import Control
    from penstock.ports.records import RunRow

LIMIT_MAX = 1000


def ls(
    status: Annotated[
        str | None, typer.Option(help="queued, running, parked, quarantined or ended.", show_default=False)
    ] = None,
    outcome: Annotated[str | None, typer.Option(help=f"{', '.join(OUTCOMES)}.", show_default=False)] = None,
    agent: Annotated[str | None, typer.Option(help="Only this agent's.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(help=f"How many, at most {LIMIT_MAX}.")] = 20,
    before: Annotated[
        str | None, typer.Option(metavar="ID", help="Only runs older than this one.", show_default=False)
    ] = None,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """List runs, newest first."""
    if not 1 <= limit <= LIMIT_MAX:
        raise InputInvalid(f"--limit is {limit}", hint=f"give a number from 1 to {LIMIT_MAX}")
    if outcome is not None and outcome not in OUTCOMES:
        raise InputInvalid(f"there is no outcome {outcome!r}", hint=f"one of {', '.join(OUTCOMES)}")
    return execute(_ls(status, outcome, agent, limit, before, tenant, as_json))


async def _ls(
    status: str | None,
    outcome: str | None,
    agent: str | None,
    limit: int,
    before: str | None,
    tenant: str | None,
    as_json: bool,
) -> int:
    from penstock.ports.records import RunFilter, Status

    if status is not None and status not in {known.value for known in Status}:
        raise InputInvalid(f"there is no status {status!r}", hint=f"one of {', '.join(Status)}")
    async with opened_journal(tenant) as place:
        journal = place.journal
        older = await find_run(journal, place.tenant, before) if before else None
        where = RunFilter(status=Status(status) if status else None, outcome=outcome, agent=agent, before=older)
        rows = await journal.list_runs(place.tenant, where, limit)
        now = await journal.now()
        stops = await journal.controls.wide(place.tenant)
    if as_json:
        print_json([_as_json(row) for row in rows])
    elif rows:
        _print(rows, now, stops)
        if len(rows) == limit:
            note(f"older ones: penstock runs ls --before {rows[-1].id}")
    else:
        note("no runs")
    return ExitCode.OK


def _print(rows: "list[RunRow]", now: int, stops: "list[Control]") -> None:
    from penstock.kernel.money import show_usd
    from penstock.views.lines import duration, waiting_words
    from penstock.views.waiting import waits_of

    table = []
    for row in rows:
        state = row.outcome or row.status.value
        code = f" [{row.code}]" if row.code and row.code != state else ""
        held = row.stop.value if row.stop else held_by(row, stops)
        stop = f" ({held})" if held and not row.outcome else ""
        waits = "; ".join(waiting_words(item) for item in waits_of(row))
        table.append(
            (
                str(row.id),
                row.agent,
                state + code + stop,
                f"{row.summary.steps:,}",
                f"{row.summary.tokens:,}",
                show_usd(row.summary.nano),
                f"{duration(max(0, now - row.created_at))} ago",
                duration(max(0, (row.ended_at or now) - row.created_at)),
                waits,
            )
        )
    head = ("ID", "AGENT", "STATE", "STEPS", "TOKENS", "COST", "SUBMITTED", "TOOK", "WAITS FOR")
    say(columns(head, table, drop=("TOOK", "STEPS", "WAITS FOR", "TOKENS", "SUBMITTED")))


def _as_json(row: "RunRow") -> dict[str, object]:
    from penstock.cli.output import plain
    from penstock.views.waiting import waits_of

    shown: dict[str, object] = plain(row)
    for name in ("head", "waiting"):
        del shown[name]
    return {**shown, "head": row.head.hex(), "waiting": waits_of(row)}
