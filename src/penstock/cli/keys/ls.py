"""``penstock keys ls``."""

from datetime import UTC, datetime

from penstock.cli.exits import ExitCode
from penstock.cli.keys.shown import shown
from penstock.cli.opening import execute, opened_journal
from penstock.cli.options import AsJson, Tenant
from penstock.cli.output import columns, print_json, say
from penstock.ports.access import MAX_LIST, KeyRecord

_HEAD = ("id", "name", "roles", "state", "made", "used", "by")


def ls(tenant: Tenant = None, as_json: AsJson = False) -> int:
    """List the tenant's keys, oldest first; never their secrets."""
    return execute(_ls(tenant, as_json))


async def _ls(tenant: str | None, as_json: bool) -> int:
    async with opened_journal(tenant) as place:
        now = await place.journal.now()
        keys: list[KeyRecord] = []
        while page := await place.journal.access.list_keys(place.tenant, keys[-1].id if keys else None, MAX_LIST):
            keys += page
    if as_json:
        print_json({"keys": [shown(key) for key in keys]})
    elif not keys:
        say("no keys; make one: penstock keys make NAME --role operator")
    else:
        say(columns(_HEAD, [_row(key, now) for key in keys], drop=("by", "made", "used")))
    return ExitCode.OK


def _row(key: KeyRecord, now: int) -> tuple[str, ...]:
    state = "usable"
    if key.revoked_at is not None:
        state = "revoked"
    elif key.expires_at is not None:
        state = "expired" if key.expires_at <= now else f"until {_day(key.expires_at)}"
    roles = ",".join(key.roles) + ("" if key.permissions is None else f" ({','.join(key.permissions)})")
    return str(key.id), key.name, roles, state, _day(key.created_at), _day(key.used_at), key.created_by


def _day(at: int | None) -> str:
    return "never" if at is None else datetime.fromtimestamp(at / 1e6, UTC).strftime("%Y-%m-%d %H:%M")
