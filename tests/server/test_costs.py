"""Costs over HTTP and on the command line's terms: by dimension, over time, as a table."""

import asyncio
import csv
import io

import pytest
from tests.server.conftest import Api, served
from tests.server.test_trace import asked

from penstock.adapters.memory import MemoryJournal
from penstock.server.schemas.overview import Costs
from penstock.views.costs import CostRow, Spending, costs_csv, read_costs


async def settled(api: Api) -> None:
    """Until all that has ended is counted."""
    async with asyncio.timeout(20):
        while await api.journal.usage.behind(1):
            await asyncio.sleep(0.02)


async def test_what_was_spent(api: Api) -> None:
    await what_was_spent(api)


async def test_what_was_spent_on_postgres(api_on_postgres: Api) -> None:
    await what_was_spent(api_on_postgres)


async def what_was_spent(api: Api) -> None:
    """Before and after the run ends, by several dimensions."""
    run = await asked(api)
    response = await api.get("/v1/costs?by=customer", "viewer")
    before = Costs.model_validate_json(response.content)
    row = await api.journal.get_run("default", run)
    assert row is not None
    spent = row.summary.nano
    assert [(item.value, item.used.nano, item.runs) for item in before.rows] == [("acme", spent, 1)]
    assert before.live_nano == spent
    [question] = await api.platform.approvals()
    await api.platform.decide(question, "approve", actor="ben")
    result = await api.platform.result(run)
    await settled(api)
    after = Costs.model_validate_json((await api.get("/v1/costs?by=model&agent=desk", "viewer")).content)
    assert {item.value: item.used.nano for item in after.rows if item.used.nano} == {
        "scripted:model": result.totals.nano
    }
    assert (after.total.nano, after.live_nano) == (result.totals.nano, 0)
    assert after.rows[0].dearest == run
    nothing = Costs.model_validate_json((await api.get("/v1/costs?agent=other", "viewer")).content)
    assert (nothing.rows, nothing.total.nano) == ([], 0)
    foreign = Costs.model_validate_json((await api.get("/v1/costs", "stranger")).content)
    assert (foreign.rows, foreign.total.nano, foreign.total_runs) == ([], 0, 0)
    table = await api.get("/v1/costs.csv?by=customer", "viewer")
    assert table.headers["content-type"].startswith("text/csv")
    assert "attachment" in table.headers["content-disposition"]
    [line] = list(csv.DictReader(io.StringIO(table.text)))
    assert (line["customer"], int(line["nano_usd"]), line["dearest_run"]) == ("acme", result.totals.nano, str(run))


@pytest.mark.parametrize("asked_for", ["by=person", "since=-1", "since=9007199254740992", "color=red", "agent=%00"])
async def test_what_cannot_be_asked(api: Api, asked_for: str) -> None:
    for place in ("costs", "costs.csv"):
        response = await api.get(f"/v1/{place}?{asked_for}", "viewer")
        assert response.status_code == 422, response.text
        assert response.headers["content-type"] == "application/problem+json"


async def test_a_server_without_a_worker_counts_too() -> None:
    journal = MemoryJournal()
    async with served(journal) as api:
        run = await asked(api)
        [question] = await api.platform.approvals()
        await api.platform.decide(question, "approve", actor="ben")
        await api.platform.result(run)
    async with served(journal, worker=False, usage_every_seconds=0.05) as alone:
        await settled(alone)
        costs = await read_costs(journal, "default", "agent")
        assert (costs.total_runs, costs.live_nano) == (1, 0)


def test_a_table_is_no_program_for_a_spreadsheet() -> None:
    from dataclasses import replace

    base = CostRow('=HYPERLINK("http://x")', Spending(1, 2, 3, 0), 1, 1, 0, None)
    rows = [base, replace(base, value='a,b\n"c"'), replace(base, value="-1+2")]
    from penstock.views.costs import Costs as View

    total = Spending(3, 6, 9, 0)
    text = costs_csv(View(0, 1, 1, "customer", rows, Spending(), total, 3, 1, [], 0))
    parsed = list(csv.reader(io.StringIO(text)))
    assert [line[0] for line in parsed] == ["customer", '\'=HYPERLINK("http://x")', 'a,b\n"c"', "'-1+2"]
