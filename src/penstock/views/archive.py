"""A journal that is an archive: what reads records, such as the audit and the replay, reads a file in the same way."""

from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from penstock.adapters.memory import MemoryJournal
from penstock.journal.archive import Archive, EventLine, Part, PayloadLine
from penstock.kernel.errors import InputInvalid
from penstock.ports.records import Payload, PayloadKey, Row, RunFilter, RunKey, RunRow

MAX_LIST = 1000
FOUND_MAX = 10


class ArchiveJournal(MemoryJournal):
    """Reads one archive, which is checked against its manifest first. What is written goes to memory, and is forgotten.

    Holds the payloads of one run at a time.

    Args:
        path: the file.

    Raises:
        ArchiveInvalid: it is no whole archive.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._archive = Archive(path)
        try:
            self._archive.check()
        except BaseException:
            self._archive.close()
            raise
        self._by_run = {part.run: part for part in self._archive.parts}
        self._by_subject: dict[str, list[Part]] = {}
        for part in self._archive.parts:
            self._by_subject.setdefault(part.subject, []).append(part)
        self._held: tuple[UUID, dict[bytes, Payload]] | None = None

    @property
    def tenant(self) -> str:
        """Whose runs it holds."""
        return self._archive.tenant

    async def tenants(self) -> list[str]:
        return [self.tenant]

    async def get_run(self, tenant: str, run: UUID) -> RunRow | None:
        part = self._part(tenant, run)
        return None if part is None else self._archive.head(part).row

    async def find_runs(self, tenant: str, prefix: str) -> list[UUID]:
        digits = prefix.replace("-", "").lower()
        if not 4 <= len(digits) <= 32 or any(digit not in "0123456789abcdef" for digit in digits):
            raise InputInvalid(f"{prefix!r} is not the beginning of a run id: at least 4 hexadecimal digits")
        runs = self._by_run if tenant == self.tenant else {}
        return sorted(run for run in runs if run.hex.startswith(digits))[:FOUND_MAX]

    async def list_runs(self, tenant: str, where: RunFilter, limit: int) -> list[RunRow]:
        found: list[RunRow] = []
        for run in sorted(self._by_run if tenant == self.tenant else (), reverse=True):
            if len(found) == min(limit, MAX_LIST):
                break
            if where.before is not None and run >= where.before:
                continue
            row = self._archive.head(self._by_run[run]).row
            if _matches(row, where):
                found.append(row)
        return found

    async def tapes(self, runs: Sequence[RunKey]) -> dict[RunKey, list[Row]]:
        return {key: self._rows(self._part(*key)) for key in runs}

    async def tape(self, tenant: str, run: UUID, after: int = 0, limit: int = 10_000) -> list[Row]:
        return [row for row in self._rows(self._part(tenant, run)) if row.seq > after][:limit]

    async def subject_key(self, tenant: str, subject: str) -> bytes | None:
        parts = self._by_subject.get(subject, []) if tenant == self.tenant else []
        return self._archive.head(parts[0]).key if parts else None

    async def get_payloads(self, tenant: str, subject: str, addresses: Sequence[bytes]) -> dict[bytes, Payload]:
        missing = set(addresses)
        found: dict[bytes, Payload] = {}
        parts = list(self._by_subject.get(subject, [])) if tenant == self.tenant else []
        # What the last run asked for held is most likely what this one asks for.
        parts.sort(key=lambda part: self._held is None or part.run != self._held[0])
        for part in parts:
            if not missing:
                break
            held = self._payloads(part)
            for where in missing & held.keys():
                found[where] = held[where]
            missing -= held.keys()
        return found

    async def fetch_payloads(self, wanted: Sequence[PayloadKey]) -> dict[PayloadKey, Payload]:
        found: dict[PayloadKey, Payload] = {}
        for tenant, subject in dict.fromkeys(key[:2] for key in wanted):
            addresses = [key[2] for key in wanted if key[:2] == (tenant, subject)]
            payloads = await self.get_payloads(tenant, subject, addresses)
            found.update({(tenant, subject, where): payload for where, payload in payloads.items()})
        return found

    async def close(self) -> None:
        self._archive.close()

    def _part(self, tenant: str, run: UUID) -> Part | None:
        return self._by_run.get(run) if tenant == self.tenant else None

    def _rows(self, part: Part | None) -> list[Row]:
        if part is None:
            return []
        return [line.as_row() for line in self._archive.lines(part) if isinstance(line, EventLine)]

    def _payloads(self, part: Part) -> dict[bytes, Payload]:
        if self._held is None or self._held[0] != part.run:
            lines = (line for line in self._archive.lines(part) if isinstance(line, PayloadLine))
            payloads = {
                line.address: Payload(self.tenant, part.subject, line.address, line.data, line.codec, line.size)
                for line in lines
            }
            self._held = part.run, payloads
        return self._held[1]


def _matches(row: RunRow, where: RunFilter) -> bool:
    return (
        (where.status is None or row.status is where.status)
        and (where.outcome is None or row.outcome == where.outcome)
        and (where.agent is None or row.agent == where.agent)
        and (where.root is None or row.root == where.root)
        and (where.parent is None or row.parent == where.parent)
        and where.waiting_for is None
    )
