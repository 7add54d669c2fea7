"""``penstock approvals batch``."""

from typing import Annotated

import typer

from penstock.cli.approvals.decide import words_of
from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute, opened
from penstock.cli.options import Actor, AsJson, Reason, Tenant, actor_or_account
from penstock.cli.output import note, print_json, say
from penstock.cli.text import brief, safe

ARGS_WIDTH = 120


def batch(  # noqa: PLR0917 - each parameter is an option of the command
    tool: Annotated[str, typer.Option("--tool", help="Calls of this tool.")],
    answer: Annotated[str, typer.Option("--answer", metavar="approve|deny", help="What to say to each.")],
    rule: Annotated[str, typer.Option("--rule", help="Only those that this rule holds.", show_default=False)] = "",
    agent: Annotated[str, typer.Option("--agent", help="Only those of this agent.", show_default=False)] = "",
    bound: Annotated[
        list[str] | None,
        typer.Option(
            "--where", metavar="BOUND", help="Only with such an argument: amount_cents<=5000; several: repeat it."
        ),
    ] = None,
    most: Annotated[int, typer.Option("--most", min=1, max=200, help="So many at most.")] = 50,
    yes: Annotated[bool, typer.Option("--yes", help="Decide; without it they are only shown.")] = False,
    reason: Reason = "",
    actor: Actor = None,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """Decide on all that one rule matches, each by itself. Shows what it would decide on; --yes does it."""
    who = actor_or_account(actor)
    return execute(_batch(tool, answer, rule, agent, bound or [], most, yes, reason, who, tenant, as_json))


async def _batch(  # noqa: PLR0917 - each parameter is an option of the command
    tool: str,
    answer: str,
    rule: str,
    agent: str,
    bounds: list[str],
    most: int,
    yes: bool,
    reason: str,
    actor: str,
    tenant: str | None,
    as_json: bool,
) -> int:
    from penstock.ports.questions import Voter
    from penstock.runs.approving import batch, deciding

    meant = batch.Rule(tool, rule, agent, tuple(batch.parse_bound(text) for text in bounds))
    async with opened(tenant) as platform:
        journal = platform.journal
        found = await batch.matching(journal, platform.services.reader, platform.tenant, meant, most)
        done: list[batch.Done] = []
        if yes:
            settings = platform.services.settings
            own = all(deciding.may_decide_own(settings, item) for item in found)
            keys = platform.services.decisions
            done = await batch.decide_all(journal, found, answer, Voter(actor), reason=reason, own=own, keys=keys)
    if as_json:
        results = [
            {"approval": one.approval.id, "run": one.approval.run, "code": one.code, "counts": bool(one.taken)}
            for one in done
        ]
        print_json({"matched": [item.id for item in found], "decided": results})
    elif not found:
        note("no question matches")
    else:
        became = {one.approval.id: one.words or words_of(answer, one.taken) for one in done}
        for item in found:
            words = became.get(item.id, "matches")
            say(f"{item.id}  {safe(item.tool)} {brief(item.args, ARGS_WIDTH)}  {safe(words)}")
        if not yes:
            note(f"{len(found)} would be decided; add --yes")
    return ExitCode.OK if all(not one.code for one in done) else ExitCode.FAILED
