"""``penstock approvals people | person | delegate | delegations | end-delegation``."""

import dataclasses
from typing import Annotated
from uuid import UUID

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute, opened
from penstock.cli.options import Actor, AsJson, Reason, Tenant, actor_or_account
from penstock.cli.output import columns, note, print_json, say
from penstock.cli.text import safe

SHOWN_MOST = 500
Hours = Annotated[float, typer.Option("--hours", min=0.001, max=2160, help="For so long.")]


def person(  # noqa: PLR0917 - each parameter is an option of the command
    who: Annotated[str, typer.Argument(metavar="ACTOR", help="Such as key:ada, oidc:…, or an account.")],
    name: Annotated[
        str, typer.Option("--person", help="The person it is: actors of one person count once.", show_default=False)
    ] = "",
    role: Annotated[
        list[str] | None,
        typer.Option("--role", help="What they are besides their credential's roles; several: repeat it."),
    ] = None,
    mail: Annotated[str, typer.Option("--mail", help="Where they are told what waits.", show_default=False)] = "",
    barred: Annotated[bool, typer.Option("--barred", help="They decide nothing any more.")] = False,
    forget: Annotated[bool, typer.Option("--forget", help="Know nothing of them any more.")] = False,
    actor: Actor = None,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """Say who an actor is: the person, their roles, their address. It replaces what was said before."""
    by = actor_or_account(actor)
    return execute(_person(who, name, tuple(role or ()), mail, barred, forget, by, tenant, as_json))


async def _person(  # noqa: PLR0917 - each parameter is an option of the command
    who: str,
    name: str,
    roles: tuple[str, ...],
    mail: str,
    barred: bool,
    forget: bool,
    by: str,
    tenant: str | None,
    as_json: bool,
) -> int:
    from penstock.runs.approving.people import set_person
    from penstock.server.action_log import ActionLog

    async with opened(tenant) as platform:
        people = platform.journal.questions.people
        log = ActionLog(platform.journal.actions)
        if forget:
            await people.forget(platform.tenant, who)
            await log.record_as(platform.tenant, f"cli:{by}", "person.forget", who)
            say(f"nothing is known of {safe(who)}")
            return ExitCode.OK
        made = await set_person(
            platform.journal, platform.tenant, who, name, roles=roles, mail=mail, barred=barred, by=f"cli:{by}"
        )
        detail = {"person": made.person, "roles": list(made.roles), "barred": made.barred, "mail": bool(made.mail)}
        await log.record_as(platform.tenant, f"cli:{by}", "person.set", who, detail)
    if as_json:
        print_json(dataclasses.asdict(made))
    else:
        roles_words = f": {safe(', '.join(made.roles))}" if made.roles else ""
        say(f"{safe(who)} is {safe(made.person)}{roles_words}")
    return ExitCode.OK


def people(tenant: Tenant = None, as_json: AsJson = False) -> int:
    """List what is known of actors."""
    return execute(_people(tenant, as_json))


async def _people(tenant: str | None, as_json: bool) -> int:
    async with opened(tenant) as platform:
        found = await platform.journal.questions.people.page(platform.tenant, "", SHOWN_MOST)
    if as_json:
        print_json({"people": [dataclasses.asdict(item) for item in found]})
    elif not found:
        note("nothing is known of anybody: each actor is a person of its own")
    else:
        rows = [
            (item.actor, item.person, ",".join(item.roles), item.mail, "barred" if item.barred else "")
            for item in found
        ]
        say(columns(("ACTOR", "PERSON", "ROLES", "MAIL", ""), rows, drop=("MAIL",)))
    return ExitCode.OK


def delegate(
    taker: Annotated[str, typer.Argument(metavar="ACTOR", help="Who may decide for you.")],
    hours: Hours,
    reason: Reason = "",
    role: Annotated[
        list[str] | None, typer.Option("--role", help="Only this role of yours; several: repeat it. Without it all.")
    ] = None,
    actor: Actor = None,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """Hand your right to decide to somebody for a time."""
    return execute(_delegate(taker, hours, reason, tuple(role or ()), actor_or_account(actor), tenant, as_json))


async def _delegate(
    taker: str, hours: float, reason: str, roles: tuple[str, ...], actor: str, tenant: str | None, as_json: bool
) -> int:
    from penstock.kernel.ids import new_id
    from penstock.ports.questions import Voter
    from penstock.runs.approving.delegating import delegate
    from penstock.server.action_log import ActionLog
    from penstock.views.lines import clock_time

    async with opened(tenant) as platform:
        clock = platform.services.clock
        made = await delegate(
            platform.journal,
            lambda: new_id(clock),
            platform.tenant,
            Voter(actor),
            taker,
            hours * 3600,
            reason,
            roles,
        )
        log = ActionLog(platform.journal.actions)
        await log.record_as(platform.tenant, f"cli:{actor}", "approval.delegate", str(made.id), {"taker": taker})
    if as_json:
        print_json(dataclasses.asdict(made))
    else:
        say(f"{safe(taker)} may decide for {safe(actor)} until {clock_time(made.until)} ({made.id})")
    return ExitCode.OK


def delegations(tenant: Tenant = None, as_json: AsJson = False) -> int:
    """List the rights that are handed on now."""
    return execute(_delegations(tenant, as_json))


async def _delegations(tenant: str | None, as_json: bool) -> int:
    from penstock.views.lines import clock_time

    async with opened(tenant) as platform:
        found = await platform.journal.questions.people.delegations(platform.tenant, "", SHOWN_MOST)
    if as_json:
        print_json({"delegations": [dataclasses.asdict(item) for item in found]})
    elif not found:
        note("nobody has handed their right on")
    else:
        rows = [(str(item.id), item.giver, item.taker, clock_time(item.until), item.reason) for item in found]
        say(columns(("ID", "OF", "TO", "UNTIL", "REASON"), rows, drop=("REASON",)))
    return ExitCode.OK


def end_delegation(
    delegation: Annotated[UUID, typer.Argument(metavar="ID", help="The delegation's id.")],
    actor: Actor = None,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """Take a right back. Who decided by it and has not taken effect yet does not count any more."""
    return execute(_end(delegation, actor_or_account(actor), tenant, as_json))


async def _end(delegation: UUID, actor: str, tenant: str | None, as_json: bool) -> int:
    from penstock.runs.approving.delegating import end
    from penstock.server.action_log import ActionLog

    async with opened(tenant) as platform:
        ended = await end(platform.journal, platform.tenant, delegation, actor, anyones=True)
        log = ActionLog(platform.journal.actions)
        await log.record_as(platform.tenant, f"cli:{actor}", "approval.end_delegation", str(delegation))
    if as_json:
        print_json(dataclasses.asdict(ended))
    else:
        say(f"{safe(ended.taker)} decides no more for {safe(ended.giver)}")
    return ExitCode.OK
