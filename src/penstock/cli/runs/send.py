"""``penstock runs send``."""

import json
from typing import Annotated, Any

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute, find_run, opened
from penstock.cli.options import Actor, AsJson, Tenant, actor_or_account
from penstock.cli.output import note, print_json, say
from penstock.kernel.errors import InputInvalid


def send(  # noqa: PLR0917 - each parameter is an option of the command
    to: Annotated[str, typer.Argument(metavar="ID", help="The run's id, or the beginning of it; with --key: '-'.")],
    name: Annotated[str, typer.Argument(help="The event's name.")],
    value: Annotated[str, typer.Argument(metavar="JSON", help="The event's value.")] = "null",
    key: Annotated[
        str, typer.Option("--key", help="To whoever waits for the name with this key.", show_default=False)
    ] = "",
    dedup: Annotated[
        str, typer.Option("--dedup", metavar="ID", help="The same id again is no second event.", show_default=False)
    ] = "",
    actor: Actor = None,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """Send an event to a run, or with --key to the run that waits for that name and key, or will."""
    if bool(key) != (to == "-"):
        raise InputInvalid(
            "an event goes to a run or to a key", hint="penstock runs send ID NAME JSON, or send - NAME JSON --key KEY"
        )
    try:
        plain = json.loads(value)
    except ValueError as error:
        raise InputInvalid(f"the value is not JSON: {error}", hint="quote it: '\"text\"', '{\"a\": 1}'") from None
    options = {"dedup": dedup, "sender": actor_or_account(actor)}
    return execute(_send(to, name, plain, key, options, tenant, as_json))


async def _send(
    to: str, name: str, value: Any, key: str, options: dict[str, str], tenant: str | None, as_json: bool
) -> int:
    async with opened(tenant) as platform:
        if key:
            sent = await platform.publish_event(name, key, value, **options)
            where: dict[str, Any] = {"key": key}
        else:
            run = await find_run(platform.journal, platform.tenant, to)
            sent = await platform.send_event(run, name, value, **options)
            where = {"run": run}
    if as_json:
        print_json({**where, "name": name, "sent": sent})
    elif sent:
        say(f"sent {name}")
    else:
        note(f"{name} was sent before")
    return ExitCode.OK
