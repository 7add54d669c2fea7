"""Which runs are meant by a stop: the options that say it, and the words for what it holds back."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.kernel.errors import UsageError

if TYPE_CHECKING:
    from penstock.ports.controls import Control, Scope, ScopeKind
    from penstock.ports.journal import Journal
    from penstock.ports.records import RunRow

Everything = Annotated[bool, typer.Option("--all", help="Everything; with --tenant, everything of a tenant.")]
Agent = Annotated[str | None, typer.Option("--agent", help="All runs of an agent.", show_default=False)]
Release = Annotated[str | None, typer.Option("--release", help="All runs of a release.", show_default=False)]
Session = Annotated[str | None, typer.Option("--session", help="All runs of a session.", show_default=False)]
Tool = Annotated[str | None, typer.Option("--tool", help="All calls of a tool, in all runs.", show_default=False)]
Environment = Annotated[
    str | None, typer.Option("--environment", help="All runs of an environment.", show_default=False)
]
Customer = Annotated[str | None, typer.Option("--customer", help="All runs of a customer.", show_default=False)]


def chosen(
    *,
    everything: bool,
    agent: str | None,
    release: str | None,
    tool: str | None,
    session: str | None,
    customer: str | None,
    environment: str | None,
) -> "tuple[ScopeKind, str] | None":
    """The one scope that was given, by kind and name; None when there is none.

    Raises:
        UsageError: several are given.
    """
    given: list[tuple[ScopeKind, str | None]] = [
        ("everything", "all" if everything else None),
        ("agent", agent),
        ("release", release),
        ("tool", tool),
        ("session", session),
        ("customer", customer),
        ("environment", environment),
    ]
    named = [(kind, name) for kind, name in given if name]
    if len(named) > 1:
        raise UsageError("one scope at a time", hint="stops of several scopes may be in force side by side: order each")
    return named[0] if named else None


def scope_of(choice: "tuple[ScopeKind, str]", tenant: str, whose: str | None) -> "Scope":
    """The scope of a choice. ``tenant``: the one in use; ``whose``: the one that was given, which narrows --all."""
    from penstock.ports.controls import Scope, of_all

    kind, name = choice
    return of_all(whose) if kind == "everything" else Scope(kind, tenant, name)


async def is_known(journal: "Journal", scope: "Scope") -> bool:
    """Whether a run of the scope was ever submitted: a name with a letter wrong stops nothing, and says so by this."""
    from penstock.ports.records import RunFilter

    match scope.kind:
        case "agent":
            where = RunFilter(agent=scope.name)
        case "release":
            where = RunFilter(release=scope.name)
        case "session":
            where = RunFilter(session=scope.name)
        case "customer":
            where = RunFilter(tags={"customer": scope.name})
        case _:
            return True
    page = await journal.lists.page(scope.tenant or "", where, 1)
    return bool(page.rows) or page.next is not None  # not all were looked at: it cannot be said


def in_words(stop: "Control") -> str:
    """Such as "pause of agent desk"."""
    from penstock.cli.text import safe

    return f"{stop.action} of {safe(str(stop.scope))}"


def held_by(row: "RunRow", stops: "Sequence[Control]") -> str:
    """The stop of more than a run that holds a run back, a kill before a pause, in words; '' when none does."""
    from penstock.ports.controls import holding

    held = holding(row, stops) if row.ended_at is None else []
    return in_words(min(held, key=lambda stop: stop.action != "kill")) if held else ""
