"""`penstock.ports.access.Access` in PostgreSQL."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from penstock.adapters.postgres.database import Database
from penstock.ports.access import MAX_LIST, FoundKey, KeyRecord, NewKey, SessionRecord

_KEY = (
    "tenant, id, handle, name, roles, permissions, created_at, created_by, expires_at, revoked_at, used_at"  # KeyRecord
)
_SESSION = "tenant, id, actor, name, roles, permissions, key_id, created_at, used_at, expires_at"  # SessionRecord
_ADD = f"SELECT {_KEY} FROM penstock.add_key($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"  # noqa: S608 - constants
_FIND = f"SELECT {_KEY}, digest, penstock.now_us() FROM penstock.keys WHERE handle = $1"  # noqa: S608
_GET = f"SELECT {_KEY} FROM penstock.keys WHERE tenant = $1 AND id = $2"  # noqa: S608
_LIST = f"""
SELECT {_KEY} FROM penstock.keys WHERE tenant = $1 AND ($2::uuid IS NULL OR id > $2) ORDER BY id LIMIT $3"""  # noqa: S608
_COUNT = """
SELECT count(*) FROM penstock.keys
WHERE tenant = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > penstock.now_us())"""
_REVOKE = f"SELECT {_KEY} FROM penstock.revoke_key($1, $2)"  # noqa: S608
_HAS_ADMIN = "SELECT penstock.has_admin($1)"
_USED = """
UPDATE penstock.{} SET used_at = penstock.now_us()
WHERE tenant = $1 AND id = $2 AND (used_at IS NULL OR used_at <= penstock.now_us() - 60000000)"""
_USED_KEY, _USED_SESSION = _USED.format("keys"), _USED.format("sign_ins")
_OPEN = f"SELECT {_SESSION} FROM penstock.open_session($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"  # noqa: S608
_FIND_SESSION = f"""
SELECT {", ".join(f"s.{name}" for name in _SESSION.split(", "))}, t.now
FROM penstock.sign_ins s CROSS JOIN (SELECT penstock.now_us() AS now) AS t
    LEFT JOIN penstock.keys k ON k.tenant = s.tenant AND k.id = s.key_id
WHERE s.digest = $1 AND s.expires_at > t.now AND s.used_at + $2::bigint > t.now
    AND (s.key_id IS NULL OR k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > t.now))"""  # noqa: S608
_END = "DELETE FROM penstock.sign_ins WHERE tenant = $1 AND id = $2 RETURNING 1"


class PostgresAccess:
    """See the port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add_key(self, key: NewKey, *, first_admin: bool = False) -> KeyRecord | None:
        record = await self._database.row(
            _ADD,
            key.tenant,
            key.id,
            key.handle,
            key.digest,
            key.name,
            list(key.roles),
            None if key.permissions is None else list(key.permissions),
            key.created_by,
            None if key.expires_seconds is None else int(key.expires_seconds * 1e6),
            first_admin,
        )
        return None if record is None else _key(record)

    async def find_key(self, handle: str) -> FoundKey | None:
        record = await self._database.row(_FIND, handle)
        if record is None:
            return None
        *key, digest, now = record
        return FoundKey(_key(key), digest, now)

    async def get_key(self, tenant: str, key: UUID) -> KeyRecord | None:
        record = await self._database.row(_GET, tenant, key)
        return None if record is None else _key(record)

    async def list_keys(self, tenant: str, after: UUID | None = None, limit: int = 100) -> list[KeyRecord]:
        return [_key(record) for record in await self._database.fetch(_LIST, tenant, after, min(limit, MAX_LIST))]

    async def count_keys(self, tenant: str) -> int:
        found: int = await self._database.value(_COUNT, tenant)
        return found

    async def revoke_key(self, tenant: str, key: UUID) -> KeyRecord | None:
        record = await self._database.row(_REVOKE, tenant, key)
        return None if record is None else _key(record)

    async def has_admin(self, tenant: str) -> bool:
        return bool(await self._database.value(_HAS_ADMIN, tenant))

    async def used(self, tenant: str, *, key: UUID | None = None, session: UUID | None = None) -> None:
        if key is not None:
            await self._database.fetch(_USED_KEY, tenant, key)
        if session is not None:
            await self._database.fetch(_USED_SESSION, tenant, session)

    async def open_session(self, session: SessionRecord, digest: bytes, seconds: float, most: int) -> SessionRecord:
        record = await self._database.row(
            _OPEN,
            session.tenant,
            session.id,
            digest,
            session.actor,
            session.name,
            list(session.roles),
            list(session.permissions),
            session.key,
            int(seconds * 1e6),
            most,
        )
        assert record is not None
        return _session(record)

    async def find_session(self, digest: bytes, idle_seconds: float) -> tuple[SessionRecord, int] | None:
        record = await self._database.row(_FIND_SESSION, digest, int(idle_seconds * 1e6))
        if record is None:
            return None
        *session, now = record
        return _session(session), now

    async def end_session(self, tenant: str, session: UUID) -> bool:
        return await self._database.row(_END, tenant, session) is not None


def _key(record: Sequence[Any]) -> KeyRecord:
    values = list(record)
    values[4] = tuple(values[4])
    values[5] = None if values[5] is None else tuple(values[5])
    return KeyRecord(*values)


def _session(record: Sequence[Any]) -> SessionRecord:
    values = list(record)
    values[4], values[5] = tuple(values[4]), tuple(values[5])
    return SessionRecord(*values)
