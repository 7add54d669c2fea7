"""Who decides: which actors are one person, and whose right was handed to whom."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query

from penstock.gates.tool.approvers import standing_of
from penstock.kernel.errors import InputInvalid
from penstock.kernel.ids import new_id
from penstock.ports.people import DELEGATIONS_MAX, Delegation, Person
from penstock.runs.approving import delegating
from penstock.runs.approving.people import set_person
from penstock.server.access.caller import Caller, needs
from penstock.server.context import Here
from penstock.server.routes.voters import voter_of
from penstock.server.schemas.base import Limit
from penstock.server.schemas.people import (
    DelegationAsked,
    DelegationLine,
    DelegationPage,
    PersonForgotten,
    PersonLine,
    PersonPage,
    PersonSaid,
)

router = APIRouter(tags=["people"])

Manager = Annotated[Caller, needs("keys:manage")]
Decider = Annotated[Caller, needs("approvals:decide")]
Actor = Annotated[str, Path(min_length=1, max_length=200)]


@router.get("/v1/people")
async def people_list(
    server: Here,
    caller: Manager,
    limit: Annotated[Limit, Query()] = 100,
    after: Annotated[str, Query(max_length=200)] = "",
) -> PersonPage:
    """What is known of actors, in the order of their names; ``after``: the last one of the page before."""
    found = await server.journal.questions.people.page(caller.tenant, after, limit)
    return PersonPage(items=[_person(item) for item in found], next=found[-1].actor if len(found) == limit else None)


@router.put("/v1/people/{actor}")
async def people_set(server: Here, caller: Manager, actor: Actor, body: PersonSaid) -> PersonLine:
    """Say who an actor is, in place of what was said before. Nobody says it of themselves."""
    if actor == caller.actor:
        raise InputInvalid("nobody says who they are themselves", hint="ask another admin")
    made = await set_person(
        server.journal,
        caller.tenant,
        actor,
        body.person,
        roles=tuple(body.roles),
        mail=body.mail,
        barred=body.barred,
        by=caller.actor,
    )
    detail = {"person": made.person, "roles": list(made.roles), "barred": made.barred, "mail": bool(made.mail)}
    await server.actions.record(caller, "person.set", actor, detail)
    return _person(made)


@router.delete("/v1/people/{actor}")
async def people_forget(server: Here, caller: Manager, actor: Actor) -> PersonForgotten:
    """Know nothing of an actor any more. It is no error when nothing was."""
    if actor == caller.actor:
        raise InputInvalid("nobody says who they are themselves", hint="ask another admin")
    known = await server.journal.questions.people.forget(caller.tenant, actor)
    await server.actions.record(caller, "person.forget", actor)
    return PersonForgotten(actor=actor, known=known)


@router.get("/v1/delegations")
async def delegations_list(server: Here, caller: Decider) -> DelegationPage:
    """Rights that are handed on now, newest first: those that the caller gave or was given, and for whoever manages
    keys those of everybody."""
    journal = server.journal
    whose = "" if caller.may("keys:manage") else caller.actor
    found = await journal.questions.people.delegations(caller.tenant, whose, DELEGATIONS_MAX)
    standing = await standing_of(journal, caller.tenant, voter_of(caller), None, await journal.now())
    items = [_delegation(item) for item in found]
    return DelegationPage(items=items, roles=list(standing.roles), why_not=standing.why_not)


@router.post("/v1/delegations", status_code=201)
async def delegations_make(server: Here, caller: Decider, body: DelegationAsked) -> DelegationLine:
    """Hand the caller's right to decide to somebody for a time. It ends with the key that it was given by."""
    clock = server.platform.services.clock
    made = await delegating.delegate(
        server.journal,
        lambda: new_id(clock),
        caller.tenant,
        voter_of(caller),
        body.to,
        body.seconds,
        body.reason,
        body.roles,
    )
    detail = {"to": body.to, "seconds": body.seconds, "roles": list(made.roles)}
    await server.actions.record(caller, "approval.delegate", str(made.id), detail)
    return _delegation(made)


@router.delete("/v1/delegations/{id}")
async def delegations_end(server: Here, caller: Decider, id: UUID) -> DelegationLine:  # noqa: A002 - as the path has it
    """Take a right back, or give one back. Whose it is, or was handed to, may; and whoever manages keys."""
    ended = await delegating.end(server.journal, caller.tenant, id, caller.actor, anyones=caller.may("keys:manage"))
    await server.actions.record(caller, "approval.end_delegation", str(id))
    return _delegation(ended)


def _person(item: Person) -> PersonLine:
    return PersonLine(
        actor=item.actor,
        person=item.person,
        roles=list(item.roles),
        mail=item.mail,
        barred=item.barred,
        set_by=item.set_by,
        set_at=item.set_at,
    )


def _delegation(item: Delegation) -> DelegationLine:
    return DelegationLine(
        id=item.id,
        giver=item.giver,
        to=item.taker,
        roles=list(item.roles),
        reason=item.reason,
        made_at=item.made_at,
        until=item.until,
        ended_at=item.ended_at,
        ended_by=item.ended_by,
    )
