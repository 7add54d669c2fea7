"""Questions to people in memory."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from uuid import UUID

import msgspec

from penstock.adapters.memory.cases import MemoryCases
from penstock.adapters.memory.notices import MemoryNotices
from penstock.adapters.memory.people import MemoryPeople
from penstock.adapters.memory.records import Run, Store
from penstock.events import Waiting
from penstock.kernel.clock import Clock
from penstock.kernel.errors import RunUnknown
from penstock.ports.questions import DECISIONS_KEPT, NEVER, PAGE_MAX, Asking, Ballot, Decided, Verdict, Vote
from penstock.ports.records import Letter, Post, RunRow, Status


class MemoryQuestions:
    """Implements `penstock.ports.questions.Questions`; see there."""

    def __init__(self, store: Store, clock: Clock, tell: Callable[[], None]) -> None:
        self._store = store
        self._clock = clock
        self._tell = tell
        self._decisions: dict[tuple[str, str], Decided] = {}
        self._votes: dict[tuple[str, str], list[Vote]] = {}
        self.people = MemoryPeople(clock)
        self.cases = MemoryCases(clock)
        self.notices = MemoryNotices(store, clock, self.people)

    async def asking(self, tenant: str, after: tuple[int, UUID] | None, limit: int) -> list[Asking]:
        found = []
        for run in self._unended(tenant):
            ends = [item.until or NEVER for item in _questions(run)]
            if ends and (after is None or (min(ends), run.new.id) > after):
                found.append(Asking(min(ends), run.row()))
        found.sort(key=lambda item: (item.ends, item.row.id))
        return found[: min(limit, PAGE_MAX)]

    async def asked_by(self, tenant: str, approval: str) -> RunRow | None:
        for run in self._unended(tenant):
            if any(item.id == approval for item in _questions(run)):
                return run.row()
        return None

    async def decide(self, post: Post, decided: Decided) -> Verdict:
        run = self._store.runs.get((post.tenant, post.run))
        now = self._clock.now_us()
        is_gone = run is None or run.status is Status.ENDED
        if run is not None and not is_gone and run.receive(Letter(post.dedup, post.kind, post.body, now)):
            kept = self._remember(decided, now)
            self._tell()
            return Verdict(True, kept.decision, kept.actor, kept.at)
        before = self._decisions.get((post.tenant, decided.approval))
        if before is not None and before.run == post.run:
            return Verdict(False, before.decision, before.actor, before.at)
        if run is None or is_gone:
            raise RunUnknown(f"there is no run {post.run} for tenant {post.tenant!r}, or it has ended")
        letter = run.inbox[post.dedup]
        said = msgspec.json.decode(letter.body)
        return Verdict(False, said.get("decision", ""), said.get("actor", ""), letter.at)

    async def vote(
        self, post: Post, decided: Decided, vote: Vote, letter: Post, needed: int, void: Sequence[str] = ()
    ) -> Ballot:
        now = self._clock.now_us()
        holder = self.cases.holder(post.tenant, post.run)
        key = post.tenant, decided.approval
        kept = self._votes.get(key, [])
        if holder not in ("", decided.actor):
            return Ballot("held", tuple(kept), holder=holder)
        run = self._store.runs.get((post.tenant, post.run))
        if needed > 1 and run is not None and run.status is not Status.ENDED and post.dedup not in run.inbox:
            kept = self._votes[key] = [item for item in kept if item.voter.actor not in void]
            if any(set(item.people) & set(vote.people) for item in kept):
                return Ballot("twice", tuple(kept))
            run.receive(Letter(letter.dedup, letter.kind, letter.body, now))
            self._tell()
            kept.append(replace(vote, at=now))
            if len(kept) < needed:
                return Ballot("kept", tuple(kept))
        verdict = await self.decide(post, decided)
        return Ballot("counts" if verdict.counts else "late", tuple(kept), verdict)

    async def tidy(self, keep_seconds: float, limit: int) -> int:
        def over(tenant: str, run: UUID) -> Run | bool:
            """True when there is no such run, or it has ended; then the run."""
            known = self._store.runs.get((tenant, run))
            return True if known is None else known.status is Status.ENDED and known

        votes = [key for key, kept in self._votes.items() if not kept or over(key[0], kept[0].run)][:limit]
        for key in votes:
            del self._votes[key]
        before = self._clock.now_us() - int(keep_seconds * 1e6)
        return len(votes) + self.cases.tidy(over, before, limit) + self.people.tidy(before, limit)

    async def votes(self, tenant: str, approvals: Sequence[str]) -> dict[str, list[Vote]]:
        found = {approval: self._votes.get((tenant, approval), []) for approval in approvals}
        return {approval: list(votes) for approval, votes in found.items() if votes}

    async def expired(self, decided: Decided) -> None:
        self._remember(decided, self._clock.now_us())

    async def decided(self, tenant: str, approval: str) -> Decided | None:
        return self._decisions.get((tenant, approval))

    async def like(self, tenant: str, agent: str, tool: str, question: str, limit: int) -> list[Decided]:
        return self._like((tenant, agent, tool, question))[: min(limit, DECISIONS_KEPT)]

    def _like(self, key: tuple[str, str, str, str]) -> list[Decided]:
        found = [item for item in self._decisions.values() if _key(item) == key]
        return sorted(found, key=lambda item: item.at, reverse=True)

    def _remember(self, decided: Decided, now: int) -> Decided:
        """What is remembered of the question; the first that is said of it."""
        known = self._decisions.get((decided.tenant, decided.approval))
        if known is not None:
            return known
        kept = self._decisions[decided.tenant, decided.approval] = replace(decided, at=now)
        self._store.when_decided(kept)
        self._forget_old(decided)
        return kept

    def _forget_old(self, decided: Decided) -> None:
        for item in self._like(_key(decided))[DECISIONS_KEPT:]:
            del self._decisions[item.tenant, item.approval]

    def _unended(self, tenant: str) -> list[Run]:
        runs = self._store.runs.values()
        return [run for run in runs if run.new.tenant == tenant and run.status is not Status.ENDED]


def _key(decided: Decided) -> tuple[str, str, str, str]:
    return decided.tenant, decided.agent, decided.tool, decided.question


def _questions(run: Run) -> list[Waiting]:
    waiting = msgspec.json.decode(run.waiting, type=list[Waiting])
    return [item for item in waiting if item.kind in ("approval", "doubt") and item.id]
