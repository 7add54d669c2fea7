"""`Penstock.documents`: look at documents from outside, take an older version back, let a quarantined one go on."""

from typing import Any

import msgspec

from penstock.gates.run.services import Services
from penstock.journal.documents import read
from penstock.kernel.errors import DocumentUnknown
from penstock.ports.documents import Document, Kind, State, Version


class DocumentClient:
    """The documents of an open platform. ``tenant`` of each method defaults to the platform's own.

    ``kind``: ``session`` (what `run.session` holds), ``memory`` (what agents remember of a session), ``shared``.
    """

    def __init__(self, services: Services, tenant: str) -> None:
        self._documents = services.journal.documents
        self._keep = services.settings.document_versions_kept
        self._tenant = tenant

    async def list_documents(
        self, kind: Kind, *, after: str = "", limit: int = 100, state: State | None = None, tenant: str | None = None
    ) -> list[Document]:
        """Documents by name, from after ``after``, at most 1,000; without their content."""
        return await self._documents.list_documents(tenant or self._tenant, kind, after, limit, state)

    async def get(self, kind: Kind, name: str, *, tenant: str | None = None) -> Document:
        """A document with its latest version as stored; `value_of` reads it.

        Raises:
            DocumentUnknown: there is none.
        """
        found = await self._documents.get(tenant or self._tenant, kind, name)
        if found is None:
            raise _unknown(kind, name)
        return found

    async def version(self, kind: Kind, name: str, version: int, *, tenant: str | None = None) -> Version:
        """One version as stored.

        Raises:
            DocumentUnknown: there is none.
        """
        found = await self._documents.version(tenant or self._tenant, kind, name, version)
        if found is None:
            raise _unknown(kind, name, version)
        return found

    async def history(
        self, kind: Kind, name: str, *, before: int = 0, limit: int = 100, tenant: str | None = None
    ) -> list[Version]:
        """Versions below ``before`` (0: all), newest first, at most 1,000; without their content.

        Raises:
            DocumentUnknown: there is no such document.
        """
        await self.get(kind, name, tenant=tenant)
        return await self._documents.history(tenant or self._tenant, kind, name, before, limit)

    async def restore(
        self, kind: Kind, name: str, version: int, *, actor: str = "api", tenant: str | None = None
    ) -> int:
        """Make a new version with the content of an older one, and take a quarantine off; its number.

        Raises:
            DocumentUnknown: there is no such version, or its content is gone.
            DocumentUnreadable: that version is damaged itself; nothing was changed.
        """
        old = await self.version(kind, name, version, tenant=tenant)
        if old.erased or old.pruned:
            raise _unknown(kind, name, version)
        read(old)
        made = await self._documents.restore(tenant or self._tenant, kind, name, version, actor, self._keep)
        if made is None:
            raise _unknown(kind, name, version)
        return made

    async def release(self, kind: Kind, name: str, *, tenant: str | None = None) -> bool:
        """Let a quarantined document be used as it is now; False when it is not quarantined. It is looked at again
        when somebody reads it.

        Raises:
            DocumentUnknown: there is no such document.
        """
        await self.get(kind, name, tenant=tenant)
        return await self._documents.release(tenant or self._tenant, kind, name)

    async def erase(self, kind: Kind, name: str, *, tenant: str | None = None) -> int:
        """Erase the content of all its versions; how many had one. Copies in the records of runs stay: they go when
        the runs' subjects are erased.

        Raises:
            DocumentUnknown: there is no such document.
        """
        await self.get(kind, name, tenant=tenant)
        return await self._documents.erase(tenant or self._tenant, kind, name)


def value_of(version: Version) -> Any:
    """What a version holds, as plain JSON; None also when it was erased.

    Raises:
        DocumentUnreadable: it is missing, damaged, or not what was written.
    """
    data = read(version)
    return None if data is None else msgspec.json.decode(data)


def _unknown(kind: str, name: str, version: int | None = None) -> DocumentUnknown:
    what = (
        f"{kind} document {name!r}" if version is None else f"content of version {version} of {kind} document {name!r}"
    )
    return DocumentUnknown(f"there is no {what}")
