"""Releases of an agent side by side, in numbers. Nothing follows from them by itself: people promote."""

from collections.abc import Iterable
from dataclasses import dataclass

from penstock.ports.journal import Journal
from penstock.ports.rollouts import TALLIED_MAX, Tally

FAILED = ("failed", "exhausted", "killed")
"""Outcomes that count as failures; what was refused, escalated or cancelled is told by itself."""


@dataclass(slots=True, frozen=True)
class Numbers:
    """How runs of one release went. Rates are of those that have ended; ``nano``: of all, per ended run where ``each``.

    ``median_us``: of those that succeeded, from submission to end.
    """

    release: str
    state: str
    runs: int
    ended: int
    failed: int
    escalated: int
    refused: int
    cancelled: int
    nano: int
    tokens: int
    steps: int
    tool_calls: int
    median_us: int

    def rate(self, count: int) -> float:
        """Share of the runs that have ended; 0 without any."""
        return count / self.ended if self.ended else 0.0

    @property
    def each_nano(self) -> int:
        """Money of one run, on the average."""
        return round(self.nano / self.runs) if self.runs else 0


async def compare(journal: Journal, tenant: str, agent: str, since: int) -> list[Numbers]:
    """The releases of an agent with runs submitted since then; the canary first, then what is live, then by name.

    Code that is no managed release stands under its own release. At most `TALLIED_MAX` runs count, the newest.
    """
    tallies = await journal.rollouts.tallies(tenant, agent, since, TALLIED_MAX)
    route = await journal.rollouts.route(tenant, agent)
    by_release: dict[str, list[Tally]] = {}
    for tally in tallies:
        by_release.setdefault(tally.release, []).append(tally)
    for release in (route.canary, route.live):
        if release:
            by_release.setdefault(release, [])
    found = []
    for release, group in by_release.items():
        kept = await journal.rollouts.get(tenant, release) if len(release) == 64 else None
        found.append(_numbers(release, kept.state if kept is not None else "code", group))
    first = {route.canary: 0, route.live: 1}
    return sorted(found, key=lambda item: (first.get(item.release, 2), item.release))


def _numbers(release: str, state: str, group: Iterable[Tally]) -> Numbers:
    tallies = list(group)

    def count(*outcomes: str) -> int:
        return sum(tally.runs for tally in tallies if tally.outcome in outcomes)

    runs = sum(tally.runs for tally in tallies)
    return Numbers(
        release,
        state,
        runs,
        runs - count(""),
        count(*FAILED),
        count("escalated"),
        count("refused"),
        count("cancelled"),
        sum(tally.nano for tally in tallies),
        sum(tally.tokens for tally in tallies),
        sum(tally.steps for tally in tallies),
        sum(tally.tool_calls for tally in tallies),
        next((tally.median_us for tally in tallies if tally.outcome == "succeeded"), 0),
    )
