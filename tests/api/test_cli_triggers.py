"""``penstock triggers``: declare, look, steer; on a real database."""

import pytest
from tests.api.conftest import CommandLine

from penstock.cli.exits import ExitCode

ADD = ("triggers", "add", "bill", "paid", "desk_app:simple", "--key-prefix", "order-", "--input", '"$.text"')


@pytest.fixture
def tenant(command_line: CommandLine, request: pytest.FixtureRequest) -> str:
    """A tenant of the test's own with one trigger."""
    tenant = f"t{abs(hash(request.node.name)) % 10**9}"
    done = command_line.quick(*ADD, "--tag", "customer=$key", "--actor", "ann", "--tenant", tenant)
    assert done.code == 0, done.err
    assert done.out.strip() == "trigger bill: paid of order-* starts simple"
    return tenant


def test_what_was_declared_is_shown_and_what_it_holds(command_line: CommandLine, tenant: str) -> None:
    for key in ("order-1", "order-2", "refund-1"):
        sent = command_line.quick("runs", "send", "-", "paid", '{"text": "hi"}', "--key", key, "--tenant", tenant)
        assert sent.code == 0, sent.err
    shown = command_line.quick("triggers", "show", "bill", "--tenant", tenant)
    for words in ("paid of order-*", '"$.text"', "customer=$key", "2 of at most 10,000", "by ann", "active"):
        assert words in shown.out
    document = command_line.quick("triggers", "show", "bill", "--tenant", tenant, "--json").document
    assert (document["agent"], document["plan"]["input"], document["prefix"]) == ("simple", "$.text", "order-")
    assert (document["pending"], document["failed_kept"], document["failures"]) == (2, 0, [])
    [listed] = command_line.quick("triggers", "ls", "--tenant", tenant, "--json").document
    assert listed == {name: document[name] for name in listed}
    assert "paid of order-*" in command_line.quick("triggers", "ls", "--tenant", tenant).out


def test_pause_resume_retry_and_remove(command_line: CommandLine, tenant: str) -> None:
    def steer(what: str) -> dict[str, object]:
        done = command_line.quick("triggers", what, "bill", "--tenant", tenant, "--json")
        assert done.code == 0, done.err
        found: dict[str, object] = done.document
        return found

    assert steer("pause")["paused"] is True
    assert "paused" in command_line.quick("triggers", "ls", "--tenant", tenant).out
    assert steer("resume")["paused"] is False
    assert steer("retry") == {"trigger": "bill", "retried": 0}
    assert steer("rm") == {"trigger": "bill", "removed": True}
    gone = command_line.quick("triggers", "show", "bill", "--tenant", tenant, "--json")
    assert (gone.code, gone.error["code"]) == (ExitCode.USAGE, "trigger_unknown")


def test_a_second_one_of_that_name_is_refused_or_replaces_it(command_line: CommandLine, tenant: str) -> None:
    again = command_line.quick(*ADD, "--tenant", tenant, "--json")
    assert (again.code, again.error["code"]) == (ExitCode.USAGE, "trigger_exists")
    replaced = command_line.quick(*ADD, "--replace", "--priority", "4", "--tenant", tenant, "--json")
    assert replaced.document["plan"]["priority"] == 4


@pytest.mark.parametrize(
    ("option", "value", "code"),
    [
        ("--input", "{", "input_invalid"),
        ("--input", '"$x"', "trigger_invalid"),
        ("--pending-max", "0", "trigger_invalid"),
    ],
)
def test_what_cannot_be_read_is_refused(command_line: CommandLine, option: str, value: str, code: str) -> None:
    done = command_line.quick("triggers", "add", "t", "paid", "desk_app:simple", option, value, "--json")
    assert (done.code, done.error["code"]) == (ExitCode.USAGE, code)
