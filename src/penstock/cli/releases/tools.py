"""``penstock releases approve-tool``."""

from typing import Annotated

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute
from penstock.cli.options import Actor, AsJson, Reason, actor_or_account
from penstock.cli.output import plain, print_json, say
from penstock.cli.releases.options import ForTenant, releases_of
from penstock.cli.text import safe


def approve_tool(
    tool: Annotated[str, typer.Argument(metavar="SERVER/TOOL", help="The MCP server's name and the tool's.")],
    digest: Annotated[str, typer.Argument(metavar="DIGEST", help="Of what it is now, as the refusal says it.")],
    reason: Reason = "",
    tenant: ForTenant = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> int:
    """Accept that a server's tool is another than the one that was approved: its calls go ahead again.

    Agents still describe it to their models as it was. Draft a new release for them to describe it as it is.
    """
    return execute(_approve(tool, digest, reason, tenant, actor_or_account(actor), as_json))


async def _approve(tool: str, digest: str, reason: str, tenant: str | None, actor: str, as_json: bool) -> int:
    async with releases_of(tenant) as (_, releases):
        made = await releases.accept_tool(tool, digest, actor, reason)
    if as_json:
        print_json(plain(made))
    else:
        say(safe(f"{tool} is accepted as it is now"))
    return ExitCode.OK
