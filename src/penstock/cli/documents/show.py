"""``penstock documents ls | show | history``."""

from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute, opened
from penstock.cli.options import AsJson, DocumentKind, DocumentName, Tenant
from penstock.cli.output import columns, note, print_json, say
from penstock.cli.text import whole

if TYPE_CHECKING:
    from penstock.ports.documents import Document, Kind, State, Version

Limit = Annotated[int, typer.Option(help="At most so many of each kind; 1000 at most.", min=1, max=1000)]


def ls(
    kind: Annotated[DocumentKind | None, typer.Option(help="Only this kind.", show_default=False)] = None,
    after: Annotated[str, typer.Option(metavar="NAME", help="Only those after this name.", show_default=False)] = "",
    quarantined: Annotated[bool, typer.Option("--quarantined", help="Only those that are quarantined.")] = False,
    limit: Limit = 100,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """List documents by kind and name, with their latest version."""
    return execute(_ls(kind.value if kind else None, after, quarantined, limit, tenant, as_json))


def show(
    kind: DocumentKind,
    name: DocumentName,
    version: Annotated[int, typer.Option("--version", help="That version; 0 = the latest.", min=0)] = 0,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """Show what a document holds, who wrote it and when."""
    return execute(_show(kind.value, name, version, tenant, as_json))


def history(
    kind: DocumentKind,
    name: DocumentName,
    before: Annotated[int, typer.Option(metavar="VERSION", help="Only versions below this.", min=0)] = 0,
    limit: Limit = 100,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """List a document's versions, newest first."""
    return execute(_history(kind.value, name, before, limit, tenant, as_json))


async def _ls(kind: "Kind | None", after: str, quarantined: bool, limit: int, tenant: str | None, as_json: bool) -> int:
    from penstock.ports.documents import Kind as Kinds

    found: list[Document] = []
    state: State | None = "quarantined" if quarantined else None
    async with opened(tenant) as platform:
        for each in (kind,) if kind else get_args(Kinds):
            found += await platform.documents.list_documents(each, after=after, limit=limit, state=state)
    if as_json:
        print_json([_as_json(item) for item in found])
    elif not found:
        note("there are no documents")
    else:
        rows = [
            (
                item.latest.kind,
                item.name,
                f"{item.latest.version:,}",
                _size(item.latest),
                item.state,
                _when(item.latest),
                _author(item.latest),
            )
            for item in found
        ]
        head = ("KIND", "NAME", "VERSION", "BYTES", "STATE", "AT", "BY")
        say(columns(head, rows, drop=("BY", "AT")))
    return ExitCode.OK


async def _show(kind: "Kind", name: str, number: int, tenant: str | None, as_json: bool) -> int:
    from penstock.kernel.errors import DocumentUnreadable
    from penstock.runs.documents import value_of

    async with opened(tenant) as platform:
        document = await platform.documents.get(kind, name)
        version = await platform.documents.version(kind, name, number) if number else document.latest
    problem = ""
    try:
        value = value_of(version)
    except DocumentUnreadable as error:
        value, problem = None, error.what
    if as_json:
        print_json({**_as_json(document), **_version_json(version), "value": value, "problem": problem})
        return ExitCode.OK
    lines = [
        ("document", f"{kind} {name}"),
        ("state", document.state + (f": {document.reason}" if document.reason else "")),
        ("met by", f"run {document.reason_run}" if document.reason_run else ""),
        ("version", f"{version.version:,} of {document.latest.version:,}"),
        ("written", f"{_when(version)} by {_author(version)}"),
        ("subject", version.content.subject if version.content else ""),
        ("problem", problem),
        ("content", "erased" if version.erased else None if problem else value),
    ]
    say("\n".join(f"{label:<9} {whole(value)}" for label, value in lines if value not in ("", None)))
    return ExitCode.OK


async def _history(kind: "Kind", name: str, before: int, limit: int, tenant: str | None, as_json: bool) -> int:
    async with opened(tenant) as platform:
        found = await platform.documents.history(kind, name, before=before, limit=limit)
    if as_json:
        print_json([_version_json(version) for version in found])
        return ExitCode.OK
    rows = [
        (f"{version.version:,}", _size(version), _when(version), _author(version), version.path) for version in found
    ]
    say(columns(("VERSION", "BYTES", "AT", "BY", "CALL"), rows, drop=("CALL",)))
    return ExitCode.OK


def _as_json(document: "Document") -> dict[str, Any]:
    return {
        **_version_json(document.latest),
        "state": document.state,
        "reason": document.reason,
        "reason_run": str(document.reason_run) if document.reason_run else None,
    }


def _version_json(version: "Version") -> dict[str, Any]:
    content = version.content
    return {
        "kind": version.kind,
        "name": version.name,
        "version": version.version,
        "at": version.at,
        "by": version.by,
        "run": str(version.run) if version.run else None,
        "path": version.path,
        "bytes": content.size if content else None,
        "sha256": content.digest.hex() if content else None,
        "subject": content.subject if content else "",
        "erased": version.erased,
        "pruned": version.pruned,
    }


def _size(version: "Version") -> str:
    if version.content is not None:
        return f"{version.content.size:,}"
    return "erased" if version.erased else "pruned" if version.pruned else "missing"


def _when(version: "Version") -> str:
    from penstock.views.lines import clock_time

    return clock_time(version.at)


def _author(version: "Version") -> str:
    return f"{version.by}, run {version.run}" if version.run else version.by or "-"
