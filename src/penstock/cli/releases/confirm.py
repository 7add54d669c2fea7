"""``penstock releases confirm``."""

from typing import Annotated

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute
from penstock.cli.options import Actor, AsJson, Reason, actor_or_account
from penstock.cli.output import columns, note, plain, print_json, say
from penstock.cli.releases.options import SHORT, AgentName, ForTenant, plain_release, releases_of, state_words
from penstock.cli.text import safe
from penstock.kernel.errors import InputInvalid


def confirm(
    agent: AgentName,
    release: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="What is approved of it.", show_default=False)
    ] = None,
    nothing: Annotated[
        bool, typer.Option("--nothing", help="Approve nothing: new runs get the code as it is offered.")
    ] = False,
    reason: Reason = "",
    actor: Actor = None,
    tenant: ForTenant = None,
    as_json: AsJson = False,
) -> int:
    """Approve anew, signed, what is in use of an agent; without ids show what that is.

    For when what was decided before does not count: it was recorded without a signature, was signed by a key that is
    not trusted any more, or was changed in the database. What is in use and not named is rolled back.
    """
    if nothing and release:
        raise InputInvalid("--nothing, and releases besides", hint="give one of them")
    approved = release or ([] if nothing else None)
    return execute(_confirm(agent, approved, reason, actor_or_account(actor), tenant, as_json))


async def _confirm(
    agent: str, approved: list[str] | None, reason: str, actor: str, tenant: str | None, as_json: bool
) -> int:
    async with releases_of(tenant) as (_, releases):
        if approved is not None:
            route = await releases.confirm(agent, approved, actor, reason)
            if as_json:
                print_json(plain(route))
            else:
                live = route.live[:SHORT] or "the code as it is offered"
                canary = f", and {route.share / 100:g} % of them {route.canary[:SHORT]}" if route.canary else ""
                say(safe(f"{agent}: new runs get {live}{canary}"))
            return ExitCode.OK
        ledger = await releases.ledger(agent)
        found = await releases.in_question(agent)
        why = [releases.objection(item) for item in found]
    if as_json:
        items = [{**plain_release(item), "objection": words} for item, words in zip(found, why, strict=True)]
        print_json({"agent": agent, "problem": ledger.problem, "releases": items})
        return ExitCode.OK
    if ledger.problem:
        note(safe(f"what was decided before does not count here: {ledger.problem}"))
    rows = [
        (item.id[:SHORT], state_words(item), item.author, item.approved_by or "-", words or "signed")
        for item, words in zip(found, why, strict=True)
    ]
    if rows:
        say(columns(("RELEASE", "STATE", "AUTHOR", "APPROVED BY", "CONTENT"), rows, drop=("CONTENT",)))
        note("look at each: penstock releases show ID; then name what is approved: penstock releases confirm AGENT ID…")
    else:
        note(safe(f"no release of {agent} is in use"))
    return ExitCode.OK
