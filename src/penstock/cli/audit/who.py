"""``penstock audit who``: who answers for what a run did."""

from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.audit.options import reading
from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute, find_run
from penstock.cli.options import AsJson, RunId, Tenant
from penstock.cli.output import columns, plain, print_json, say
from penstock.cli.text import safe
from penstock.kernel.errors import RunUnknown

if TYPE_CHECKING:
    from penstock.views.accountability import Account


def who(
    run: RunId,
    step: Annotated[
        str | None,
        typer.Argument(metavar="[STEP]", help="A call's path, or the number of its event; without it all calls."),
    ] = None,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """Say for each call who built, reviewed and released what was called, set the policy, approved, oversaw, bears
    responsibility, and for whom it ran; and for which of these the record names nobody."""
    return execute(_who(run, step, tenant, as_json))


async def _who(run: str, step: str | None, tenant: str | None, as_json: bool) -> int:
    from penstock.kernel.ids import id_time_us
    from penstock.views import oversight
    from penstock.views.accountability import account_of, accounts_of, owners_in
    from penstock.views.lines import clock_time

    async with reading(tenant) as platform:
        found = await find_run(platform.journal, platform.tenant, run)
        row = await platform.journal.get_run(platform.tenant, found)
        if row is None:
            raise RunUnknown(f"there is no run {run}")
        policy = platform.services.policy
        owner_of = owners_in(policy.for_run(row.agent, row.release, row.env) if policy is not None else None)
        watched = await oversight.watches(platform.journal, row.tenant, id_time_us(row.id))
        if step:
            accounts = await account_of(platform.journal, row, step, owner_of, watched)
        else:
            accounts = await accounts_of(platform.journal, row, owner_of=owner_of, watched=watched)
    kept = watched.get(row.id, ())
    if as_json:
        calls = [plain(account) for account in accounts]
        print_json({"run": str(row.id), "calls": calls, "watched": oversight.plain(kept)})
        return ExitCode.OK
    for account in accounts:
        say(_heading(account))
        rows = [[party.part, party.who, party.detail, party.source] for party in account.parties]
        say(columns(["PART", "WHO", "WHAT", "SOURCE"], [[safe(cell) for cell in row] for row in rows]))
        if account.missing:
            say(f"nobody is named as: {', '.join(account.missing)}")
        say("")
    for watch in kept:
        until = "" if watch.until == oversight.FOREVER else f" to {clock_time(watch.until)}"
        say(safe(f"{watch.who} {oversight.words(watch)}: {clock_time(watch.since)}{until} ({watch.source})"))
    return ExitCode.OK


def _heading(account: "Account") -> str:
    risk = f", {account.effect}, risk {account.risk}" if account.effect else ""
    place = f", bound to {account.binding}" if account.binding else ""
    tried = f", attempt {account.attempt}" if account.attempt > 1 else ""
    return safe(f"{account.path or '-'}  {account.what} {account.name} (event {account.seq}{risk}{place}{tried})")
