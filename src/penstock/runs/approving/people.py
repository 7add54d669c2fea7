"""What is known of the people who decide."""

import re

from penstock.kernel.errors import InputInvalid
from penstock.ports.journal import Journal
from penstock.ports.people import Person, default_person

NAME_MAX_CHARS = 200
ROLES_MAX = 50
_ROLE = re.compile(r"[a-z][a-z0-9_-]{0,62}")
# One address, as SMTP takes it (RFC 5321, 4.1.2), without quoted local parts, which nobody uses and few servers take.
_MAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?")


async def set_person(
    journal: Journal,
    tenant: str,
    actor: str,
    person: str,
    *,
    roles: tuple[str, ...] = (),
    mail: str = "",
    barred: bool = False,
    by: str,
) -> Person:
    """Say who an actor is, in place of what was said before; ``person`` '' = the name that is under it by itself.

    Raises:
        InputInvalid: a name, a role or an address that cannot be.
    """
    for what, text in (("actor", actor), ("person", person or "p")):
        if not text or len(text) > NAME_MAX_CHARS or not text.isprintable():
            raise InputInvalid(f"{text[:80]!r} cannot be the name of {what}")
    if len(roles) > ROLES_MAX or (odd := [role for role in roles if not _ROLE.fullmatch(role)]):
        raise InputInvalid(f"{(odd or roles)[0]!r} is no role", hint="lower-case letters, digits, - and _; 50 at most")
    if mail and not _MAIL.fullmatch(mail):
        raise InputInvalid(f"{mail[:80]!r} is no address for e-mail", hint="one address, such as ada@example.org")
    said = Person(
        tenant, actor, person.casefold() or default_person(actor), tuple(dict.fromkeys(roles)), mail, barred, by
    )
    return await journal.questions.people.put(said)
