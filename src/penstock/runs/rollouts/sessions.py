"""Taking sessions back to before a bad release wrote to them.

What agents remember of a session, and its state, are documents of versions. Each that the release has written to gets
a new version with the content from before its first write: over the version that was looked at and no other, so that a
run that writes meanwhile is not overwritten but looked at again. Later writes, also of good releases, were made upon
what the bad one had left behind: they go with it, and their number is told.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from penstock.journal.documents import pack
from penstock.ports.journal import Journal
from penstock.ports.rollouts import Back, Boundary

PAGE = 500
TRIES = 5
"""Of documents that runs write to meanwhile."""
CHANGED = "changed"
LISTED_MAX = 1000
_EMPTY: dict[str, bytes] = {"memory": b"{}", "session": b"null"}
"""What a document held before there was one, as its readers take it."""


@dataclass(slots=True, frozen=True)
class NotBack:
    """A document that could not be taken back, and why."""

    kind: str
    name: str
    why: str


@dataclass(slots=True)
class TakenBack:
    """What became of sessions. ``others``: versions by other releases or people that went, too."""

    documents: int = 0
    versions: int = 0
    others: int = 0
    failed: list[NotBack] = field(default_factory=list)
    failed_more: int = 0

    def fail(self, boundary: Boundary, why: str) -> None:
        if len(self.failed) < LISTED_MAX:
            self.failed.append(NotBack(boundary.kind, boundary.name, why))
        else:
            self.failed_more += 1


async def take_back(journal: Journal, tenant: str, releases: Iterable[str], actor: str, keep: int) -> TakenBack:
    """Take all sessions back to before these releases wrote to them. ``keep``: versions of a document that are kept.

    Made again it does the rest: what was taken back is not taken back twice.
    """
    done = TakenBack()
    for release in releases:
        await _from_release(journal, tenant, release, actor, keep, done)
    return done


async def _from_release(journal: Journal, tenant: str, release: str, actor: str, keep: int, done: TakenBack) -> None:
    """Again and again, for the documents that were written to while they were looked at."""
    failed: set[tuple[str, str]] = set()
    changed: list[Boundary] = []
    for _ in range(TRIES):
        changed, after = [], None
        while page := await journal.rollouts.written(tenant, release, after, PAGE):
            for boundary in page:
                place = boundary.kind, boundary.name
                if place in failed:
                    continue
                why = await _take_one_back(journal, tenant, release, boundary, actor, keep, done)
                if why == CHANGED:
                    changed.append(boundary)
                elif why:
                    failed.add(place)
                    done.fail(boundary, why)
            after = page[-1].kind, page[-1].name
        if not changed:
            return
    for boundary in changed:
        done.fail(boundary, "runs kept writing to it: stop them first")


async def _take_one_back(
    journal: Journal, tenant: str, release: str, boundary: Boundary, actor: str, keep: int, done: TakenBack
) -> str:
    """Why not; "" = it was."""
    target = boundary.first - 1
    if boundary.pruned_to and target <= boundary.pruned_to:
        return f"versions up to {boundary.pruned_to} are not kept any more"
    empty = pack(_EMPTY[boundary.kind])
    back = Back(tenant, release, boundary.kind, boundary.name, boundary.latest, target, actor, empty)
    answer, _made = await journal.rollouts.go_back(back, keep)
    if answer == "changed":
        return CHANGED
    if answer == "gone":
        return f"the content of version {target} is not kept any more"
    done.documents += 1
    done.versions += boundary.versions
    done.others += boundary.others
    return ""
