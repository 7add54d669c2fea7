"""Submissions at the same time share commits, and nothing else: each gets its own answer."""

import asyncio
from typing import Any

import pytest
from tests.server.conftest import Api, served

from penstock.adapters.memory import MemoryJournal
from penstock.kernel.errors import JournalUnavailable


async def send(api: Api, body: dict[str, Any], key: str = "", as_: str = "operator") -> Any:
    """The answer to one submission."""
    headers = {"Idempotency-Key": key} if key else {}
    return await api.post("/v1/runs", as_, json={"agent": "echo", **body}, headers=headers)


def counted(api: Api, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many runs each call of the journal stores, from here on."""
    sizes: list[int] = []
    submit = api.journal.submit

    async def counting(runs: Any, payloads: Any = ()) -> Any:
        sizes.append(len(runs))
        return await submit(runs, payloads)

    monkeypatch.setattr(api.journal, "submit", counting)
    return sizes


async def test_many_at_once_are_stored_together_and_each_is_told_its_own(
    api_on_postgres: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = api_on_postgres
    sizes = counted(api, monkeypatch)
    answers = await asyncio.gather(
        *(send(api, {"input": number, "tags": {"x_n": str(number)}}) for number in range(40))
    )
    assert [answer.status_code for answer in answers] == [202] * 40
    assert sum(sizes) == 40
    assert len(sizes) < 20
    for number, answer in enumerate(answers):
        run = (await api.get(answer.json()["location"])).json()
        assert run["tags"] == {"x_n": str(number)}


async def test_one_that_is_refused_takes_nobody_along(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    await send(api, {"input": "first"}, key="used")
    counted(api, monkeypatch)
    good = [send(api, {"input": number}) for number in range(10)]
    bad = [send(api, {"input": 1, "tags": {"nonsense": "x"}}), send(api, {"input": "other"}, key="used")]
    strange = [send(api, {"input": "other"}, key="used", as_="stranger")]
    answers = await asyncio.gather(*good[:5], *bad, *strange, *good[5:])
    statuses = [answer.status_code for answer in answers]
    assert statuses == [202] * 5 + [422, 409] + [202] + [202] * 5
    assert answers[6].json()["code"] == "idempotency_conflict"
    items = (await api.get("/v1/runs", params={"limit": 100})).json()["items"]
    assert len(items) == 11, "none was made twice"


async def test_where_only_some_have_room_those_come_in() -> None:
    async with served(MemoryJournal(), worker=False, queue_max_per_agent=3, queue_max_per_customer=3) as api:
        answers = await asyncio.gather(*(send(api, {"input": number}) for number in range(6)))
        assert sorted(answer.status_code for answer in answers) == [202] * 3 + [429] * 3
        assert len((await api.get("/v1/runs")).json()["items"]) == 3


async def test_a_lost_answer_of_the_journal_is_not_followed_by_a_second_run(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit = api.journal.submit

    async def losing(runs: Any, payloads: Any = ()) -> Any:
        await submit(runs, payloads)
        raise JournalUnavailable("the answer was lost")

    monkeypatch.setattr(api.journal, "submit", losing)
    answers = await asyncio.gather(*(send(api, {"input": number}) for number in range(4)))
    assert [answer.status_code for answer in answers] == [503] * 4
    assert len((await api.get("/v1/runs")).json()["items"]) == 4, "each was made once"
