"""Options that say which runs are meant by a stop."""

from typing import TYPE_CHECKING, Annotated

import typer

from penstock.kernel.errors import UsageError

if TYPE_CHECKING:
    from penstock.ports.controls import Scope, ScopeKind

Everything = Annotated[bool, typer.Option("--all", help="Everything; with --tenant, everything of a tenant.")]
Agent = Annotated[str | None, typer.Option("--agent", help="All runs of an agent.", show_default=False)]
Release = Annotated[str | None, typer.Option("--release", help="All runs of a release.", show_default=False)]
Session = Annotated[str | None, typer.Option("--session", help="All runs of a session.", show_default=False)]
Customer = Annotated[str | None, typer.Option("--customer", help="All runs of a customer.", show_default=False)]


def chosen(
    *, everything: bool, agent: str | None, release: str | None, session: str | None, customer: str | None
) -> "tuple[ScopeKind, str] | None":
    """The one scope that was given, by kind and name; None when there is none.

    Raises:
        UsageError: several are given.
    """
    given: list[tuple[ScopeKind, str | None]] = [
        ("everything", "all" if everything else None),
        ("agent", agent),
        ("release", release),
        ("session", session),
        ("customer", customer),
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
