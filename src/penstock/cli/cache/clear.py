"""``penstock cache clear``."""

from typing import Annotated, Literal, cast

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute, opened_journal
from penstock.cli.options import Actor, AsJson, Tenant, actor_or_account
from penstock.cli.output import note, print_json
from penstock.kernel.errors import InputInvalid
from penstock.ports.cache import SCOPES, Scope, Which


def clear(  # noqa: PLR0917 - each parameter is an option of the command
    scope: Annotated[
        str | None,
        typer.Option(
            help="Only this scope: customer=acme, agent=desk, run=ID, subject=NAME, tenant.", show_default=False
        ),
    ] = None,
    agent: Annotated[str, typer.Option(help="Only what calls of this agent left.", show_default=False)] = "",
    model: Annotated[str, typer.Option(help="Only answers of this model.", show_default=False)] = "",
    tool: Annotated[str, typer.Option(help="Only results of this tool.", show_default=False)] = "",
    tag: Annotated[str, typer.Option(help="Only results with this tag.", show_default=False)] = "",
    everything: Annotated[bool, typer.Option("--all", help="All of the tenant's.")] = False,
    actor: Actor = None,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """Drop cached answers. What runs were given before stays on their records."""
    which = _meant(scope, agent, model, tool, tag)
    if (which == Which()) != everything:
        raise InputInvalid("say what to drop", hint="name a scope, agent, model, tool or tag; or --all")
    return execute(_clear(which, actor_or_account(actor), tenant, as_json))


def _meant(scope: str | None, agent: str, model: str, tool: str, tag: str) -> Which:
    if model and tool:
        raise InputInvalid("nothing is of a model and of a tool", hint="name one of them")
    kind, _, name = (scope or "").partition("=")
    if scope is not None and (kind not in SCOPES or (kind == "tenant") != (name == "")):
        raise InputInvalid(
            f"{scope[:80]!r} is no scope", hint=f"one of {', '.join(SCOPES)}, and its name: customer=acme"
        )
    gate: Literal["model", "tool"] | None = "model" if model else "tool" if tool else None
    if kind == "run":
        name = name.replace("-", "").lower()
    return Which(gate, cast("Scope", kind) if kind else None, name, agent, model or tool, tag)


async def _clear(which: Which, actor: str, tenant: str | None, as_json: bool) -> int:
    from penstock.journal.actions import Said, encode_said
    from penstock.ports.actions import NewAction

    async with opened_journal(tenant) as place:
        gone = await place.journal.cache.clear(place.tenant, which)
        named = {"gate": which.gate, "scope": which.scope, "scope_name": which.scope_name, "agent": which.agent}
        detail = {key: value for key, value in {**named, "name": which.name, "tag": which.tag}.items() if value}
        said = encode_said(Said(actor, "cache.clear", "cache", {**detail, "entries": gone}, ""))
        await place.journal.actions.record([NewAction(place.tenant, actor, "cache.clear", said)])
    if as_json:
        print_json({"entries": gone})
    else:
        note(f"{gone:,} answer{'' if gone == 1 else 's'} dropped")
    return ExitCode.OK
