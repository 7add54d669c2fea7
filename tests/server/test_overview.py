"""The overview over HTTP: how things stand, what needs a person, read once for all."""

import asyncio
from typing import Any

from tests.server.conftest import Api
from tests.server.desk import broken, echo
from tests.server.test_trace import asked

from penstock.ports.overview import Standing
from penstock.server.schemas.overview import Overview
from penstock.views.overview import Overviews


async def overview(api: Api, key: str = "viewer") -> Overview:
    response = await api.get("/v1/overview", key)
    assert response.status_code == 200, response.text
    return Overview.model_validate_json(response.content)


async def test_how_things_stand(api: Api) -> None:
    await how_things_stand(api)


async def test_how_things_stand_on_postgres(api_on_postgres: Api) -> None:
    await how_things_stand(api_on_postgres)


async def how_things_stand(api: Api) -> None:
    """A run that waits for a person, one that succeeded, one that failed."""
    run = await asked(api)
    await api.platform.run(echo, 1)
    failed = await api.platform.submit(broken, 1)
    assert (await api.platform.result(failed)).outcome == "failed"
    shown = await overview(api)
    assert (shown.parked, shown.running, shown.queued, shown.quarantined) == (1, 0, 0, 0)
    assert (shown.ended_last_hour, shown.failed_last_hour) == (2, 1)
    assert len(shown.per_minute) == 60
    assert sum(sum(minute.counts.values()) for minute in shown.per_minute) == 2
    [cause] = shown.causes
    assert (cause.code, cause.count, cause.agents, cause.example) == ("agent_raised", 1, ["broken"], failed)
    assert "no answer" in cause.words
    [need] = shown.needs
    assert (need.kind, need.count, need.link) == ("approval", 1, "/approvals")
    assert 0 < need.since <= shown.as_of
    assert [worker.name for worker in shown.workers] == ["of-tests"]
    assert shown.spent_today.nano == (await api.journal.get_run("default", run)).summary.nano > 0  # type: ignore[union-attr]
    assert shown.quiet_since is None
    strange = await overview(api, "stranger")
    assert (strange.parked, strange.ended_last_hour, strange.causes, strange.needs) == (0, 0, [], [])
    assert strange.spent_today.nano == 0
    assert strange.quiet_since is not None


class Counted:
    """A journal whose overview is counted, and waits."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.reads = 0
        self.begun = asyncio.Event()
        self.go = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    @property
    def overview(self) -> "Counted":
        return self

    async def standing(self, tenant: str) -> Standing:
        self.reads += 1
        self.begun.set()
        await self.go.wait()
        standing: Standing = await self._inner.overview.standing(tenant)
        return standing


class StillClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.ns = 0

    def boot_ns(self) -> int:
        return self.ns

    def now_us(self) -> int:
        return self.ns // 1000

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nobody sleeps here")


async def test_it_is_read_once_for_all_who_ask_at_a_time(api: Api) -> None:
    journal, clock = Counted(api.journal), StillClock()
    overviews = Overviews(journal, clock)
    asking = [asyncio.create_task(overviews.get("default")) for _ in range(20)]
    await journal.begun.wait()
    asking[0].cancel()
    clock.ns = 500_000_000  # it took half a second: it is kept for ten
    journal.go.set()
    first, *others = await asyncio.gather(*asking[1:])
    assert all(other is first for other in others)
    assert journal.reads == 1
    clock.ns += 9_900_000_000
    assert await overviews.get("default") is first
    clock.ns += 200_000_000
    assert await overviews.get("default") is not first
    assert journal.reads == 2
    await overviews.get("other")
    assert journal.reads == 3, "each tenant has its own"
