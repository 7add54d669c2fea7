"""``penstock upgrade status | expand | finalize``."""

from typing import TYPE_CHECKING

from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute, opened, server
from penstock.cli.options import Actor, AsJson, actor_or_account
from penstock.cli.output import note, print_json, say
from penstock.cli.text import plural, safe
from penstock.kernel.errors import NotFinalized

if TYPE_CHECKING:
    from penstock.adapters.postgres.upgrade import UpgradeStatus


def status(as_json: AsJson = False) -> int:
    """Show how far the database's schema and format are, and which workers are alive. Changes nothing."""
    return execute(_status(as_json))


def expand(as_json: AsJson = False) -> int:
    """Bring the database's schema up to this installation's, while workers of the release before go on working.

    Whatever opens the database does the same; this does it at a time of your choosing, before any new worker starts.
    """
    return execute(_expand(as_json))


def finalize(actor: Actor = None, as_json: AsJson = False) -> int:
    """Write new runs in the newest format. Refused while a worker is alive that could not read them."""
    return execute(_finalize(actor_or_account(actor), as_json))


async def _status(as_json: bool) -> int:
    from penstock.adapters.postgres.upgrade import look

    async with server() as (dsn, seconds):
        found = await look(dsn, seconds)
    if as_json:
        print_json({**_plain(found), "finalized": found.finalized})
        return ExitCode.OK
    say(f"schema   {'up to date' if not found.pending else 'to be applied: ' + ', '.join(found.pending)}")
    if found.newer:
        say(f"         the database has newer parts: {safe(', '.join(found.newer))}")
    word = "none yet" if not found.format else f"new runs are written in format {found.format}"
    say(f"format   {word}; this installation writes up to {found.known_format}")
    for worker in found.workers:
        offers = f"offers {plural(len(worker.releases), 'release')}" if worker.format > 1 else "does not say its offers"
        say(f"worker   {safe(worker.name)} reads format {worker.format}, {offers}")
    if found.pending:
        note("next: penstock upgrade expand")
    elif not found.finalized:
        note("next, when no worker of an older release is left: penstock upgrade finalize")
    return ExitCode.OK


async def _expand(as_json: bool) -> int:
    from penstock.adapters.postgres.upgrade import expand as expand_schema

    async with server() as (dsn, seconds):
        applied = await expand_schema(dsn, seconds)
    if as_json:
        print_json({"applied": applied})
    else:
        say(f"applied {', '.join(applied)}" if applied else "the schema is up to date")
    return ExitCode.OK


async def _finalize(actor: str, as_json: bool) -> int:
    from penstock.events import FORMAT

    async with opened() as platform:
        releases = platform.journal.releases
        before = await releases.write_format()
        old = await releases.finalize(FORMAT, actor)
    if old:
        raise NotFinalized(
            f"{plural(len(old), 'live worker')} could not read format {FORMAT}: {', '.join(old)}",
            hint="drain them (SIGTERM) and start workers of this release in their place, then try again",
            workers=old,
        )
    if as_json:
        print_json({"format": FORMAT, "before": before})
    else:
        changed = "" if before < FORMAT else " already"
        say(f"new runs are{changed} written in format {FORMAT}; runs submitted before keep theirs")
    return ExitCode.OK


def _plain(found: "UpgradeStatus") -> dict[str, object]:
    from penstock.cli.output import plain

    shown: dict[str, object] = plain(found)
    return shown
