"""The gateway on PostgreSQL."""

import asyncio
from typing import Any

import openai
import pytest
from tests.gateway.world import TENANT, world

from penstock.adapters.postgres.appending import BEGIN_RUN
from penstock.adapters.postgres.journal import open_journal
from penstock.journal.chain import verify


async def test_one_commit_makes_the_run_and_its_intent(journal_dsn: str) -> None:
    journal = await open_journal(journal_dsn)
    async with world(journal) as it, openai.AsyncOpenAI(base_url=f"{it.url}/openai/v1", api_key=it.key) as client:

        async def one(number: int) -> str:
            said: Any = [{"role": "user", "content": f"hello {number} [[tokens=3]]"}]
            answer = await client.chat.completions.create(model="gpt-4o-mini", messages=said)
            return answer.choices[0].message.content or ""

        assert set(await asyncio.gather(*map(one, range(40)))) == {"word word word "}
        rows = await it.ended(40)
        assert sum(row.summary.nano for row in rows) == it.provider.nano
        for row in rows:
            tape = await journal.tape(TENANT, row.id)
            verify(TENANT, row.id, tape, row.head, row.last_seq)
            assert len(tape) == 5
            assert row.epoch == 1
        # The run, its claim and its intent in one commit; its outcome and its end in another.
        async with journal.connection() as connection:
            commits = await connection.fetch(
                "SELECT run_id, array_agg(xmin::text ORDER BY seq) FROM penstock.events GROUP BY run_id"
            )
        assert len(commits) == 40
        for _, [submitted, *middle, outcome, end] in commits:
            assert {submitted, *middle} == {submitted}
            assert outcome == end != submitted


async def test_a_call_alone_waits_for_one_statement(journal_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = await open_journal(journal_dsn)
    async with world(journal) as it, openai.AsyncOpenAI(base_url=f"{it.url}/openai/v1", api_key=it.key) as client:
        said: Any = [{"role": "user", "content": "hello [[tokens=3]]"}]
        await client.chat.completions.create(model="gpt-4o-mini", messages=said)
        await it.ended(1)
        sent: list[tuple[str, int]] = []
        fetch = journal._database.fetch

        async def watched(query: str, *args: object) -> list[Any]:
            if query == BEGIN_RUN or "penstock.append" in query:
                sent.append(("begins" if query == BEGIN_RUN else "ends", len(it.provider.requests)))
            return await fetch(query, *args)

        monkeypatch.setattr(journal._database, "fetch", watched)
        for number in range(2, 5):
            await client.chat.completions.create(model="gpt-4o-mini", messages=said)
            await it.ended(number)
        # Each in one statement before the provider is asked, and in one after.
        assert sent == [(kind, asked) for call in (1, 2, 3) for kind, asked in (("begins", call), ("ends", call + 1))]
