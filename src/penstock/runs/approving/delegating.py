"""Handing the right to decide to somebody else for a time."""

from collections.abc import Callable, Sequence
from uuid import UUID

import msgspec

from penstock.gates.tool.approvers import standing_of
from penstock.kernel.errors import ApproverUnfit, DelegationInvalid, DelegationUnknown
from penstock.ports.journal import Journal
from penstock.ports.people import DELEGATIONS_MAX, Delegation
from penstock.ports.questions import Voter
from penstock.runs.approving.deciding import names_of

DELEGATED_MAX_SECONDS = 90 * 86_400.0
ACTOR_MAX_CHARS = 200
REASON_MAX_CHARS = 2000


async def delegate(  # noqa: PLR0917 - what a delegation is
    journal: Journal,
    new_id: Callable[[], UUID],
    tenant: str,
    giver: Voter,
    taker: str,
    seconds: float,
    reason: str = "",
    roles: Sequence[str] = (),
) -> Delegation:
    """Let ``taker`` decide by the giver's right for so long. It holds for what the giver themselves may decide, ends
    with the key that they gave it by, and cannot be handed on. ``roles``: only these of what the giver is; () = all.

    Raises:
        DelegationInvalid: to oneself, for too long, on somebody's behalf, or a role that the giver does not have.
        ApproverUnfit: the giver may not decide.
    """
    if giver.behalf:
        raise DelegationInvalid("a right that was handed on cannot be handed on again")
    if not taker or len(taker) > ACTOR_MAX_CHARS or not taker.isprintable():
        raise DelegationInvalid("nobody can be called like this", hint="name an actor, such as key:ben")
    if not 1 <= seconds <= DELEGATED_MAX_SECONDS:
        raise DelegationInvalid(f"{seconds:g} s is not between a second and 90 days")
    standing = await standing_of(journal, tenant, giver, None, await journal.now())
    if standing.why_not:
        raise ApproverUnfit(standing.why_not)
    if strange := sorted(set(roles) - set(standing.roles)):
        has = ", ".join(standing.roles) or "none"
        raise DelegationInvalid(f"{giver.actor} is not {strange[0]!r}", hint=f"roles that can be handed on: {has}")
    if await names_of(journal, tenant, {taker}) & set(standing.people):
        raise DelegationInvalid(f"{taker} is the same person as {giver.actor}")
    made = Delegation(
        tenant,
        new_id(),
        giver.actor,
        taker,
        tuple(role for role in standing.roles if not roles or role in roles),
        UUID(giver.key) if giver.key else None,
        reason[:REASON_MAX_CHARS],
    )
    return await journal.questions.people.delegate(made, seconds)


async def on_behalf(journal: Journal, tenant: str, voter: Voter, giver: str) -> Voter:
    """Who decides by the right that ``giver`` has handed to them.

    Raises:
        DelegationUnknown: they have not.
    """
    for item in await journal.questions.people.delegations(tenant, voter.actor, DELEGATIONS_MAX):
        if (item.giver, item.taker) == (giver, voter.actor):
            return msgspec.structs.replace(voter, behalf=giver, delegation=str(item.id))
    raise DelegationUnknown(f"{giver} has not handed their right to {voter.actor}, or it has ended")


async def end(journal: Journal, tenant: str, delegation: UUID, actor: str, *, anyones: bool = False) -> Delegation:
    """Take a right back; ``anyones``: also one that somebody else gave.

    Raises:
        DelegationUnknown: there is none, or it is not theirs to end.
    """
    people = journal.questions.people
    known = await people.delegation(tenant, delegation)
    if known is None or not (anyones or actor in (known.giver, known.taker)):
        raise DelegationUnknown(f"{actor} has no delegation {delegation}")
    ended = await people.end_delegation(tenant, delegation, actor)
    return ended or known
