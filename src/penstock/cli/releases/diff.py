"""``penstock releases diff`` and ``compare``."""

from typing import Annotated

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute
from penstock.cli.options import AsJson
from penstock.cli.output import columns, note, plain, print_json, say
from penstock.cli.releases.options import SHORT, AgentName, ForTenant, ReleaseId, releases_of
from penstock.cli.text import safe
from penstock.kernel.errors import ReleaseUnknown

HOUR_US = 3_600_000_000


def diff(
    old: ReleaseId,
    new: Annotated[str, typer.Argument(metavar="ID", help="The other release.")],
    tenant: ForTenant = None,
    as_json: AsJson = False,
) -> int:
    """Say in words what the second release has otherwise than the first."""
    return execute(_diff(old, new, tenant, as_json))


async def _diff(old: str, new: str, tenant: str | None, as_json: bool) -> int:
    from penstock.runs.rollouts.diff import differences

    async with releases_of(tenant) as (_, releases):
        one, other = await releases.show(old), await releases.show(new)
    if one.release.agent != other.release.agent:
        raise ReleaseUnknown(f"they are of two agents: {one.release.agent} and {other.release.agent}", hint="")
    found = differences(one.manifest, other.manifest)
    if as_json:
        print_json({"old": one.release.id, "new": other.release.id, "differences": plain(found)})
        return ExitCode.OK
    for item in found:
        say(safe(item.what))
        for line in item.lines:
            say(safe(f"  {line}"))
    if not found:
        note("they say the same")
    return ExitCode.OK


def compare(
    agent: AgentName,
    hours: Annotated[float, typer.Option(help="Of runs submitted in so many hours.", min=0.01, max=8784)] = 24.0,
    tenant: ForTenant = None,
    as_json: AsJson = False,
) -> int:
    """Show how runs of an agent's releases went, side by side. Nothing is promoted by itself."""
    return execute(_compare(agent, hours, tenant, as_json))


async def _compare(agent: str, hours: float, tenant: str | None, as_json: bool) -> int:
    from penstock.kernel.money import show_usd
    from penstock.runs.rollouts.comparing import compare as compared
    from penstock.views.lines import duration

    async with releases_of(tenant) as (platform, _):
        since = await platform.journal.now() - int(hours * HOUR_US)
        found = await compared(platform.journal, platform.tenant, agent, since)
    if as_json:
        print_json([plain(item) for item in found])
        return ExitCode.OK
    if not found:
        note(safe(f"no runs of {agent} in {hours:g} h"))
        return ExitCode.OK
    rows = [
        (
            item.release[:SHORT],
            item.state.replace("_", " "),
            f"{item.runs:,}",
            f"{item.failed:,} ({item.rate(item.failed):.1%})",
            f"{item.escalated:,} ({item.rate(item.escalated):.1%})",
            f"{item.refused:,}",
            show_usd(item.each_nano),
            duration(item.median_us) if item.median_us else "-",
        )
        for item in found
    ]
    head = ("RELEASE", "STATE", "RUNS", "FAILED", "ESCALATED", "REFUSED", "COST EACH", "MEDIAN")
    say(columns(head, rows, drop=("MEDIAN", "REFUSED")))
    return ExitCode.OK
