"""What the commands of ``penstock releases`` have in common."""

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.opening import opened

if TYPE_CHECKING:
    from penstock.ports.rollouts import Release
    from penstock.runs.client import Penstock
    from penstock.runs.rollouts.releasing import Releasing

SHORT = 12
"""Digits of an id that people are shown."""

ReleaseId = Annotated[str, typer.Argument(metavar="ID", help="The release's id, or the beginning of it.")]
AgentName = Annotated[str, typer.Argument(metavar="AGENT", help="The agent's name.")]
ForTenant = Annotated[
    str | None, typer.Option("--tenant", help="Whose release; default PENSTOCK_TENANT.", show_default=False)
]


@contextlib.asynccontextmanager
async def releases_of(tenant: str | None) -> "AsyncIterator[tuple[Penstock, Releasing]]":
    """The platform, and the releases of a tenant."""
    async with opened(tenant) as platform:
        yield platform, releasing(platform)


def releasing(platform: "Penstock") -> "Releasing":
    """The releases of the platform's tenant."""
    from penstock.runs.rollouts.releasing import Releasing
    from penstock.runs.rollouts.signing import Keyring

    return Releasing(platform.journal, platform.tenant, Keyring.of(platform.services.settings))


def state_words(release: "Release") -> str:
    """Its state for people."""
    words = release.state.replace("_", " ")
    return f"{words} {release.share / 100:g} %" if release.state == "canary" else words


def plain_release(release: "Release") -> dict[str, Any]:
    """A release as JSON, without its content."""
    return {
        "id": release.id,
        "agent": release.agent,
        "state": release.state,
        "percent": release.share / 100,
        "author": release.author,
        "approved_by": release.approved_by,
        "key": release.key,
        "drafted_at": release.drafted_at,
        "at": release.at,
    }
