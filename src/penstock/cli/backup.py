"""``penstock backup create | restore | restored | go-on``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute, opened, server
from penstock.cli.options import Actor, AsJson, actor_or_account
from penstock.cli.output import note, print_json, say
from penstock.cli.text import plural

if TYPE_CHECKING:
    from penstock.ports.releases import Restored

MIB = 1024 * 1024
_GoOn = Annotated[bool, typer.Option("--go-on", help="Let the runs go on at once, instead of holding them.")]


def create(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file; it will hold all that was recorded.")],
    as_json: AsJson = False,
) -> int:
    """Write a copy of the journal as it is at one moment, while workers go on."""
    return execute(_create(file, as_json))


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `backup create` wrote.")],
    go_on: _GoOn = False,
    actor: Actor = None,
    as_json: AsJson = False,
) -> int:
    """Read a copy into the configured database, which must be empty, and hold its runs.

    What happened after the copy was made is not in it: calls made since then would be made again. So the runs that had
    not ended are paused, and workers that may still hold them are fenced out, until `penstock backup go-on`.
    """
    return execute(_restore(file, go_on, actor_or_account(actor), as_json))


def restored(go_on: _GoOn = False, actor: Actor = None, as_json: AsJson = False) -> int:
    """Say that the configured database was restored by other means, for example from a base backup.

    Does what `restore` does afterwards: fences out workers of the time after the backup, and holds the runs.
    """
    return execute(_restored(go_on, actor_or_account(actor), as_json))


def go_on(actor: Actor = None, as_json: AsJson = False) -> int:
    """Let the runs go on that a restore has held."""
    return execute(_go_on(actor_or_account(actor), as_json))


async def _create(file: Path, as_json: bool) -> int:
    from penstock.adapters.postgres.backup import dump

    async with server() as (dsn, _):
        size = await dump(dsn, file)
    if as_json:
        print_json({"file": str(file), "bytes": size})
    else:
        say(f"wrote {file}: {size / MIB:,.1f} MiB; it holds all that was recorded, so keep it as safe as the database")
    return ExitCode.OK


async def _restore(file: Path, go_on: bool, actor: str, as_json: bool) -> int:
    from penstock.adapters.postgres.backup import restore as read_back

    async with server() as (dsn, seconds):
        await read_back(dsn, file, seconds)
    return await _restored(go_on, actor, as_json)


async def _restored(go_on: bool, actor: str, as_json: bool) -> int:
    async with opened() as platform:
        done = await platform.journal.releases.mark_restored(hold=not go_on, actor=actor)
    if as_json:
        print_json(done)
    else:
        _print(done, held=not go_on)
    return ExitCode.OK


def _print(done: "Restored", *, held: bool) -> None:
    say(f"{plural(done.fenced, 'run')} had not ended; whoever held them before can write nothing any more")
    if held:
        say(f"{plural(done.held, 'run')} held: nothing goes on")
        note("1. penstock audit verify --all")
        note("2. look at what was done after the copy was made: penstock runs ls; cancel what must not be repeated")
        note("3. penstock backup go-on")


async def _go_on(actor: str, as_json: bool) -> int:
    async with opened() as platform:
        count = await platform.journal.releases.resume_restored(actor)
    if as_json:
        print_json({"resumed": count})
    else:
        say(f"{plural(count, 'run')} go on" if count != 1 else "1 run goes on")
    return ExitCode.OK
