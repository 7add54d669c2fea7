"""`penstock breakers`: circuit breakers from the command line, on a real database."""

import pytest
from tests.api.conftest import CommandLine

from penstock.cli.exits import ExitCode

TENANT = ("--tenant", "breakers-t")
SET = ("breakers", "set", "models", "--scope", "model", "--failures", "5", "--cost-factor", "2", "--open", "30")


def test_a_breaker_is_set_tripped_reset_and_removed(command_line: CommandLine) -> None:
    made = command_line.quick(*SET, *TENANT, "--json").document
    assert [condition["kind"] for condition in made["conditions"]] == ["failures", "cost_mean"]
    assert made["conditions"][1]["baseline"] == 500
    tripped = command_line.quick(
        "breakers", "trip", "models", "--value", "m", "--reason", "looks wrong", "--actor", "ann", *TENANT, "--json"
    ).document
    shown = command_line.quick("breakers", "show", "models", *TENANT, "--json").document
    assert [(c["value"], c["state"]) for c in shown["circuits"]] == [("m", "open")]
    assert [(t["id"], t["by"], t["evidence"]["words"]) for t in shown["trips"]] == [
        (tripped["trip"], "ann", "looks wrong")
    ]
    words = command_line.quick("breakers", "show", "models", *TENANT).out
    assert "5 failures in a row" in words
    assert "m: open for another" in words
    assert "1 open" in command_line.quick("breakers", "ls", *TENANT).out
    why = ("--reason", "it was a test", "--actor", "ann")
    reset = command_line.quick("breakers", "reset", "models", *why, *TENANT, "--json").document
    assert reset["closed"] == 1
    assert command_line.quick("breakers", "ls", "--tenant", "breakers-u", "--json").document == []
    assert command_line.quick("breakers", "show", "models", "--tenant", "breakers-u").code == ExitCode.USAGE
    command_line.quick("breakers", "remove", "models", *TENANT)
    assert command_line.quick("breakers", "ls", *TENANT, "--json").document == []


@pytest.mark.parametrize(
    "given",
    [
        ("set", "x", "--scope", "planet", "--failures", "5"),
        ("set", "x", "--scope", "model"),
        ("set", "x", "--scope", "model", "--failures", "-1"),
        ("set", "x", "--scope", "model", "--failures", "5", "--meanwhile", "hope"),
        ("set", "x", "--scope", "agent", "--failures", "5", "--meanwhile", "fallback"),
        ("set", "x", "--scope", "tool", "--cost", "5"),
        ("set", "x", "--scope", "model", "--slow", "5", "--slow-rate", "1.5"),
        ("set", "x", "--scope", "model", "--failures", "5", "--open", "0"),
        ("set", "x", "--scope", "model", "--failures", "5", "--value", "gpt*"),
        ("trip", "none"),
        ("reset", "none"),
        ("remove", "none"),
    ],
)
def test_what_cannot_be_done_is_refused(command_line: CommandLine, given: tuple[str, ...]) -> None:
    done = command_line.quick("breakers", *given, *TENANT)
    assert done.code == ExitCode.USAGE
    assert "Traceback" not in done.err
