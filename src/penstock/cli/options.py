"""Options that several commands share."""

import os
import pwd
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Tenant = Annotated[
    str | None, typer.Option("--tenant", help="Whose runs; default PENSTOCK_TENANT.", show_default=False)
]
Actor = Annotated[
    str | None, typer.Option("--actor", help="Who does it, for the record; default your account.", show_default=False)
]
Reason = Annotated[str, typer.Option("--reason", help="Why, for the record.", show_default=False)]
RunId = Annotated[str, typer.Argument(metavar="ID", help="The run's id, or the beginning of it.")]
ArchiveFile = Annotated[
    Path | None,
    typer.Option("--archive", metavar="FILE", help="Read this archive instead of the database.", show_default=False),
]
ScheduleName = Annotated[str, typer.Argument(metavar="NAME", help="The schedule's name.")]
TriggerName = Annotated[str, typer.Argument(metavar="NAME", help="The trigger's name.")]
DocumentName = Annotated[str, typer.Argument(metavar="NAME", help="The document's name.")]


class DocumentKind(StrEnum):
    """What a document is for."""

    SESSION = "session"
    MEMORY = "memory"
    SHARED = "shared"


ApprovalId = Annotated[str, typer.Argument(metavar="ID", help="The approval's id, or the beginning of it.")]


def actor_or_account(actor: str | None) -> str:
    """Who acts: as given, else the account that runs the command."""
    if actor:
        return actor
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid-{os.getuid()}"
