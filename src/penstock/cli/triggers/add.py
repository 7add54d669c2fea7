"""``penstock triggers add``."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.loading import load_agent
from penstock.cli.opening import execute, opened
from penstock.cli.options import Actor, AsJson, Tenant, actor_or_account
from penstock.cli.output import print_json, say
from penstock.cli.run import tags_of
from penstock.cli.triggers.show import as_json_of, what_for
from penstock.kernel.errors import InputInvalid

if TYPE_CHECKING:
    from penstock.agents.definition import Definition


def add(  # noqa: PLR0917 - each parameter is an option of the command
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is called; unique in the tenant.")],
    event: Annotated[str, typer.Argument(metavar="EVENT", help="The name of the events that start runs.")],
    agent: Annotated[str, typer.Argument(metavar="MODULE:AGENT", help="Where the agent is.")],
    key_prefix: Annotated[
        str, typer.Option(metavar="TEXT", help="Only events with a key that begins so.", show_default=False)
    ] = "",
    value: Annotated[
        str,
        typer.Option(
            "--input",
            metavar="JSON",
            help="The input of each run; texts such as $.order.id, $key stand for parts of the event, $ for its value.",
        ),
    ] = '"$"',
    tag: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="A tag of each run, or a path; repeatable.", show_default=False),
    ] = None,
    session: Annotated[
        str, typer.Option(metavar="TEXT", help="The session of each run, or a path such as $key.", show_default=False)
    ] = "",
    priority: Annotated[int, typer.Option(help="Priority of each run; higher first.")] = 0,
    pending_max: Annotated[
        int, typer.Option(metavar="N", help="Events that it holds which are no runs yet, at most.")
    ] = 10_000,
    paused: Annotated[bool, typer.Option("--paused", help="Take no events until it is resumed.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Change the one of that name, if there is one.")] = False,
    tenant: Tenant = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> int:
    """Start a run of an agent for each event of a name that is sent to a key from now on.

    Send one with: penstock runs send - EVENT JSON --key KEY --dedup ID. Workers that offer the agent make the runs.
    """
    definition = load_agent(agent)
    try:
        template = json.loads(value)
    except ValueError as error:
        hint = """quote it: --input '{"order": "$.order.id"}'"""
        raise InputInvalid(f"the input is not JSON: {error}", hint=hint) from None
    options: dict[str, Any] = {
        "key_prefix": key_prefix,
        "value": template,
        "tags": tags_of(tag or []),
        "session": session,
        "priority": priority,
        "pending_max": pending_max,
        "paused": paused,
        "replace": replace,
        "actor": actor_or_account(actor),
    }
    return execute(_add(name, event, definition, options, tenant, as_json))


async def _add(
    name: str, event: str, definition: "Definition", options: dict[str, Any], tenant: str | None, as_json: bool
) -> int:
    async with opened(tenant, agents=[definition]) as platform:
        stored = await platform.triggers.add(name, event, definition, **options)
    if as_json:
        print_json(as_json_of(stored))
    else:
        state = ", paused" if stored.paused else ""
        say(f"trigger {stored.name}: {what_for(stored)} starts {stored.agent}{state}")
    return ExitCode.OK
