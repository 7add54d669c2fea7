"""`penstock costs`: what was spent, in words, as JSON and as a table; on a real database."""

import csv
import io

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
