"""`penstock costs`: what was spent, in words, as JSON and as a table; on a real database."""

import csv
import io
from pathlib import Path

import pytest
from tests.api.conftest import CommandLine

from penstock.cli.exits import ExitCode

TENANT = ("--tenant", "costs-t")


@pytest.fixture(scope="module")
def spent(command_line: CommandLine) -> str:
    """A run for a customer of a tenant of its own."""
    done = command_line.quick("run", "desk_app:simple", "case 1", "--tag", "customer=blue", *TENANT, "--json")
    run: str = done.document["run"]
    return run


def test_by_customer(command_line: CommandLine, spent: str) -> None:
    document = command_line.quick("costs", "by", "customer", *TENANT, "--json").document
    assert [(row["value"], row["runs"]) for row in document["rows"]] == [("blue", 1)]
    assert document["total"]["nano"] == document["rows"][0]["used"]["nano"]
    head, row, total = command_line.quick("costs", "by", "customer", *TENANT).out.splitlines()
    assert head.split()[:3] == ["CUSTOMER", "SPENT", "RUNS"]
    assert row.split()[0] == "blue"
    assert total.split()[0] == "(all)"
    [line] = csv.DictReader(io.StringIO(command_line.quick("costs", "by", "customer", *TENANT, "--csv").out))
    assert (line["customer"], line["runs"]) == ("blue", "1")
    only = command_line.quick("costs", "by", "agent", "--only", "customer=red", *TENANT, "--json").document
    assert only["rows"] == []
    assert "nothing was spent" in command_line.quick("costs", "by", "agent", "--tenant", "costs-u").err
    assert spent


def test_made_anew_it_is_the_same(command_line: CommandLine, spent: str) -> None:
    before = command_line.quick("costs", "by", "customer", *TENANT, "--json").document["total"]
    assert command_line.quick("costs", "rebuild", *TENANT, "--json").document == {"runs": 1}
    after = command_line.quick("costs", "by", "customer", *TENANT, "--json").document
    assert after["total"]["nano"] == before["nano"]
    assert after["live_nano"] == 0
    assert spent


@pytest.mark.parametrize(
    "given",
    [
        ("person",),
        ("customer", "--since", "7"),
        ("customer", "--since", "0d"),
        ("customer", "--only", "blue"),
        ("customer", "--only", "color=blue"),
        ("customer", "--csv", "--json"),
    ],
)
def test_what_cannot_be_shown_is_refused(command_line: CommandLine, given: tuple[str, ...]) -> None:
    assert command_line.quick("costs", "by", *given).code == ExitCode.USAGE


def test_several_dimensions(command_line: CommandLine, spent: str) -> None:
    document = command_line.quick("costs", "by", "customer,kind,model", *TENANT, "--json").document
    assert [row["values"][0] for row in document["rows"]] == ["blue"] * len(document["rows"])
    head = command_line.quick("costs", "by", "customer,kind", *TENANT).out.splitlines()[0]
    assert head.split()[:3] == ["CUSTOMER", "KIND", "SPENT"]
    assert spent


def test_given_away(command_line: CommandLine, spent: str, tmp_path: Path) -> None:
    command_line.quick("costs", "rebuild", *TENANT, "--json")
    total = command_line.quick("costs", "by", "customer", *TENANT, "--json").document["total"]["nano"]
    lines = list(csv.DictReader(io.StringIO(command_line.quick("costs", "export", *TENANT).out)))
    assert sum(int(line["nano_usd"]) for line in lines) == total > 0
    focus, parquet = tmp_path / "focus.csv", tmp_path / "costs.parquet"
    done = command_line.quick("costs", "export", "--format", "focus", "-o", str(focus), *TENANT, "--json").document
    assert done["rows"] == len(lines)
    assert len(focus.read_text().splitlines()) == len(lines) + 1
    command_line.quick("costs", "export", "--format", "parquet", "-o", str(parquet), *TENANT)
    from pyarrow import parquet as reader

    assert sum(reader.read_table(parquet)["nano_usd"].to_pylist()) == total
    assert spent


def test_why_it_is_dear(command_line: CommandLine, spent: str) -> None:
    document = command_line.quick("costs", "explain", "blue", *TENANT, "--json").document
    assert document["runs"] == 1
    assert document["dearest"][0]["row"]["id"] == spent
    said = command_line.quick("costs", "explain", "blue", *TENANT).out
    assert said.startswith("customer blue's work costs $")
    assert spent in said


def test_rated_anew(command_line: CommandLine, spent: str, tmp_path: Path) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text('["scripted:model"]\ninput_per_million = 2\noutput_per_million = 4\n')
    total = command_line.quick("costs", "by", "customer", *TENANT, "--json").document["total"]["nano"]
    given = ("costs", "rerate", "--model", "scripted:model", "--since", "1d", "--prices", str(prices), *TENANT)
    made = command_line.quick(*given, "--json", "--reason", "a slip").document
    assert (made["billed"], made["corrected"]) == (total, 2 * total)
    assert [(row["customer"], row["billed"]) for row in made["rows"]] == [("blue", total)]
    assert command_line.quick(*given, "--no-keep").out.splitlines()[0].split()[0] == "CUSTOMER"
    kept = command_line.quick("costs", "rerates", *TENANT, "--json").document
    assert [item["reason"] for item in kept] == ["a slip"]
    assert command_line.quick("costs", "by", "customer", *TENANT, "--json").document["total"]["nano"] == total
    assert spent


def test_beside_a_bill(command_line: CommandLine, spent: str, tmp_path: Path) -> None:
    bill = tmp_path / "usage.csv"
    bill.write_text(
        "start_time_iso,model,num_model_requests,input_tokens,output_tokens\n2026-11-01T00:00:00+00:00,gpt-5,1,10,2\n"
    )
    given = ("costs", "reconcile", str(bill), "--provider", "openai", *TENANT)
    [line] = command_line.quick(*given, "--json").document["lines"]
    assert (line["model"], line["difference"], line["theirs"]["tokens_in"]) == ("gpt-5", 12, 10)
    assert "did not pass a gate" in line["words"]
    assert command_line.quick(*given).out.splitlines()[1].split()[:2] == ["2026-11-01", "gpt-5"]
    assert spent


@pytest.mark.parametrize(
    "given",
    [
        ("export", "--format", "xml"),
        ("export", "--format", "parquet"),
        ("export", "--json"),
        ("export", "--since", "soon"),
        ("export", "--since", "2026-11-02", "--until", "2026-11-01"),
        ("export", "--only", "color=blue"),
        ("export", "-o", "/nowhere/at/all.csv"),
        ("explain", "blue", "--since", "x"),
        ("rerate", "--model", "no:model", "--since", "1d"),
        ("reconcile", "/nowhere.csv", "--provider", "openai"),
        ("reconcile", "/nowhere.csv", "--provider", "acme"),
        ("by", "customer,customer"),
    ],
)
def test_what_of_the_ledger_cannot_be_done(command_line: CommandLine, given: tuple[str, ...]) -> None:
    assert command_line.quick("costs", *given).code == ExitCode.USAGE
