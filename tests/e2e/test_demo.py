"""The whole demo, small, on a real PostgreSQL: figures that add up, proofs that hold, the same again with one seed."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from rich.console import Console
from typer import Typer
from typer.testing import CliRunner

from penstock.cli.demo import demo
from penstock.demo.options import DemoOptions
from penstock.demo.report import WIDTH, render
from penstock.demo.result import DemoResult
from penstock.demo.run import run_demo
from penstock.kernel.errors import UsageError
from penstock.settings import Settings

pytestmark = pytest.mark.alone  # a worker is killed in the middle of a refund

MODE_KEYS = {
    "cost_usd",
    "tokens_total",
    "model_calls",
    "tool_calls",
    "spirals",
    "spirals_stopped",
    "approvals_waiting",
    "prohibited_attempted",
    "prohibited_executed",
    "outcomes",
    "accuracy",
    "wall_seconds",
}


async def run(database_url: str, **options: Any) -> DemoResult:
    return await run_demo(DemoOptions(**options), settings=Settings(database_url=database_url))


def without_time(result: DemoResult) -> dict[str, Any]:
    plain = result.as_json()
    for mode in plain["modes"].values():
        del mode["wall_seconds"]
    return plain


async def test_the_demo_shows_what_it_claims(database_url: str) -> None:
    result = await run(database_url, tickets=40, spiral_rate=0.3, sweep=False)
    plain = json.loads(json.dumps(result.as_json()))

    assert set(plain) == {"simulated", "tickets", "seed", "modes", "proofs"}
    assert (plain["simulated"], plain["tickets"], plain["seed"]) == (True, 40, 7)
    assert list(plain["modes"]) == ["ungoverned", "step_limit", "governed"]
    for mode in plain["modes"].values():
        assert set(mode) == MODE_KEYS
        assert set(mode["cost_usd"]) == {"total", "mean", "p50", "p95", "p99", "max"}
        assert sum(mode["outcomes"].values()) == 40
        assert 0.75 <= mode["accuracy"] <= 1
        assert mode["spirals_stopped"] <= mode["spirals"]
    free, limited, governed = plain["modes"].values()
    assert free["spirals"] == limited["spirals"] == governed["spirals"] > 5
    assert free["spirals_stopped"] == 0
    assert limited["spirals_stopped"] == governed["spirals_stopped"] == governed["spirals"]
    assert governed["cost_usd"]["total"] < 0.5 * limited["cost_usd"]["total"] < 0.3 * free["cost_usd"]["total"]
    assert governed["cost_usd"]["max"] <= 0.08
    assert governed["outcomes"]["harmful"] <= free["outcomes"]["harmful"]
    assert governed["approvals_waiting"] > 0
    assert governed["prohibited_executed"] == 0
    assert {name: proof["held"] for name, proof in plain["proofs"].items()} == {
        "worker_killed": True,
        "kill_switch": True,
        "tampering": True,
    }
    assert plain["proofs"]["worker_killed"]["bank_refunds"] == 1
    assert plain["proofs"]["worker_killed"]["attempts"] == 2

    await journal_agrees_with_the_wire(database_url, result)
    report_fits_on_a_screen(result)


async def journal_agrees_with_the_wire(database_url: str, result: DemoResult) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        said = await connection.fetchrow(
            "SELECT sum(nano)::bigint AS nano, sum(tokens)::bigint AS tokens, sum(model_calls)::bigint AS calls"
            " FROM penstock.runs WHERE tenant = 'demo'"
        )
    finally:
        await connection.close()
    metered = result.modes["governed"]
    assert (said["nano"], said["tokens"], said["calls"]) == (metered.total, metered.tokens_total, metered.model_calls)


def report_fits_on_a_screen(result: DemoResult) -> None:
    console = Console(width=WIDTH, record=True, file=StringIO())
    console.print(render(result))
    lines = console.export_text().splitlines()
    assert len(lines) <= 48
    assert max(map(len, lines)) <= WIDTH
    assert any("simulated" in line for line in lines[:2])
    assert "does not prove" in "\n".join(lines)


async def test_one_seed_gives_one_result(database_url: str) -> None:
    first = await run(database_url, tickets=12, seed=3, sweep=False, proofs=False)
    again = await run(database_url, tickets=12, seed=3, sweep=False, proofs=False, concurrency=3)
    other = await run(database_url, tickets=12, seed=4, sweep=False, proofs=False)
    assert without_time(first) == without_time(again)
    assert without_time(first) != without_time(other)


async def test_the_sweep_starts_where_nothing_goes_wrong(database_url: str) -> None:
    result = await run(database_url, tickets=10, spiral_rate=0.05, proofs=False)
    sweep = result.as_json()["proofs"]["sweep"]
    assert [point["spiral_rate"] for point in sweep] == [0, 0.05, 0.15, 0.3]
    assert {mode.spirals for mode in result.sweep[0].modes.values()} == {0}
    costs = [point["ungoverned"]["mean_usd"] for point in sweep]
    assert costs == sorted(costs)
    connection = await asyncpg.connect(database_url)
    try:
        left = await connection.fetchval(
            "SELECT count(*) FROM penstock.runs WHERE tenant = 'demo-sweep' AND status <> 'ended'"
        )
    finally:
        await connection.close()
    assert left == 0


async def test_tickets_of_ones_own_without_categories(database_url: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text('text\n"I lost my card, please block it"\nWas I charged twice at the hotel?\nHow old must I be?\n')
    result = await run(database_url, tickets_file=path, sweep=False, proofs=False)
    governed = result.as_json()["modes"]["governed"]
    assert result.tickets == 3
    assert governed["accuracy"] is None
    assert sum(governed["outcomes"].values()) == 3


@pytest.mark.parametrize(
    "options",
    [{"tickets": 0}, {"spiral_rate": 2.0}, {"concurrency": 0}, {"model": "no-such-provider:model"}],
)
async def test_bad_options_are_refused_before_anything_is_done(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        await run("postgresql://nobody@127.0.0.1:1/none", **options)


def test_the_command_prints_one_object(server_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_DATABASE_URL", server_dsn)
    app = Typer()
    app.command()(demo)
    outcome = CliRunner().invoke(app, ["--tickets", "5", "--no-sweep", "--no-proofs", "--json"])
    assert outcome.exit_code == 0, outcome.output
    assert json.loads(outcome.stdout)["tickets"] == 5
