"""`penstock.ports.cases.Cases` for one process."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from uuid import UUID

from penstock.adapters.memory.records import Run
from penstock.kernel.clock import Clock
from penstock.ports.cases import CASES_MAX, Case


class MemoryCases:
    """See the port."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._cases: dict[tuple[str, UUID], Case] = {}

    def holder(self, tenant: str, run: UUID) -> str:
        """Who holds it now; '' = nobody."""
        case = self._cases.get((tenant, run))
        return "" if case is None else case.held_by(self._clock.now_us())

    def tidy(self, over: Callable[[str, UUID], Run | bool], before: int, limit: int) -> int:
        """As `penstock.ports.questions.Questions.tidy`; ``over`` says whether a run has ended."""
        old = []
        for key, case in self._cases.items():
            run = over(*key)
            given_up = isinstance(run, Run) and run.outcome == "escalated" and not case.closed_at
            if run and not given_up and max(case.until, case.closed_at, case.due) < before:
                old.append(key)
        for key in old[:limit]:
            del self._cases[key]
        return len(old[:limit])

    async def claim(self, tenant: str, run: UUID, holder: str, seconds: float, *, force: bool = False) -> Case:
        now = self._clock.now_us()
        case = self._cases.get((tenant, run)) or Case(tenant, run)
        held = case.held_by(now)
        if held in ("", holder) or force:
            goes_on = held == holder
            case = replace(
                case,
                holder=holder,
                claimed_at=case.claimed_at if goes_on else now,
                claims=case.claims + (not goes_on),
                until=now + int(seconds * 1e6),
                closed_at=0,
                closed_by="",
            )
        self._cases[tenant, run] = case
        return case

    async def hand_back(self, tenant: str, run: UUID, holder: str, note: str, *, close: bool = False) -> Case | None:
        case = self._cases.get((tenant, run))
        now = self._clock.now_us()
        if case is None or case.held_by(now) != holder:
            return None
        closed = {"closed_at": now, "closed_by": holder} if close else {"closed_at": 0, "closed_by": ""}
        case = self._cases[tenant, run] = replace(case, holder="", until=0, note=note, **closed)  # type: ignore[arg-type]
        return case

    async def assign(self, tenant: str, run: UUID, assignee: str, due: int, by: str) -> Case:
        case = self._cases.get((tenant, run)) or Case(tenant, run)
        case = replace(case, assignee=assignee, due=due, assigned_by=by, closed_at=0, closed_by="")
        self._cases[tenant, run] = case
        return case

    async def known(self, tenant: str, runs: Sequence[UUID]) -> dict[UUID, Case]:
        return {run: self._cases[tenant, run] for run in runs if (tenant, run) in self._cases}

    async def page(self, tenant: str, holder: str, after: UUID | None, limit: int) -> list[Case]:
        now = self._clock.now_us()
        found = [
            case
            for (of, run), case in self._cases.items()
            if of == tenant
            and not case.closed_at
            and (after is None or run > after)
            and (not holder or holder in (case.assignee, case.held_by(now)))
        ]
        return sorted(found, key=lambda case: case.run)[: min(limit, CASES_MAX)]

    async def now(self) -> int:
        return self._clock.now_us()
