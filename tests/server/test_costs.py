"""Costs over HTTP and on the command line's terms: by dimension, over time, as a table."""

import asyncio
import csv
import io
from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from tests.server.conftest import Api, served
from tests.server.desk import desk
from tests.server.test_trace import asked, parked

from penstock.adapters.memory import MemoryJournal
from penstock.ports.model import Price
from penstock.server.schemas.costs import CostExplained, Costs, Rerates
from penstock.views.costs import CostRow, Spending, costs_csv, read_costs
from penstock.views.rerating import rerate


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
    text = costs_csv(View(0, 1, 1, ("customer",), rows, Spending(), total, 3, 1, [], 0))
    parsed = list(csv.reader(io.StringIO(text)))
    assert [line[0] for line in parsed] == ["customer", '\'=HYPERLINK("http://x")', 'a,b\n"c"', "'-1+2"]


@pytest.fixture
async def quick() -> AsyncIterator[Api]:
    """A server that counts at once."""
    async with served(MemoryJournal(), usage_every_seconds=0.05) as api:
        yield api


async def worked(api: Api, customer: str = "acme", **tags: str) -> UUID:
    """A run that has ended and is counted."""
    run = await api.platform.submit(desk, "charged twice", tags={"customer": customer, **tags})
    await parked(api, run)
    [question] = await api.platform.approvals()
    await api.platform.decide(question, "approve", actor="ben")
    await api.platform.result(run)
    await settled(api)
    return run


async def test_several_dimensions_and_what_was_paid_for(quick: Api) -> None:
    api = quick
    run = await asked(api)
    [question] = await api.platform.approvals()
    await api.platform.decide(question, "approve", actor="ben")
    result = await api.platform.result(run)
    await settled(api)
    found = Costs.model_validate_json((await api.get("/v1/costs?by=customer,kind,model", "viewer")).content)
    assert (found.by, found.dimensions) == ("customer,kind,model", ["customer", "kind", "model"])
    assert {tuple(row.values): row.used.nano for row in found.rows if row.used.nano} == {
        ("acme", "work", "scripted:model"): result.totals.nano
    }
    assert found.rows[0].value == "acme"
    only = Costs.model_validate_json((await api.get("/v1/costs?by=agent&kind=retry&tag=x_region=eu", "viewer")).content)
    assert (only.rows, only.total.nano, only.partial) == ([], 0, False)
    table = await api.get("/v1/costs.csv?by=customer,kind", "viewer")
    assert 'filename="costs-by-customer-kind.csv"' in table.headers["content-disposition"]
    assert next(csv.reader(io.StringIO(table.text)))[:2] == ["customer", "kind"]


@pytest.mark.parametrize(
    "asked_for",
    [
        "costs?by=",
        "costs?by=customer,customer",
        "costs?by=customer,color",
        "costs?by=customer,feature,agent,model,kind",
        "costs?by=tag.",
        "costs?tag=region",
        "costs?tag=a=1&tag=a=2",
        "costs?tag=a=%00",
        "costs/export?format=parquet",
        "costs/export?since=5&until=5",
        "costs/export?since=0&until=9007199254740992",
        "costs/export?by=agent",
        "costs/explain",
        "costs/explain?customer=",
        "costs/explain?customer=a&color=red",
        "costs/explain?customer=a&since=9&until=3",
        "costs/explain?customer=%00",
        "costs/rerates?limit=x",
    ],
)
async def test_what_of_the_ledger_cannot_be_asked(api: Api, asked_for: str) -> None:
    response = await api.get(f"/v1/{asked_for}", "viewer")
    assert response.status_code == 422 or asked_for == "costs/rerates?limit=x", response.text


async def test_the_ledger_is_given_away(quick: Api) -> None:
    api = quick
    await worked(api, feature="inbox", user="u-1")
    csv_file = await api.get("/v1/costs/export", "viewer")
    assert csv_file.headers["content-type"].startswith("text/csv")
    assert int(csv_file.headers["penstock-counted-until"]) > 0
    lines = list(csv.DictReader(io.StringIO(csv_file.text)))
    whole = Costs.model_validate_json((await api.get("/v1/costs", "viewer")).content)
    assert sum(int(line["nano_usd"]) for line in lines) == whole.total.nano
    assert {(line["customer"], line["feature"], line["user"]) for line in lines} == {("acme", "inbox", "u-1")}
    focus = await api.get("/v1/costs/export?format=focus&customer=acme", "viewer")
    assert {line["BillingCurrency"] for line in csv.DictReader(io.StringIO(focus.text))} == {"USD"}
    nothing = await api.get("/v1/costs/export", "stranger")
    assert list(csv.DictReader(io.StringIO(nothing.text))) == []


async def test_why_a_customer_is_dear(quick: Api) -> None:
    api = quick
    run = await worked(api)
    await worked(api, "beta")
    answer = await api.get("/v1/costs/explain?customer=acme", "viewer")
    found = CostExplained.model_validate_json(answer.content)
    assert (found.runs, found.peers, found.looked_at) == (1, 1, 1)
    assert [shown.id for shown in found.dearest] == [run]
    assert found.words.startswith("customer acme's work costs $")
    foreign = CostExplained.model_validate_json((await api.get("/v1/costs/explain?customer=acme", "stranger")).content)
    assert (foreign.runs, foreign.nano, foreign.dearest) == (0, 0, [])


async def test_corrections_are_shown(quick: Api) -> None:
    api = quick
    run = await worked(api)
    row = await api.journal.get_run("default", run)
    assert row is not None
    clock = api.platform.services.clock
    now = await api.journal.now()
    price = Price(2_000.0, 4_000.0, source="corrected")
    made = await rerate(api.journal, clock, "default", "scripted:model", price, 0, now, reason="list was wrong")
    shown = Rerates.model_validate_json((await api.get("/v1/costs/rerates", "viewer")).content)
    [item] = shown.items
    assert (item.id, item.billed, item.reason) == (made.id, row.summary.nano, "list was wrong")
    assert [line.customer for line in item.rows] == ["acme"]
    assert item.rows[0].difference == item.corrected - item.billed
    foreign = Rerates.model_validate_json((await api.get("/v1/costs/rerates", "stranger")).content)
    assert foreign.items == []


async def test_a_settled_call_shows_at_once(api_on_postgres: Api) -> None:
    """The append that settles a call writes the run's row, and the costs read it: nothing in between is waited for."""
    await settled_call_shows(api_on_postgres)


async def test_a_settled_call_shows_at_once_in_memory(api: Api) -> None:
    await settled_call_shows(api)


async def settled_call_shows(api: Api) -> None:
    run = await asked(api)  # it has parked: its calls are settled, and none of it is counted
    row = await api.journal.get_run("default", run)
    assert row is not None
    assert row.summary.nano > 0
    seen = []
    for by in ("customer", "agent", "customer,agent"):
        costs = Costs.model_validate_json((await api.get(f"/v1/costs?by={by}", "viewer")).content)
        seen.append((costs.total.nano, costs.live_nano))
    assert seen == [(row.summary.nano, row.summary.nano)] * 3
