"""``penstock policy replay``."""

from pathlib import Path
from typing import Annotated

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute, opened
from penstock.cli.options import AsJson, Tenant
from penstock.cli.output import columns, print_json, say
from penstock.cli.policy.options import PolicyPath, load
from penstock.cli.text import plural, safe

RUNS_MAX = 10_000


def replay(
    path: PolicyPath = None,
    days: Annotated[float, typer.Option("--days", min=0.001, max=366, help="How far back.")] = 7.0,
    runs: Annotated[int, typer.Option("--runs", min=1, max=RUNS_MAX, help="Runs to look at, at most.")] = 1000,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """Read the journal under a policy: which calls of the last days it would have let go, held or denied otherwise."""
    return execute(_replay(path, days, runs, tenant, as_json))


async def _replay(path: Path | None, days: float, runs: int, tenant: str | None, as_json: bool) -> int:
    from penstock.views.policy_replay import replay_policy

    policy = load(path)
    async with opened(tenant) as platform:
        since = await platform.journal.now() - int(days * 86_400 * 1e6)
        found = await replay_policy(
            platform.journal, platform.services.reader, platform.tenant, policy, since=since, runs_max=runs
        )
    if as_json:
        print_json(found.plain(content=True))
        return ExitCode.OK
    say(
        f"{plural(found.runs, 'run')}, {plural(found.calls, 'call')}: {found.changed} would have fared otherwise"
        f" (version {policy.version[:12]})"
    )
    if found.changes:
        rows = [(tool, was, now, str(count)) for (was, now, tool), count in found.changes.most_common(50)]
        say(columns(("TOOL", "WAS", "WOULD BE", "CALLS"), rows))
    for one in found.examples[:20]:
        say(f"{str(one.run)[:13]} {one.path}: {safe(one.tool)} {one.was} → {one.now}: {safe(one.reason)}")
    if found.unread:
        say(f"the arguments of {plural(found.unread, 'call')} are erased; they were asked about without them")
    if not found.whole:
        say("there are more runs than these: --runs looks at more, --days at fewer")
    return ExitCode.OK
