"""Tokens and what they stand for, on PostgreSQL: kept with the subject's payloads, and gone with them."""

import asyncpg

from penstock import Filters, Run, Settings, agent, tool
from penstock.wiring import open_penstock

MAIL = "ada@acme.example"
sent: list[str] = []


@tool(effect="read")
async def look() -> str:
    """Looks."""
    return MAIL


@tool(effect="write", permission="auto", in_doubt="idempotent", reveals=["to"], repeatable=True)
async def send(to: str) -> str:
    """Sends."""
    sent.append(to)
    return "sent"


@agent("sender", version="1", filters=Filters(results={"email": "tokenise"}))
async def sender(run: Run, token: str) -> str:
    return str(await run.call(send, token)) if token else str(await run.call(look))


@agent("writer", version="1", filters=Filters(input={"email": "tokenise", "card": "redact"}))
async def writer(run: Run, value: dict[str, str]) -> str:
    return str(await run.call(send, value["to"]))


async def test_an_input_is_stored_as_the_run_may_have_it(journal_dsn: str) -> None:
    sent.clear()
    settings = Settings(database_url=journal_dsn, poll_seconds=0.05)
    async with open_penstock(settings, agents=[writer], worker="input-filters") as platform:
        run = await platform.submit(writer, {"to": MAIL, "by": "4111 1111 1111 1111"}, subject="eve", key="once")
        assert (
            await platform.submit(writer, {"to": MAIL, "by": "4111 1111 1111 1111"}, subject="eve", key="once") == run
        )
        assert (await platform.result(run, timeout_seconds=30)).ok
        assert sent == [MAIL]
        connection = await asyncpg.connect(journal_dsn)
        try:
            stored = await connection.fetch("SELECT data FROM penstock.payloads WHERE subject = 'eve'")
            assert stored
            whole = b"".join(row["data"] for row in stored)
            assert b"tok_email_" in whole
            assert b"[card]" in whole
            assert MAIL.encode() not in whole
            assert b"4111 1111" not in whole
        finally:
            await connection.close()


async def test_a_token_of_one_run_is_used_by_another_and_not_after_the_erasure(journal_dsn: str) -> None:
    sent.clear()
    settings = Settings(database_url=journal_dsn, poll_seconds=0.05)
    async with open_penstock(settings, agents=[sender], worker="filters") as platform:

        async def go(token: str) -> tuple[bool, str]:
            result = await platform.result(await platform.submit(sender, token, subject="ada"), timeout_seconds=30)
            return result.ok, str(result.output if result.ok else result.reason)

        ok, token = await go("")
        assert ok
        assert token.startswith("tok_email_")
        assert await go(token) == (True, "sent")
        assert sent == [MAIL]
        connection = await asyncpg.connect(journal_dsn)
        try:
            stored = await connection.fetch("SELECT data FROM penstock.payloads WHERE subject = 'ada'")
            assert stored
            assert not any(MAIL.encode() in row["data"] for row in stored)
            await platform.journal.erase_subject(platform.tenant, "ada")
            assert await connection.fetchval("SELECT count(*) FROM penstock.payloads WHERE subject = 'ada'") == 0
        finally:
            await connection.close()
        ok, words = await go(token)
        assert not ok
        assert "tok_email_" in words
        assert sent == [MAIL]
