"""``penstock keys revoke``."""

from typing import Annotated
from uuid import UUID

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.keys.shown import shown
from penstock.cli.opening import execute, opened_journal
from penstock.cli.options import Actor, AsJson, Tenant, actor_or_account
from penstock.cli.output import print_json, say
from penstock.kernel.errors import KeyUnknown
from penstock.ports.access import MAX_LIST, Access

PREFIX_MIN = 4


def revoke(
    key: Annotated[str, typer.Argument(metavar="ID", help="The key's id, or the end of it.")],
    tenant: Tenant = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> int:
    """End a key, and the sessions that were signed in to with it, for good.

    Servers that run notice within PENSTOCK_KEY_CACHE_SECONDS.
    """
    return execute(_revoke(key, tenant, actor_or_account(actor), as_json))


async def _revoke(text: str, tenant: str | None, actor: str, as_json: bool) -> int:
    from penstock.cli.text import safe
    from penstock.server.action_log import ActionLog

    async with opened_journal(tenant) as place:
        access = place.journal.access
        found = await access.revoke_key(place.tenant, await _find(access, place.tenant, text))
        assert found is not None
        log = ActionLog(place.journal.actions)
        await log.record_as(place.tenant, f"cli:{actor}", "key.revoke", str(found.id), {"name": found.name})
    if as_json:
        print_json(shown(found))
    else:
        say(f"revoked {safe(found.name)}")
    return ExitCode.OK


async def _find(access: Access, tenant: str, text: str) -> UUID:
    """The only key whose id ends so: ids made close together begin alike.

    Raises:
        KeyUnknown: there is none, or there are several.
    """
    wanted = text.replace("-", "").lower()
    found: list[UUID] = []
    after: UUID | None = None
    while page := await access.list_keys(tenant, after, MAX_LIST):
        found += [key.id for key in page if key.id.hex.endswith(wanted)]
        after = page[-1].id
    if len(wanted) < PREFIX_MIN:
        raise KeyUnknown(f"{text!r} is too short for the end of an id", hint="see `penstock keys ls`")
    if len(found) != 1:
        what = "several keys have ids" if found else "no key has an id"
        raise KeyUnknown(f"{what} that ends with {text!r}")
    return found[0]
