"""Submitting: what becomes of a request, and what is refused before anything is stored."""

from typing import Any

import pytest

from penstock import Budget, Run, Settings, agent
from penstock.adapters.memory import MemoryJournal
from penstock.events import RunSubmitted, decode
from penstock.journal.chain import verify
from penstock.journal.payloads import address, ref_address
from penstock.kernel.clock import SystemClock
from penstock.kernel.errors import (
    BudgetInvalid,
    IdempotencyConflict,
    InputInvalid,
    InputTooLarge,
    PenstockError,
    TagInvalid,
)
from penstock.ports.records import RunFilter
from penstock.runs.submit import Request, submit

SETTINGS = Settings(tenant="acme", environment="staging", input_max_bytes=1024, tags_max=3, tag_value_max_chars=10)


@agent("echo", budget=Budget(steps=5), version="1")
async def echo(run: Run, value: Any) -> Any:
    return value


async def send(journal: MemoryJournal, *requests: Request) -> list[Any]:
    return await submit(journal, SystemClock(), SETTINGS, list(requests))


async def first_event(journal: MemoryJournal, run: Any, tenant: str = "acme") -> RunSubmitted:
    event = decode((await journal.tape(tenant, run))[0].body)
    assert isinstance(event, RunSubmitted)
    return event


async def test_a_request_becomes_a_queued_run_with_its_first_event() -> None:
    journal = MemoryJournal()
    tags = {"customer": "c-1", "x_team": "blue"}
    request = Request(echo, {"a": 1}, tags=tags, priority=3, deadline=99, behalf="ann", actor="bob", session="s")
    [run] = await send(journal, request)
    row = await journal.get_run("acme", run)
    event = await first_event(journal, run)
    assert row is not None
    assert (row.status, row.agent, row.release, row.env) == ("queued", "echo", echo.release, "staging")
    assert (row.priority, row.deadline, row.session, row.tags, row.root) == (3, 99, "s", tags, run)
    assert (event.tenant, event.run, event.seq, event.epoch, event.env) == ("acme", run, 1, 0, "staging")
    assert (event.actor, event.behalf, event.tags, event.budget.steps) == ("bob", "ann", tags, 5)
    verify("acme", run, await journal.tape("acme", run), row.head, row.last_seq)


async def test_the_input_is_a_payload_and_stands_in_no_event() -> None:
    journal = MemoryJournal()
    [run] = await send(journal, Request(echo, "something private"))
    [stored] = await journal.tape("acme", run)
    assert b"private" not in stored.body
    key = await journal.subject_key("acme", str(run))
    assert key is not None
    [ref] = (await first_event(journal, run)).payloads["input"]
    assert ref_address(ref) == address(key, b'"something private"')


async def test_runs_of_one_person_share_a_subject_and_its_key() -> None:
    journal = MemoryJournal()
    one, two = await send(journal, Request(echo, 1, subject="ann"), Request(echo, 1, subject="ann"))
    refs = {(await first_event(journal, run)).payloads["input"][0] for run in (one, two)}
    assert len(refs) == 1
    assert (await first_event(journal, one)).subject == "ann"


async def test_the_same_key_and_request_give_the_same_run() -> None:
    journal = MemoryJournal()
    [one] = await send(journal, Request(echo, {"a": 1, "b": 2}, key="k"))
    assert await send(journal, Request(echo, {"b": 2, "a": 1}, key="k"), Request(echo, {"a": 1, "b": 2}, key="k")) == [
        one,
        one,
    ]
    assert len(await journal.list_runs("acme", RunFilter(), 10)) == 1
    with pytest.raises(IdempotencyConflict) as caught:
        await send(journal, Request(echo, {"a": 2}, key="k"))
    assert caught.value.fields["run"] == one
    assert await send(journal, Request(echo, {"a": 2}, key="k", tenant="zeta")) != [one]


async def test_a_budget_of_the_request_comes_before_the_agents() -> None:
    journal = MemoryJournal()
    [run] = await send(journal, Request(echo, 1, budget=Budget(usd="0.5")))
    budget = (await first_event(journal, run)).budget
    assert (budget.nano, budget.steps) == (500_000_000, 0)


@pytest.mark.parametrize(
    ("how", "error", "words"),
    [
        ({"value": "x" * 1023}, InputTooLarge, "PENSTOCK_INPUT_MAX_BYTES"),
        ({"value": "a\x00"}, InputInvalid, "NUL"),
        ({"value": [float("nan")]}, InputInvalid, "NaN|nan|null"),
        ({"value": 2**60}, InputInvalid, "2\\*\\*53"),
        ({"tags": {"costumer": "c"}}, TagInvalid, "costumer"),
        ({"tags": {"x_": "c"}}, TagInvalid, "x_"),
        ({"tags": {"X_team": "c"}}, TagInvalid, "X_team"),
        ({"tags": {"customer": ""}}, TagInvalid, "customer"),
        ({"tags": {"customer": "c" * 11}}, TagInvalid, "10 characters"),
        ({"tags": {"customer": 3}}, TagInvalid, "customer"),
        ({"tags": {f"x_{name}": "v" for name in "abcd"}}, TagInvalid, "4 tags"),
        ({"tags": {"customer": "a\nb"}}, InputInvalid, "control characters"),
        ({"budget": Budget(steps=-1)}, BudgetInvalid, "steps"),
        ({"budget": Budget(depth=99)}, BudgetInvalid, "PENSTOCK_DEPTH_MAX"),
    ],
    ids=str,
)
async def test_what_is_not_acceptable_is_refused_and_nothing_is_stored(
    how: dict[str, Any], error: type[PenstockError], words: str
) -> None:
    journal = MemoryJournal()
    with pytest.raises(error, match=words):
        await send(journal, Request(echo, 1), Request(echo, **{"value": 1, **how}))
    assert await journal.list_runs("acme", RunFilter(), 10) == []
