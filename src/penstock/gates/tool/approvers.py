"""Who may decide, and whose deciding still counts when it takes effect.

Asked twice: when somebody decides, and by the worker just before the decision takes effect. In between keys are
revoked, roles taken away and delegations ended; whoever lost the right meanwhile does not count.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from penstock.events import ApprovalRequested, ApprovalTerms
from penstock.gates.run.context import RunContext
from penstock.kernel.backoff import until_answered
from penstock.ports.access import KeyRecord
from penstock.ports.journal import Journal
from penstock.ports.people import default_person
from penstock.ports.questions import Voter

DECIDES = "approvals:decide"
"""The permission, as keys have it."""
DECIDERS = frozenset({"approver", "admin"})
"""The roles of keys that give it (`penstock.server.access.roles`)."""
OF_KEYS = frozenset({"viewer", "operator", "approver", "auditor", "witness", "gateway", "admin"})


@dataclass(slots=True, frozen=True)
class Standing:
    """How somebody stands to a question.

    Attributes:
        people: the names under them, and under whom they decide for.
        roles: what they decide by.
        why_not: why they do not count; '' = they do.
    """

    people: tuple[str, ...]
    roles: tuple[str, ...] = ()
    why_not: str = ""


async def standing_of(journal: Journal, tenant: str, voter: Voter, terms: ApprovalTerms | None, now: int) -> Standing:
    """How a voter stands now. ``voter.roles``: what their credential says, for those who came without a key."""
    known = await journal.questions.people.known(tenant, [voter.actor, *([voter.behalf] if voter.behalf else [])])
    names = {actor: known[actor].person if actor in known else default_person(actor) for actor in _actors(voter)}
    people = tuple(dict.fromkeys(names.values()))
    if barred := next((person.actor for person in known.values() if person.barred), ""):
        return Standing(people, (), f"{barred} may not decide any more")
    roles = tuple(role for role in voter.roles if role in OF_KEYS)
    if voter.key:
        key = await journal.access.get_key(tenant, UUID(voter.key))
        if (why := _why_ended(key, now)) or key is None:
            return Standing(people, (), why)
        if not DECIDERS & set(key.roles) or (key.permissions is not None and DECIDES not in key.permissions):
            return Standing(people, (), f"the key of {voter.actor} may not decide")
        roles = key.roles
    roles += known[voter.actor].roles if voter.actor in known else ()
    if voter.behalf:
        lent = await _lent(journal, tenant, voter, now)
        if isinstance(lent, str):
            return Standing(people, (), lent)
        titles = known[voter.behalf].roles if voter.behalf in known else ()
        roles = tuple(role for role in lent if role in OF_KEYS or role in titles)
    if terms is not None and terms.roles and not set(terms.roles) & set(roles):
        needed = " or ".join(terms.roles)
        return Standing(people, roles, f"{voter.behalf or voter.actor} is not {needed}, which the policy asks for")
    return Standing(people, roles)


async def still_counts(ctx: RunContext, request: ApprovalRequested, voters: Sequence[Voter]) -> list[str]:
    """Those who may decide now, each person once. Waits as long as the store cannot be reached: without it nobody
    counts."""
    journal, sleep = ctx.services.journal, ctx.services.clock.sleep
    counted: list[str] = []
    seen: set[str] = set()
    for voter in voters:
        now = await until_answered(journal.now, sleep)

        async def ask(voter: Voter = voter, now: int = now) -> Standing:
            return await standing_of(journal, ctx.claim.tenant, voter, request.terms, now)

        standing = await until_answered(ask, sleep)
        if not standing.why_not and not seen & set(standing.people):
            counted.append(standing.people[0])
            seen |= set(standing.people)
    return counted


def _actors(voter: Voter) -> list[str]:
    return [voter.actor, voter.behalf] if voter.behalf else [voter.actor]


def _why_ended(key: KeyRecord | None, now: int) -> str:
    if key is None:
        return "the key is not known"
    if key.revoked_at is not None:
        return f"the key {key.name} was revoked"
    if key.expires_at is not None and key.expires_at <= now:
        return f"the key {key.name} has expired"
    return ""


async def _lent(journal: Journal, tenant: str, voter: Voter, now: int) -> tuple[str, ...] | str:
    """The roles that were handed on; why there are none, in words."""
    try:
        delegation = await journal.questions.people.delegation(tenant, UUID(voter.delegation))
    except ValueError:
        delegation = None
    if delegation is None or (delegation.giver, delegation.taker) != (voter.behalf, voter.actor):
        return f"{voter.behalf} has not handed their right to {voter.actor}"
    if not delegation.holds(now):
        return f"the right that {voter.behalf} handed to {voter.actor} has ended"
    if delegation.giver_key is not None:
        key = await journal.access.get_key(tenant, delegation.giver_key)
        if why := _why_ended(key, now):
            return f"{why}: what {voter.behalf} handed on has ended with it"
    return delegation.roles
