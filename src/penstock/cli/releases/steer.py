"""``penstock releases submit | approve | reject | canary | promote | retire``."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute
from penstock.cli.options import Actor, AsJson, Reason, actor_or_account
from penstock.cli.output import print_json, say
from penstock.cli.releases.options import SHORT, ForTenant, ReleaseId, plain_release, releases_of, state_words
from penstock.cli.text import safe

if TYPE_CHECKING:
    from penstock.ports.rollouts import Release
    from penstock.runs.rollouts.releasing import Releasing


def submit(
    release: ReleaseId, reason: Reason = "", actor: Actor = None, tenant: ForTenant = None, as_json: AsJson = False
) -> int:
    """Put a draft up for review; also what was rejected or rolled back."""
    by = actor_or_account(actor)
    return execute(_decide(lambda releases: releases.submit(release, by, reason), tenant, as_json))


def approve(
    release: ReleaseId, reason: Reason = "", actor: Actor = None, tenant: ForTenant = None, as_json: AsJson = False
) -> int:
    """Approve a release that somebody else drafted and put up for review."""
    by = actor_or_account(actor)
    return execute(_decide(lambda releases: releases.approve(release, by, reason), tenant, as_json))


def reject(
    release: ReleaseId, reason: Reason = "", actor: Actor = None, tenant: ForTenant = None, as_json: AsJson = False
) -> int:
    """Reject a release under review, or take its approval back."""
    by = actor_or_account(actor)
    return execute(_decide(lambda releases: releases.reject(release, by, reason), tenant, as_json))


def canary(
    release: ReleaseId,
    percent: Annotated[float, typer.Argument(metavar="PERCENT", help="Of new runs, 0.01 to 99.99.")],
    reason: Reason = "",
    actor: Actor = None,
    tenant: ForTenant = None,
    as_json: AsJson = False,
) -> int:
    """Give an approved release a share of new runs. A session stays on its side."""
    by, share = actor_or_account(actor), round(percent * 100)
    return execute(_decide(lambda releases: releases.canary(release, share, by, reason), tenant, as_json))


def promote(
    release: ReleaseId, reason: Reason = "", actor: Actor = None, tenant: ForTenant = None, as_json: AsJson = False
) -> int:
    """Give a release all new runs. What was live is retired; runs that have begun stay on theirs."""
    by = actor_or_account(actor)
    return execute(_decide(lambda releases: releases.promote(release, by, reason), tenant, as_json))


def retire(
    release: ReleaseId, reason: Reason = "", actor: Actor = None, tenant: ForTenant = None, as_json: AsJson = False
) -> int:
    """Take a release out of use. Where it was live, new runs are as the code says."""
    by = actor_or_account(actor)
    return execute(_decide(lambda releases: releases.retire(release, by, reason), tenant, as_json))


async def _decide(decide: "Callable[[Releasing], Awaitable[Release]]", tenant: str | None, as_json: bool) -> int:
    async with releases_of(tenant) as (_, releases):
        made = await decide(releases)
    if as_json:
        print_json(plain_release(made))
    else:
        say(safe(f"{made.id[:SHORT]} of {made.agent}: {state_words(made)}"))
    return ExitCode.OK
