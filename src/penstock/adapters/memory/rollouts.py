"""Managed releases for one process: the decisions of the functions of migration 0028, step for step."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from penstock.adapters.memory.documents import MemoryDocuments
from penstock.adapters.memory.records import Run, Store
from penstock.kernel.clock import Clock
from penstock.kernel.errors import InputInvalid
from penstock.kernel.ids import first_id_at
from penstock.ports.records import Status
from penstock.ports.rollouts import (
    IDLE_SECONDS,
    OFFERED_MAX,
    PAGE_MAX,
    RELEASES_MAX,
    ROUTES_MAX,
    TALLIED_MAX,
    TOOLS_MAX,
    Accepted,
    Back,
    BackAnswer,
    Boundary,
    Move,
    Refusal,
    Release,
    Route,
    SignedStatement,
    Step,
    Tally,
    View,
)

_Key = tuple[str, str]


@dataclass(slots=True, frozen=True)
class _Restored:
    made: int
    release: str


class MemoryRollouts:
    """Implements `penstock.ports.rollouts.Rollouts` on the journal's own store and documents."""

    def __init__(self, store: Store, clock: Clock, documents: MemoryDocuments) -> None:
        self._store = store
        self._clock = clock
        self._documents = documents
        self._version = 0
        self._releases: dict[_Key, Release] = {}
        self._idle: set[_Key] = set()
        self._steps: dict[_Key, list[Step]] = {}
        self._routes: dict[_Key, Route] = {}
        self._statements: dict[_Key, dict[int, SignedStatement]] = {}
        self._accepted: dict[tuple[str, str, str], Accepted] = {}
        self._refusals: dict[str, tuple[Refusal, ...]] = {}
        self._restored: dict[tuple[str, str, str], _Restored] = {}

    async def add(self, release: Release, reason: str) -> bool:
        key, now = (release.tenant, release.id), self._clock.now_us()
        if key in self._releases:
            return False
        kept = sum((known.tenant, known.agent) == (release.tenant, release.agent) for known in self._releases.values())
        if kept >= RELEASES_MAX:
            raise InputInvalid(f"{release.agent} has {RELEASES_MAX:,} releases already, the most that are kept")
        self._releases[key] = replace(release, state="draft", share=0, approved_by="", drafted_at=now, at=now)
        self._steps[key] = [Step(release.id, 1, now, "draft", 0, release.author, reason)]
        return True

    async def get(self, tenant: str, release: str) -> Release | None:
        return self._releases.get((tenant, release))

    async def find(self, tenant: str, beginning: str, limit: int) -> list[str]:
        found = sorted(id_ for of, id_ in self._releases if of == tenant and id_.startswith(beginning))
        return found[: min(limit, PAGE_MAX)]

    async def page(self, tenant: str, agent: str | None, before: tuple[int, str] | None, limit: int) -> list[Release]:
        found = [
            known
            for known in self._releases.values()
            if known.tenant == tenant
            and agent in (None, known.agent)
            and (before is None or (known.drafted_at, known.id) < before)
        ]
        found.sort(key=lambda known: (known.drafted_at, known.id), reverse=True)
        return found[: min(limit, PAGE_MAX)]

    async def steps(self, tenant: str, release: str) -> list[Step]:
        return self._steps.get((tenant, release), [])[:PAGE_MAX]

    async def route(self, tenant: str, agent: str) -> Route:
        return self._routes.get((tenant, agent), Route(tenant, agent))

    async def change(
        self, route: Route, moves: Sequence[Move], signed: SignedStatement | None = None, before: int | None = None
    ) -> bool:
        place, now = (route.tenant, route.agent), self._clock.now_us()
        if (await self.route(*place)).number != (route.number - 1 if before is None else before):
            return False
        if signed is not None and max(self._statements.get(place, ()), default=0) >= signed.number:
            return False
        for move in moves:
            known = self._releases.get((route.tenant, move.release))
            if known is None or known.agent != route.agent or known.state != move.before:
                return False
        for move in moves:
            key = route.tenant, move.release
            known = self._releases[key]
            by = known.approved_by if move.approved_by is None else move.approved_by
            self._releases[key] = replace(known, state=move.state, share=move.share, approved_by=by, at=now)
            self._idle.discard(key)
            steps = self._steps[key]
            steps.append(Step(move.release, len(steps) + 1, now, move.state, move.share, move.actor, move.reason))
        self._routes[place] = route
        if signed is not None:
            self._statements.setdefault(place, {})[signed.number] = signed
        self._version += 1
        return True

    async def statements(self, tenant: str, agent: str, after: int, limit: int) -> list[SignedStatement]:
        kept = self._statements.get((tenant, agent), {})
        return [kept[number] for number in sorted(kept) if number > after][: min(limit, PAGE_MAX)]

    async def head(self, tenant: str, agent: str) -> tuple[Route, int]:
        return await self.route(tenant, agent), max(self._statements.get((tenant, agent), ()), default=0)

    async def version(self) -> int:
        return self._version

    async def view(self) -> View:
        previous = {(route.tenant, route.previous) for route in self._routes.values()}
        offered = [
            known
            for key, known in self._releases.items()
            if (known.state in ("canary", "live", "retired", "rolled_back") and key not in self._idle)
            or key in previous
        ]
        offered.sort(key=lambda known: (known.state not in ("canary", "live"), -known.at, known.id))
        heads = {key: max(kept) for key, kept in self._statements.items() if kept}
        routes = [await self.route(*key) for key in sorted({*self._routes, *heads})]
        accepted = [self._accepted[key] for key in sorted(self._accepted)]
        return View(
            self._version,
            tuple(routes[:ROUTES_MAX]),
            tuple(offered[:OFFERED_MAX]),
            tuple(accepted[:TOOLS_MAX]),
            heads,
        )

    async def sweep(self) -> int:
        before = self._clock.now_us() - int(IDLE_SECONDS * 1e6)
        open_ = {(run.new.tenant, run.release) for run in self._store.runs.values() if run.status is not Status.ENDED}
        swept = {
            key
            for key, known in self._releases.items()
            if known.state in ("retired", "rolled_back") and known.at < before and key not in open_
        } - self._idle
        if swept:
            self._idle |= swept
            self._version += 1
        return len(swept)

    async def accept(self, accepted: Accepted) -> None:
        key = accepted.tenant, accepted.tool, accepted.digest
        known = self._accepted.get(key)
        if known is not None and not accepted.signature:
            return
        if known is None and len(self._accepted) >= TOOLS_MAX:
            raise InputInvalid(f"{TOOLS_MAX:,} changed tools are accepted already, which is the most that are kept")
        self._accepted[key] = replace(accepted, at=accepted.at or self._clock.now_us())
        self._version += 1

    async def refuse(self, worker: str, refusals: Sequence[Refusal]) -> None:
        now = self._clock.now_us()
        self._refusals[worker] = tuple(replace(refusal, worker=worker, at=now) for refusal in refusals)

    async def refusals(self, release: str, limit: int) -> list[Refusal]:
        now = self._clock.now_us()
        live = {worker.name for worker in self._store.workers.values() if worker.lease_until > now}
        found = [
            refusal
            for worker, refusals in sorted(self._refusals.items())
            for refusal in refusals
            if worker in live and refusal.release == release
        ]
        return found[: min(limit, PAGE_MAX)]

    async def tallies(self, tenant: str, agent: str, since: int, limit: int) -> list[Tally]:
        begin, most = first_id_at(since), min(limit, TALLIED_MAX)
        runs = [
            run
            for run in self._store.runs.values()
            if (run.new.tenant, run.new.agent) == (tenant, agent) and run.new.id >= begin and run.pruned_at is None
        ]
        runs.sort(key=lambda run: run.new.id, reverse=True)
        groups: dict[tuple[str, str], list[Run]] = {}
        for ended in (True, False):
            for run in [run for run in runs if (run.status is Status.ENDED) is ended][:most]:
                groups.setdefault((run.release, (run.outcome or "") if ended else ""), []).append(run)
        return [_tally(release, outcome, groups[release, outcome]) for release, outcome in sorted(groups)]

    async def written(self, tenant: str, release: str, after: tuple[str, str] | None, limit: int) -> list[Boundary]:
        found = []
        for (of, kind, name), entry in self._documents.entries():
            if of != tenant or kind == "shared" or (after is not None and (kind, name) <= after):
                continue
            restored = self._restored.get((of, kind, name))
            since = restored.made if restored is not None else 0
            by = {
                number: self._store.runs[tenant, version.run].release
                for number, version in entry.versions.items()
                if version.run is not None and (tenant, version.run) in self._store.runs
            }
            first = min((number for number, made_by in by.items() if made_by == release and number > since), default=0)
            if first:
                others = sum(number > first and by.get(number) != release for number in entry.versions)
                assert kind != "shared"
                found.append(Boundary(kind, name, first, entry.latest, others, entry.pruned_to))  # type: ignore[arg-type]
        found.sort(key=lambda boundary: (boundary.kind, boundary.name))
        return found[: min(limit, PAGE_MAX)]

    async def go_back(self, back: Back, keep: int) -> tuple[BackAnswer, int]:
        known = await self._documents.get(back.tenant, back.kind, back.name)
        latest = known.latest.version if known is not None else 0
        if latest != back.expected or known is None:
            return "changed", latest
        subject = known.latest.content.subject if known.latest.content is not None else ""
        old = await self._documents.version(back.tenant, back.kind, back.name, back.version) if back.version else None
        if back.version and (old is None or (old.content is None and not old.erased)):
            return "gone", latest
        content = old.content if old is not None else replace(back.empty, subject=subject)
        made = self._documents.put_back(back.tenant, back.kind, back.name, content, keep, back.actor)
        self._restored[back.tenant, back.kind, back.name] = _Restored(made, back.release)
        return "restored", made


def _tally(release: str, outcome: str, runs: Sequence[Run]) -> Tally:
    took = sorted(run.ended_at - run.created_at for run in runs if run.ended_at is not None)
    used = [run.summary for run in runs]
    return Tally(
        release,
        outcome,
        len(runs),
        sum(summary.nano for summary in used),
        sum(summary.tokens for summary in used),
        sum(summary.steps for summary in used),
        sum(summary.tool_calls for summary in used),
        took[(len(took) - 1) // 2] if took else 0,
    )
