"""``penstock retention hold | release | holds | redact``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute, find_run, opened_journal
from penstock.cli.options import Actor, AsJson, Reason, Tenant, actor_or_account
from penstock.cli.output import columns, note, print_json, say
from penstock.cli.text import plural
from penstock.kernel.errors import UsageError

if TYPE_CHECKING:
    from penstock.ports.journal import Journal

_Run = Annotated[
    str | None, typer.Argument(metavar="[ID]", help="The run's id, or the beginning of it.", show_default=False)
]
_All = Annotated[bool, typer.Option("--all", help="Instead of one run: everything of the tenant.")]


def hold(
    run: _Run = None,
    everything: _All = False,
    reason: Reason = "",
    actor: Actor = None,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """Keep a run and its family, whatever their age, until released. When this returns, nothing of it goes any more."""
    _check(run, everything)
    return execute(_hold(run, reason, actor_or_account(actor), tenant, as_json))


def release(
    run: _Run = None,
    everything: _All = False,
    actor: Actor = None,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """Take a hold off: from then on the policies hold again."""
    _check(run, everything)
    return execute(_release(run, actor_or_account(actor), tenant, as_json))


def holds(tenant: Tenant = None, as_json: AsJson = False) -> int:
    """List what is on hold, by whom and why."""
    return execute(_holds(tenant, as_json))


def redact(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An archive.")],
    subject: Annotated[
        str,
        typer.Argument(metavar="SUBJECT", help="The subject; of a run that is its own subject, the run's whole id."),
    ],
    as_json: AsJson = False,
) -> int:
    """Take a subject's content and key out of an archive, for good. Its chains still verify."""
    from penstock.runs.retention.archiving import redact as take_out

    count = take_out(file, subject)
    if as_json:
        print_json({"file": str(file), "subject": subject, "runs": count})
    elif count:
        say(f"took out what {plural(count, 'run')} said of the subject; copies of the file still hold it")
    else:
        note("the archive holds nothing of that subject")
    return ExitCode.OK


def _check(run: str | None, everything: bool) -> None:
    if (run is None) != everything:
        raise UsageError("name a run, or say --all")


async def _hold(run: str | None, reason: str, actor: str, tenant: str | None, as_json: bool) -> int:
    async with opened_journal(tenant) as place:
        found = await _scope(place.journal, place.tenant, run)
        new = await place.journal.retention.hold(place.tenant, found, actor, reason)
    if as_json:
        print_json({"run": None if run is None else found, "held": True, "new": new})
    else:
        what = "everything of the tenant" if run is None else f"the family of run {found}"
        say(f"{what} is on hold" + ("" if new else " already"))
    return ExitCode.OK


async def _release(run: str | None, actor: str, tenant: str | None, as_json: bool) -> int:
    async with opened_journal(tenant) as place:
        found = await _scope(place.journal, place.tenant, run)
        released = await place.journal.retention.release(place.tenant, found, actor)
    if as_json:
        print_json({"run": None if run is None else found, "released": released})
    else:
        say("released" if released else "there was no such hold")
    return ExitCode.OK


async def _holds(tenant: str | None, as_json: bool) -> int:
    from penstock.ports.retention import MAX_LIST, TENANT

    async with opened_journal(tenant) as place:
        found = await place.journal.retention.holds(place.tenant, MAX_LIST)
    if as_json:
        print_json(found)
    elif not found:
        note("nothing is on hold")
    else:
        rows = [("everything" if item.run == TENANT else str(item.run), item.actor, item.reason) for item in found]
        say(columns(("RUN", "BY", "WHY"), rows))
    return ExitCode.OK


async def _scope(journal: "Journal", tenant: str, run: str | None) -> UUID:
    from penstock.ports.retention import TENANT

    return TENANT if run is None else await find_run(journal, tenant, run)
