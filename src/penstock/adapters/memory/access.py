"""`penstock.ports.access.Access` in memory."""

from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import replace as changed
from uuid import UUID

from penstock.kernel.clock import Clock
from penstock.ports.access import MAX_LIST, FoundKey, KeyRecord, NewKey, SessionRecord

MINUTE = 60_000_000


@dataclass(slots=True)
class _Key:
    record: KeyRecord
    digest: bytes


class MemoryAccess:
    """See the port."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._keys: dict[str, _Key] = {}  # by handle
        self._sessions: dict[bytes, SessionRecord] = {}

    async def add_key(self, key: NewKey, *, first_admin: bool = False) -> KeyRecord | None:
        if key.handle in self._keys or (first_admin and await self.has_admin(key.tenant)):
            return None
        now = self._clock.now_us()
        expires = None if key.expires_seconds is None else now + int(key.expires_seconds * 1e6)
        record = KeyRecord(
            key.tenant, key.id, key.handle, key.name, key.roles, key.permissions, now, key.created_by, expires
        )
        self._keys[key.handle] = _Key(record, key.digest)
        return record

    async def find_key(self, handle: str) -> FoundKey | None:
        known = self._keys.get(handle)
        return None if known is None else FoundKey(known.record, known.digest, self._clock.now_us())

    async def get_key(self, tenant: str, key: UUID) -> KeyRecord | None:
        return next((item.record for item in self._keys.values() if _is(item.record, tenant, key)), None)

    async def list_keys(self, tenant: str, after: UUID | None = None, limit: int = 100) -> list[KeyRecord]:
        theirs = [item.record for item in self._keys.values() if item.record.tenant == tenant]
        later = [record for record in theirs if after is None or record.id > after]
        return sorted(later, key=lambda record: record.id)[: min(limit, MAX_LIST)]

    async def count_keys(self, tenant: str) -> int:
        return sum(item.record.tenant == tenant and self._usable(item.record) for item in self._keys.values())

    async def revoke_key(self, tenant: str, key: UUID) -> KeyRecord | None:
        known = next((item for item in self._keys.values() if _is(item.record, tenant, key)), None)
        if known is None:
            return None
        if known.record.revoked_at is None:
            known.record = changed(known.record, revoked_at=self._clock.now_us())
        self._keep(lambda session: (session.tenant, session.key) != (tenant, key))
        return known.record

    async def has_admin(self, tenant: str) -> bool:
        records = [item.record for item in self._keys.values()]
        return any(item.tenant == tenant and "admin" in item.roles and self._usable(item) for item in records)

    async def used(self, tenant: str, *, key: UUID | None = None, session: UUID | None = None) -> None:
        now = self._clock.now_us()
        for item in self._keys.values():
            if key is not None and _is(item.record, tenant, key) and (item.record.used_at or 0) <= now - MINUTE:
                item.record = changed(item.record, used_at=now)
        for digest, known in self._sessions.items():
            if (known.tenant, known.id) == (tenant, session) and known.used_at <= now - MINUTE:
                self._sessions[digest] = changed(known, used_at=now)

    async def open_session(self, session: SessionRecord, digest: bytes, seconds: float, most: int) -> SessionRecord:
        now = self._clock.now_us()
        record = changed(session, created_at=now, used_at=now, expires_at=now + int(seconds * 1e6))
        self._keep(lambda item: item.tenant != session.tenant or item.expires_at > now)
        self._sessions[digest] = record
        theirs = [
            item for item in self._sessions.values() if (item.tenant, item.actor) == (record.tenant, record.actor)
        ]
        newest = sorted(theirs, key=lambda item: (item.created_at, item.id), reverse=True)
        ended = {item.id for item in newest[most:]}
        self._keep(lambda item: item.id not in ended)
        return record

    async def find_session(self, digest: bytes, idle_seconds: float) -> tuple[SessionRecord, int] | None:
        now = self._clock.now_us()
        known = self._sessions.get(digest)
        if known is None or known.expires_at <= now or known.used_at + int(idle_seconds * 1e6) <= now:
            return None
        key = None if known.key is None else await self.get_key(known.tenant, known.key)
        if known.key is not None and (key is None or not self._usable(key)):
            return None
        return known, now

    async def end_session(self, tenant: str, session: UUID) -> bool:
        before = len(self._sessions)
        self._keep(lambda item: (item.tenant, item.id) != (tenant, session))
        return len(self._sessions) < before

    def _usable(self, key: KeyRecord) -> bool:
        return key.revoked_at is None and (key.expires_at is None or key.expires_at > self._clock.now_us())

    def _keep(self, wanted: Callable[[SessionRecord], bool]) -> None:
        self._sessions = {digest: item for digest, item in self._sessions.items() if wanted(item)}


def _is(record: KeyRecord, tenant: str, key: UUID) -> bool:
    return (record.tenant, record.id) == (tenant, key)
