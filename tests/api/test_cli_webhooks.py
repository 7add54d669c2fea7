"""`penstock webhooks`: endpoints from the command line, on a real database."""

import pytest
from tests.api.conftest import CommandLine

from penstock.cli.exits import ExitCode

TENANT = ("--tenant", "webhooks-t")
ADD = ("webhooks", "add", "https://127.0.0.1.example.com/a", "--topic", "run.ended")


def test_an_endpoint_is_added_told_and_replayed(command_line: CommandLine) -> None:
    made = command_line.quick(*ADD, "--agent", "simple", *TENANT, "--json").document
    assert made["secret"].startswith("whsec_")
    command_line.quick("run", "desk_app:simple", "case 1", *TENANT, "--json")
    listed = command_line.quick("webhooks", "ls", *TENANT, "--json")
    assert made["secret"] not in listed.out
    [shown] = listed.document["webhooks"]
    assert (shown["id"], shown["state"], shown["waiting"], shown["dead"]) == (made["id"], "on", 1, 0)
    head, row = command_line.quick("webhooks", "ls", *TENANT).out.splitlines()
    assert head.split()[:3] == ["id", "url", "state"]
    assert row.split()[0] == made["id"]
    again = command_line.quick("webhooks", "replay", made["id"][-8:], *TENANT, "--json")
    assert again.document == {"replayed": 0}
    assert command_line.quick("webhooks", "ls", "--tenant", "webhooks-u", "--json").document == {"webhooks": []}
    assert command_line.quick("webhooks", "replay", made["id"], "--tenant", "webhooks-u").code == ExitCode.USAGE


@pytest.mark.parametrize(
    "given",
    [
        ("add", "http://example.com/", "--topic", "run.ended"),
        ("add", "https://10.0.0.1/", "--topic", "run.ended"),
        ("add", "https://example.com/", "--topic", "run.begun"),
        ("replay", "abc"),
        ("replay", "00000000", "msg_none"),
    ],
)
def test_what_cannot_be_done_is_refused(command_line: CommandLine, given: tuple[str, ...]) -> None:
    done = command_line.quick("webhooks", *given, *TENANT)
    assert done.code == ExitCode.USAGE
    assert "Traceback" not in done.err
