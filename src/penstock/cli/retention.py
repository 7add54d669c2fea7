"""``penstock retention policy | plan | run | forgotten``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute, opened
from penstock.cli.options import Actor, AsJson, Tenant, actor_or_account
from penstock.cli.output import columns, note, print_json, say
from penstock.cli.text import plural, safe
from penstock.kernel.errors import RetentionBusy, UsageError

if TYPE_CHECKING:
    from penstock.ports.retention import Policy
    from penstock.runs.retention.retention import Done

DAY_US = 86_400_000_000
MIB = 1024 * 1024
DAYS_MAX = 36_600
LISTED = 1000

_Days = float | None


def policy(  # noqa: PLR0917 - each parameter is an option of the command
    agent: Annotated[
        str,
        typer.Option(
            "--agent", help="The agent; without it: all that have no policy of their own.", show_default=False
        ),
    ] = "",
    keep_days: Annotated[
        _Days,
        typer.Option(
            "--keep-days", min=0, max=DAYS_MAX, help="Days after the end of a run's family.", show_default=False
        ),
    ] = None,
    archive: Annotated[bool, typer.Option("--archive", help="Then write the runs to files, and prune them.")] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Then delete their events and content.")] = False,
    forget_days: Annotated[
        _Days,
        typer.Option(
            "--forget-days",
            min=0,
            max=DAYS_MAX,
            help="Days after its end until a run's row goes too, with its idempotency key; without it: never.",
            show_default=False,
        ),
    ] = None,
    without_content: Annotated[
        bool, typer.Option("--without-content", help="Leave payloads and keys out of archives: chains still verify.")
    ] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the policy: keep its runs for ever.")] = False,
    actor: Actor = None,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """Set how long ended runs are kept, and what becomes of them then; without --keep-days show what is set."""
    if remove and (keep_days is not None or archive or prune):
        raise UsageError("--remove goes with --agent alone")
    if not remove and keep_days is None:
        if archive or prune or forget_days is not None or without_content or agent:
            raise UsageError("say how long runs are kept: --keep-days")
        return execute(_show(tenant, as_json))
    if remove:
        return execute(_remove(agent, tenant, as_json))
    assert keep_days is not None
    if archive == prune:
        raise UsageError("say what becomes of the runs: --archive or --prune")
    if prune and without_content:
        raise UsageError("--without-content is about archives; --prune makes none")
    if forget_days is not None and forget_days < keep_days:
        raise UsageError("a run's row cannot go before the run: --forget-days is less than --keep-days")
    forget = None if forget_days is None else max(1, int(forget_days * DAY_US))
    keep = int(keep_days * DAY_US)
    return execute(
        _set(agent, (keep, forget or 0), archive, not without_content, actor_or_account(actor), tenant, as_json)
    )


def plan(tenant: Tenant = None, as_json: AsJson = False) -> int:
    """Show what the next round would take, agent by agent; changes nothing."""
    return execute(_plan(tenant, as_json))


def run(
    to: Annotated[
        Path | None,
        typer.Option(
            "--to", metavar="DIR", help="Where archives go; default PENSTOCK_ARCHIVE_DIR.", show_default=False
        ),
    ] = None,
    at_once: Annotated[
        bool, typer.Option("--at-once", help="Delete events now, instead of waiting for whole months to drop.")
    ] = False,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """Archive and prune what is due now. Workers do the same by themselves, once an hour."""
    return execute(_run(to, at_once, tenant, as_json))


def forgotten(tenant: Tenant = None, as_json: AsJson = False) -> int:
    """Show the sums over runs whose rows are gone, by month, agent and outcome."""
    return execute(_forgotten(tenant, as_json))


async def _show(tenant: str | None, as_json: bool) -> int:
    async with opened(tenant) as platform:
        found = await platform.journal.retention.policies(platform.tenant, limit=LISTED)
    if as_json:
        print_json(found)
    elif not found:
        note("no policy: all runs are kept")
    else:
        rows = [
            (item.agent or "(all others)", _days(item.keep), _then(item), _forget(item), item.actor) for item in found
        ]
        say(columns(("AGENT", "KEPT", "THEN", "ROW", "SET BY"), rows, drop=("SET BY",)))
    return ExitCode.OK


async def _set(
    agent: str, kept: tuple[int, int], archive: bool, content: bool, actor: str, tenant: str | None, as_json: bool
) -> int:
    from penstock.ports.retention import Action, Policy

    async with opened(tenant) as platform:
        action = Action.ARCHIVE if archive else Action.PRUNE
        wanted = Policy(platform.tenant, agent, action, *kept, content, actor)
        await platform.journal.retention.put_policy(wanted)
        folder = platform.services.settings.archive_dir
    if as_json:
        print_json(wanted)
        return ExitCode.OK
    say(f"runs of {safe(agent) or 'all other agents'} are kept for {_days(wanted.keep)}, then {_then(wanted)}")
    if archive and folder is None:
        note(
            "workers archive into PENSTOCK_ARCHIVE_DIR, which is not set here; or use `penstock retention run --to DIR`"
        )
    return ExitCode.OK


async def _remove(agent: str, tenant: str | None, as_json: bool) -> int:
    async with opened(tenant) as platform:
        removed = await platform.journal.retention.remove_policy(platform.tenant, agent)
    if as_json:
        print_json({"agent": agent, "removed": removed})
    else:
        say("removed: its runs are kept" if removed else "there was no such policy")
    return ExitCode.OK


async def _plan(tenant: str | None, as_json: bool) -> int:
    from penstock.runs.retention.retention import plan as make_plan

    async with opened(tenant) as platform:
        found = await make_plan(platform.journal, platform.tenant)
    if as_json:
        print_json(found)
    elif not found:
        note("nothing is due")
    else:
        rows = [
            (
                item.agent,
                item.action.value,
                f"{item.runs:,}{'+' if item.more else ''}",
                f"{item.events:,}",
                f"{item.bytes / MIB:,.1f} MiB",
            )
            for item in found
        ]
        say(columns(("AGENT", "THEN", "RUNS", "EVENTS", "SIZE"), rows))
        note("sizes are without content that runs of a named subject share")
    return ExitCode.OK


async def _run(to: Path | None, at_once: bool, tenant: str | None, as_json: bool) -> int:
    from penstock.runs.retention.retention import Round

    async with opened(tenant) as platform:
        settings = platform.services.settings
        folder = to if to is not None else settings.archive_dir
        linger = 0 if at_once else int(settings.retention_linger_seconds * 1e6)
        done = await Round(platform.services, folder, linger).run(platform.tenant)
    if done is None:
        raise RetentionBusy("another process is archiving or pruning")
    if as_json:
        print_json(done)
    else:
        _print(done, folder)
    return ExitCode.FAILED if done.broken or done.skipped else ExitCode.OK


def _print(done: "Done", folder: Path | None) -> None:
    for name in done.files:
        say(f"wrote {folder}/{name}")
    say(f"{plural(done.archived, 'run')} archived, {done.pruned:,} pruned, {done.forgotten:,} forgotten")
    if done.months:
        say(f"dropped whole: {', '.join(done.months)}")
    for broken in done.broken:
        note(f"kept, for its record does not verify: run {broken}; see `penstock audit verify {broken}`")
    if done.skipped:
        agents = safe(", ".join(done.skipped))
        note(f"not archived, for no folder is named: runs of {agents}; use --to, or set PENSTOCK_ARCHIVE_DIR")
    if done.waiting:
        note(f"content of {plural(done.waiting, 'run')} stays for now: runs of the same subject are being executed")


async def _forgotten(tenant: str | None, as_json: bool) -> int:
    async with opened(tenant) as platform:
        found = await platform.journal.retention.forgotten(platform.tenant)
    if as_json:
        print_json(found)
    elif not found:
        note("no run was forgotten")
    else:
        from penstock.kernel.money import show_usd

        rows = [
            (item.month, item.agent, item.outcome, f"{item.runs:,}", f"{item.tokens:,}", show_usd(item.nano))
            for item in found
        ]
        say(columns(("MONTH", "AGENT", "OUTCOME", "RUNS", "TOKENS", "COST"), rows))
    return ExitCode.OK


def _days(microseconds: int) -> str:
    days = microseconds / DAY_US
    return f"{days:g} day" if days == 1 else f"{days:g} days"


def _then(policy: "Policy") -> str:
    return policy.action.value + ("" if policy.content else " without content")


def _forget(policy: "Policy") -> str:
    return f"goes after {_days(policy.forget)}" if policy.forget else "stays"
