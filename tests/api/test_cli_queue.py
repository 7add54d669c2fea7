"""`penstock queue`: what is queued and what is blocked, in words and as JSON; on a real database."""

import pytest
from tests.api.conftest import CommandLine

from penstock.cli.exits import ExitCode


@pytest.fixture(scope="module")
def queued(command_line: CommandLine) -> list[str]:
    """Two runs for a customer of a tenant of its own, which no worker takes."""
    made = [
        command_line.quick(
            "run", "desk_app:simple", f"case {number}", "--tag", "customer=blue", "--tenant", "queue-t", "--no-wait",
            "--json",
        )
        for number in range(2)
    ]  # fmt: skip
    return [done.document["run"] for done in made]


def test_ls_shows_what_is_queued(command_line: CommandLine, queued: list[str]) -> None:
    shown = command_line.quick("queue", "ls", "--tenant", "queue-t")
    head, row = shown.out.splitlines()
    assert head.split()[:5] == ["AGENT", "CUSTOMER", "QUEUED", "RUNNING", "PARKED"]
    assert row.split()[:5] == ["simple", "blue", "2", "0", "0"]
    assert "?" in row, "nothing was taken: the wait is not known"
    document = command_line.quick("queue", "ls", "--tenant", "queue-t", "--json").document
    [depth] = document["queues"]
    assert (depth["tenant"], depth["queued"], depth["expected_seconds"]) == ("queue-t", 2, None)
    assert depth["oldest_wait_seconds"] > 0
    assert document["sessions"] == []
    everybody = command_line.quick("queue", "ls", "--all-tenants", "--agent", "simple", "--json").document
    assert "queue-t" in {item["tenant"] for item in everybody["queues"]}
    assert len(queued) == 2


def test_other_tenants_do_not_see_it(command_line: CommandLine, queued: list[str]) -> None:
    shown = command_line.quick("queue", "ls", "--tenant", "queue-u", "--json").document
    assert shown == {"queues": [], "sessions": []}
    assert "nothing is queued" in command_line.quick("queue", "ls", "--tenant", "queue-u").err


def test_weights_are_set_shown_and_refused(command_line: CommandLine) -> None:
    assert "blue      3" in command_line.quick("queue", "weight", "blue", "3", "--tenant", "queue-t").out
    shown = command_line.quick("queue", "weight", "--tenant", "queue-t", "--json").document
    assert shown == {"tenant": "queue-t", "weights": {"blue": 3.0}}
    assert command_line.quick("queue", "weight", "--tenant", "queue-u", "--json").document["weights"] == {}
    back = command_line.quick("queue", "weight", "blue", "1", "--tenant", "queue-t")
    assert "every customer has weight 1" in back.err
    for given in ("0", "1001"):
        refused = command_line.quick("queue", "weight", "blue", given, "--json")
        assert (refused.code, refused.error["code"]) == (ExitCode.USAGE, "input_invalid")
    assert command_line.quick("queue", "weight", "blue", "--json").error["code"] == "usage"


@pytest.mark.parametrize("given", [("--limit", "0"), ("--limit", "1001"), ("--tenant", "a", "--all-tenants")])
def test_what_cannot_be_shown_is_refused(command_line: CommandLine, given: tuple[str, ...]) -> None:
    assert command_line.quick("queue", "ls", *given, "--json").code == ExitCode.USAGE
