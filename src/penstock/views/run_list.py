"""Pages of runs, and what was meant by the words that somebody searches for."""

import binascii
from dataclasses import dataclass, replace
from typing import Literal
from uuid import UUID

from penstock.kernel.errors import CursorInvalid
from penstock.ports.journal import Journal
from penstock.ports.lists import Page, Sharing
from penstock.ports.records import RunFilter

Reading = Literal["", "id", "session", "customer", "tag"]
"""How a search is understood: as the beginning of an id, as a session's name, as a customer, as any tag's value."""
_READINGS: tuple[Reading, ...] = ("", "id", "session", "customer", "tag")
ID_PREFIX_MIN = 4
_HEX = frozenset("0123456789abcdef")


@dataclass(slots=True, frozen=True)
class Cursor:
    """Where the next page begins. As text: the last run's id, and how the search was understood."""

    before: UUID
    reading: Reading = ""

    def __str__(self) -> str:
        return self.before.hex + (f".{self.reading}" if self.reading else "")

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """The cursor that a page gave.

        Raises:
            CursorInvalid: none did.
        """
        identifier, _, reading = text.partition(".")
        try:
            before = UUID(bytes=binascii.unhexlify(identifier))
            return cls(before, _READINGS[_READINGS.index(reading)])
        except ValueError:
            raise CursorInvalid(f"{text[:60]!r} is no cursor of a list of runs") from None


@dataclass(slots=True, frozen=True)
class Listed:
    """A page. ``next`` is its cursor as text; ``looked_to``: see `penstock.ports.lists.Page`."""

    page: Page
    reading: Reading
    next: str | None


async def read_list(journal: Journal, tenant: str, where: RunFilter, q: str, cursor: str, limit: int) -> Listed:
    """A page of the runs that a filter and a search find.

    The search is for the beginning of an id, a session, or exactly a tag's value: the first of these that finds any run
    is what was meant, and stays so for the pages after it. Content is not searched.

    Raises:
        CursorInvalid: not a cursor of such a list.
    """
    at = Cursor.parse(cursor) if cursor else None
    reading: Reading = at.reading if at else ""
    if q and not reading:
        reading = await understood(journal, tenant, q)
    found = searched(where, q, reading)
    if at is not None:
        found = replace(found, before=at.before)
    if q and reading == "id":
        found = _within(found, q)
    page = await journal.lists.page(tenant, found, limit)
    return Listed(page, reading if q else "", None if page.next is None else str(Cursor(page.next, reading)))


async def read_sharing(journal: Journal, tenant: str, where: RunFilter, q: str) -> Sharing:
    """What the runs that a filter and a search find share."""
    reading: Reading = await understood(journal, tenant, q) if q else ""
    found = searched(where, q, reading)
    return await journal.lists.sharing(tenant, _within(found, q) if reading == "id" else found)


async def understood(journal: Journal, tenant: str, q: str) -> Reading:
    """What a search is for: the first of ``_READINGS`` that finds a run."""
    digits = q.replace("-", "").lower()
    if ID_PREFIX_MIN <= len(digits) <= 32 and _HEX.issuperset(digits) and await journal.find_runs(tenant, digits):
        return "id"
    for reading in ("session", "customer"):
        page = await journal.lists.page(tenant, searched(RunFilter(), q, reading), 1)
        if page.rows:
            return reading
    return "tag"


def searched(where: RunFilter, q: str, reading: Reading) -> RunFilter:
    """The filter with the search, as it is understood, added to it; one that nothing fits when they contradict."""
    if reading == "session":
        return replace(where, session=q) if where.session in (None, q) else replace(where, until=1)
    if reading == "customer":
        fits = where.tags.get("customer", q) == q
        return replace(where, tags={**where.tags, "customer": q}) if fits else replace(where, until=1)
    if reading == "tag":
        return replace(where, any_tag=q)
    return where


def _within(where: RunFilter, prefix: str) -> RunFilter:
    """The filter, for ids that begin so."""
    digits = prefix.replace("-", "").lower()
    low, high = UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))
    before = UUID(int=min(high.int + 1, 2**128 - 1))
    older = where.before if where.before is not None and where.before < before else before
    return replace(where, before=older, from_id=low)
