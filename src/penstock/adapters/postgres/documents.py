"""Documents in the database."""

from typing import Any

from penstock.adapters.postgres.database import Database
from penstock.ports.documents import MAX_LIST, PRUNE_AT_ONCE, Content, Document, Kind, State, Version, Write, Written

_VERSION = (
    "v.tenant, v.kind, v.name, v.version, penstock.to_us(v.at), v.run_id, v.path, v.author, v.erased, v.pruned,"
    " v.subject, v.codec, v.size, v.digest"
)
_WHOLE = f"{_VERSION}, v.data"
_PRESENT = f"{_VERSION}, CASE WHEN v.data IS NOT NULL THEN ''::bytea END"
_DOCUMENT = "d.state, d.reason, d.reason_run"
# From the document's row on: a version that is missing is damage, and is to be seen as such.
_LATEST = """
FROM penstock.documents d LEFT JOIN penstock.document_versions v
ON v.tenant = d.tenant AND v.kind = d.kind AND v.name = d.name AND v.version = d.version"""

GET = f"SELECT d.version, {_DOCUMENT}, {_WHOLE} {_LATEST} WHERE d.tenant = $1 AND d.kind = $2 AND d.name = $3"
LIST = f"""
SELECT d.version, d.name, {_DOCUMENT}, {_PRESENT} {_LATEST}
WHERE d.tenant = $1 AND d.kind = $2 AND d.name > $3"""
PUT = """
SELECT answer, latest, why FROM penstock.put_document(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15
)"""
QUARANTINE = """
UPDATE penstock.documents SET state = 'quarantined', reason = $5, reason_run = $6
WHERE tenant = $1 AND kind = $2 AND name = $3 AND version = $4 AND state = 'ok' RETURNING 1"""
RELEASE = """
UPDATE penstock.documents SET state = 'ok', reason = '', reason_run = NULL
WHERE tenant = $1 AND kind = $2 AND name = $3 AND state = 'quarantined' RETURNING 1"""
RESTORE = "SELECT penstock.restore_document($1, $2, $3, $4, $5, $6, $7)"
ERASE = """
WITH old AS MATERIALIZED (
    SELECT v.version, v.data IS NOT NULL AS present FROM penstock.document_versions v
    WHERE v.tenant = $1 AND v.kind = $2 AND v.name = $3 FOR UPDATE
), gone AS (
    UPDATE penstock.document_versions v SET erased = true, size = 0, digest = NULL, data = NULL
    FROM old WHERE v.tenant = $1 AND v.kind = $2 AND v.name = $3 AND v.version = old.version
)
SELECT count(*) FROM old WHERE present"""
VERSION = f"""
SELECT {_WHOLE} FROM penstock.document_versions v
WHERE v.tenant = $1 AND v.kind = $2 AND v.name = $3 AND v.version = $4"""  # noqa: S608 - constants
HISTORY = f"""
SELECT {_PRESENT} FROM penstock.document_versions v
WHERE v.tenant = $1 AND v.kind = $2 AND v.name = $3 AND ($4 = 0 OR v.version < $4)
ORDER BY v.version DESC LIMIT $5"""  # noqa: S608 - constants


class PostgresDocuments:
    """Implements `penstock.ports.documents.Documents`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, tenant: str, kind: Kind, name: str) -> Document | None:
        row = await self._database.row(GET, tenant, kind, name)
        return None if row is None else _document(tenant, kind, name, row[0], row[1:4], row[4:])

    async def put(self, write: Write, keep: int) -> Written:
        content = write.content
        row = await self._database.row(
            PUT,
            write.tenant,
            write.kind,
            write.name,
            write.expected,
            write.run,
            write.path,
            write.epoch,
            write.by,
            content.subject,
            content.codec,
            content.size,
            content.digest,
            content.data,
            keep,
            PRUNE_AT_ONCE,
        )
        assert row is not None
        return Written(row[0], row[1], row[2])

    async def quarantine(self, tenant: str, kind: Kind, name: str, version: int, reason: str, run: Any) -> bool:
        return await self._database.row(QUARANTINE, tenant, kind, name, version, reason, run) is not None

    async def release(self, tenant: str, kind: Kind, name: str) -> bool:
        return await self._database.row(RELEASE, tenant, kind, name) is not None

    async def restore(self, tenant: str, kind: Kind, name: str, version: int, by: str, keep: int) -> int | None:
        made: int | None = await self._database.value(RESTORE, tenant, kind, name, version, by, keep, PRUNE_AT_ONCE)
        return made

    async def erase(self, tenant: str, kind: Kind, name: str) -> int:
        return int(await self._database.value(ERASE, tenant, kind, name))

    async def version(self, tenant: str, kind: Kind, name: str, version: int) -> Version | None:
        row = await self._database.row(VERSION, tenant, kind, name, version)
        return None if row is None else _version(row)

    async def history(self, tenant: str, kind: Kind, name: str, before: int, limit: int) -> list[Version]:
        rows = await self._database.fetch(HISTORY, tenant, kind, name, before, min(limit, MAX_LIST))
        return [_version(row) for row in rows]

    async def list_documents(
        self, tenant: str, kind: Kind, after: str, limit: int, state: State | None = None
    ) -> list[Document]:
        query, args = LIST, [tenant, kind, after, min(limit, MAX_LIST)]
        if state is not None:
            query += " AND d.state = $5"
            args.append(state)
        rows = await self._database.fetch(f"{query} ORDER BY d.name LIMIT $4", *args)
        return [_document(tenant, kind, row[1], row[0], row[2:5], row[5:]) for row in rows]


def _document(tenant: str, kind: Kind, name: str, number: int, about: Any, latest: Any) -> Document:
    if latest[0] is None:  # the row of its latest version is gone
        return Document(Version(tenant, kind, name, number, 0, None), *about)
    return Document(_version(latest), *about)


def _version(row: Any) -> Version:
    tenant, kind, name, number, at, run, path, by, erased, pruned, subject, codec, size, digest, data = row
    content = None if data is None else Content(data, codec, size, digest or b"", subject)
    return Version(tenant, kind, name, number, at, content, run, path, by, erased, pruned)
