"""Documents in memory."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from uuid import UUID

from penstock.adapters.memory.records import Store
from penstock.kernel.clock import Clock
from penstock.ports.documents import MAX_LIST, PRUNE_AT_ONCE, Content, Document, Kind, State, Version, Write, Written
from penstock.ports.records import Status, Stop

_Key = tuple[str, str, str]  # tenant, kind, name


@dataclass(slots=True)
class _Entry:
    versions: dict[int, Version] = field(default_factory=dict)
    latest: int = 0
    pruned_to: int = 0
    state: State = "ok"
    reason: str = ""
    reason_run: UUID | None = None


class MemoryDocuments:
    """Implements `penstock.ports.documents.Documents` on the journal's own store."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._entries: dict[_Key, _Entry] = {}
        self._writes: dict[tuple[str, UUID, str], tuple[_Key, int]] = {}

    async def get(self, tenant: str, kind: Kind, name: str) -> Document | None:
        entry = self._entries.get((tenant, kind, name))
        return None if entry is None else _document((tenant, kind, name), entry)

    async def put(self, write: Write, keep: int) -> Written:
        key: _Key = write.tenant, write.kind, write.name
        entry = self._entries.get(key)
        latest, reason = (entry.latest, entry.reason) if entry is not None else (0, "")
        run = self._store.runs.get((write.tenant, write.run))
        if run is None or run.epoch != write.epoch or run.status is not Status.RUNNING:
            return Written("fenced", latest, reason)
        stop = self._store.stop_of(run)
        if stop in (Stop.CANCEL, Stop.KILL):
            return Written("stopped", latest, stop)
        made = self._writes.get((write.tenant, write.run, write.path))
        if made is not None and made[0] == key:
            return Written("written", made[1], reason)
        if entry is not None and entry.state == "quarantined":
            return Written("quarantined", latest, reason)
        if latest != write.expected:
            return Written("conflict", latest, reason)
        if entry is None:
            entry = self._entries[key] = _Entry()
        self._add(key, entry, write.content, keep, run=write.run, path=write.path, by=write.by)
        self._writes[write.tenant, write.run, write.path] = key, entry.latest
        return Written("written", entry.latest, reason)

    async def quarantine(self, tenant: str, kind: Kind, name: str, version: int, reason: str, run: UUID | None) -> bool:
        entry = self._entries.get((tenant, kind, name))
        if entry is None or entry.latest != version or entry.state != "ok":
            return False
        entry.state, entry.reason, entry.reason_run = "quarantined", reason, run
        return True

    async def release(self, tenant: str, kind: Kind, name: str) -> bool:
        entry = self._entries.get((tenant, kind, name))
        if entry is None or entry.state != "quarantined":
            return False
        entry.state, entry.reason, entry.reason_run = "ok", "", None
        return True

    async def restore(self, tenant: str, kind: Kind, name: str, version: int, by: str, keep: int) -> int | None:
        entry = self._entries.get((tenant, kind, name))
        old = entry.versions.get(version) if entry is not None else None
        if entry is None or old is None or old.content is None:
            return None
        entry.state, entry.reason, entry.reason_run = "ok", "", None
        self._add((tenant, kind, name), entry, old.content, keep, by=by)
        return entry.latest

    async def erase(self, tenant: str, kind: Kind, name: str) -> int:
        entry = self._entries.get((tenant, kind, name))
        return 0 if entry is None else _erase(entry, list(entry.versions.values()))

    def erase_subject(self, tenant: str, subject: str) -> None:
        """What is erased of a person is erased of documents, too."""
        for key, entry in self._entries.items():
            if key[0] == tenant and subject:
                _erase(entry, [known for known in entry.versions.values() if _subject(known) == subject])

    async def version(self, tenant: str, kind: Kind, name: str, version: int) -> Version | None:
        entry = self._entries.get((tenant, kind, name))
        return None if entry is None else entry.versions.get(version)

    async def history(self, tenant: str, kind: Kind, name: str, before: int, limit: int) -> list[Version]:
        entry = self._entries.get((tenant, kind, name))
        known = sorted(entry.versions.items(), reverse=True) if entry is not None else []
        found = [_without_bytes(version) for number, version in known if before == 0 or number < before]
        return found[: min(limit, MAX_LIST)]

    async def list_documents(
        self, tenant: str, kind: Kind, after: str, limit: int, state: State | None = None
    ) -> list[Document]:
        found = [
            _document(key, entry)
            for key, entry in self._entries.items()
            if key[:2] == (tenant, kind) and key[2].encode() > after.encode() and state in (None, entry.state)
        ]
        found.sort(key=lambda document: document.name.encode())
        return [replace(each, latest=_without_bytes(each.latest)) for each in found[: min(limit, MAX_LIST)]]

    def entries(self) -> Iterator[tuple[_Key, _Entry]]:
        """All documents, for parts of the store that look at their versions."""
        yield from self._entries.items()

    def put_back(self, tenant: str, kind: Kind, name: str, content: Content | None, keep: int, by: str) -> int:
        """Write a version with that content (None: erased) over a document that is there, whatever its state."""
        entry = self._entries[tenant, kind, name]
        entry.state, entry.reason, entry.reason_run = "ok", "", None
        self._add((tenant, kind, name), entry, content or Content(b"", "raw", 0, b""), keep, by=by)
        if content is None:
            entry.versions[entry.latest] = replace(entry.versions[entry.latest], content=None, erased=True)
        return entry.latest

    def _add(
        self,
        key: _Key,
        entry: _Entry,
        content: Content,
        keep: int,
        *,
        run: UUID | None = None,
        path: str = "",
        by: str = "",
    ) -> None:
        tenant, kind, name = key
        subject = tenant, content.subject
        erased = bool(content.subject) and subject in self._store.subjects and self._store.subjects[subject] is None
        entry.latest += 1
        version = Version(
            tenant,
            kind,  # type: ignore[arg-type]
            name,
            entry.latest,
            self._clock.now_us(),
            None if erased else content,
            run,
            path,
            by,
            erased,
        )
        entry.versions[entry.latest] = version
        self._prune(entry, keep)

    def _prune(self, entry: _Entry, keep: int) -> None:
        upto = max(entry.pruned_to, min(entry.latest - keep, entry.pruned_to + PRUNE_AT_ONCE))
        for number in range(entry.pruned_to + 1, upto + 1):
            if number in entry.versions:
                entry.versions[number] = replace(entry.versions[number], content=None, pruned=True)
        entry.pruned_to = upto
        oldest = sorted(number for number, version in entry.versions.items() if version.pruned)[:PRUNE_AT_ONCE]
        for number in oldest:
            version = entry.versions[number]
            run = self._store.runs.get((version.tenant, version.run)) if version.run is not None else None
            if run is None or run.status is Status.ENDED:
                del entry.versions[number]
                if version.run is not None:
                    self._writes.pop((version.tenant, version.run, version.path), None)


def _document(key: _Key, entry: _Entry) -> Document:
    tenant, kind, name = key
    gone = Version(tenant, kind, name, entry.latest, 0, None)  # type: ignore[arg-type]
    return Document(entry.versions.get(entry.latest, gone), entry.state, entry.reason, entry.reason_run)


def _erase(entry: _Entry, versions: list[Version]) -> int:
    for version in versions:
        entry.versions[version.version] = replace(version, content=None, erased=True)
    return sum(version.content is not None for version in versions)


def _subject(version: Version) -> str:
    return version.content.subject if version.content is not None else ""


def _without_bytes(version: Version) -> Version:
    content = version.content
    return version if content is None else replace(version, content=replace(content, data=b""))
