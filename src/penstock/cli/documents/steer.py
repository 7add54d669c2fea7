"""``penstock documents restore | release | erase``."""

from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute, opened
from penstock.cli.options import Actor, AsJson, DocumentKind, DocumentName, Tenant, actor_or_account
from penstock.cli.output import note, print_json, say

if TYPE_CHECKING:
    from penstock.ports.documents import Kind


def restore(
    kind: DocumentKind,
    name: DocumentName,
    version: Annotated[int, typer.Argument(metavar="VERSION", help="The version whose content to take.", min=1)],
    actor: Actor = None,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """Make a new version with the content of an older one; a quarantined document can be used again then."""
    return execute(_restore(kind.value, name, version, actor_or_account(actor), tenant, as_json))


def release(kind: DocumentKind, name: DocumentName, tenant: Tenant = None, as_json: AsJson = False) -> int:
    """Let a quarantined document be used as it is now, after its cause was mended."""
    return execute(_release(kind.value, name, tenant, as_json))


def erase(kind: DocumentKind, name: DocumentName, tenant: Tenant = None, as_json: AsJson = False) -> int:
    """Erase the content of all versions of a document. Who wrote it, and when, stays."""
    return execute(_erase(kind.value, name, tenant, as_json))


async def _restore(kind: "Kind", name: str, version: int, actor: str, tenant: str | None, as_json: bool) -> int:
    async with opened(tenant) as platform:
        made = await platform.documents.restore(kind, name, version, actor=actor)
    if as_json:
        print_json({"kind": kind, "name": name, "version": made, "restored": version})
    else:
        say(f"{kind} document {name}: version {made:,} holds what version {version:,} held")
    return ExitCode.OK


async def _release(kind: "Kind", name: str, tenant: str | None, as_json: bool) -> int:
    async with opened(tenant) as platform:
        released = await platform.documents.release(kind, name)
    if as_json:
        print_json({"kind": kind, "name": name, "released": released})
    elif released:
        say(f"{kind} document {name} can be used again")
        note("it is quarantined again by the next run that cannot read it")
    else:
        note(f"{kind} document {name} is not quarantined")
    return ExitCode.OK


async def _erase(kind: "Kind", name: str, tenant: str | None, as_json: bool) -> int:
    async with opened(tenant) as platform:
        erased = await platform.documents.erase(kind, name)
    if as_json:
        print_json({"kind": kind, "name": name, "erased": erased})
    else:
        say(f"{kind} document {name}: erased the content of {erased:,} version{'' if erased == 1 else 's'}")
    return ExitCode.OK
