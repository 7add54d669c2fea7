"""``penstock runs adopt``."""

from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.loading import load_agents
from penstock.cli.opening import execute, find_run, opened
from penstock.cli.options import Actor, AsJson, Reason, RunId, Tenant, actor_or_account
from penstock.cli.output import note, print_json, say
from penstock.cli.runs.replay import print_divergence
from penstock.cli.text import plural
from penstock.kernel.errors import AdoptionRefused

if TYPE_CHECKING:
    from penstock.agents.definition import Definition


def adopt(
    run: RunId,
    app: Annotated[str, typer.Option(metavar="MODULE[:ATTR]", help="Where the new code is.", show_default=False)],
    accept_arguments: Annotated[
        bool, typer.Option("--accept-arguments", help="Also where calls that have ended had other arguments.")
    ] = False,
    reason: Reason = "",
    actor: Actor = None,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """Let a run go on under other code than it began with.

    The code is run against the record first, without acting: it must make the recorded calls again. If it does not,
    nothing is changed, and the first difference is shown side by side.
    """
    who = actor_or_account(actor)
    return execute(_adopt(run, load_agents(app), accept_arguments, reason, who, tenant, as_json))


async def _adopt(
    run: str,
    agents: "list[Definition]",
    accept_arguments: bool,
    reason: str,
    actor: str,
    tenant: str | None,
    as_json: bool,
) -> int:
    from penstock.runs.replaying.adopt import adopt as adopt_run

    async with opened(tenant) as platform:
        found = await find_run(platform.journal, platform.tenant, run)
        row = await platform.journal.get_run(platform.tenant, found)
        assert row is not None
        try:
            done = await adopt_run(
                platform.services, row, agents, actor=actor, reason=reason, accept_arguments=accept_arguments
            )
        except AdoptionRefused as refused:
            report = refused.fields.get("report")
            if report is not None and not as_json:
                print_divergence(report)
            raise
    if as_json:
        print_json(done)
        return ExitCode.OK
    say(f"run {done.run} goes on under release {done.to_release}, before {done.from_release}")
    say(f"  its {plural(done.calls, 'recorded call')} fit" + (", some with other arguments" if done.arguments else ""))
    note("a worker that offers that release goes on with it")
    return ExitCode.OK
