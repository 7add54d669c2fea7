"""``penstock schedules``: declare, look, steer; on a real database."""

import json

import pytest
from tests.api.conftest import CommandLine

from penstock.cli.exits import ExitCode

ADD = ("schedules", "add", "nightly", "desk_app:simple", "hello", "--cron", "30 2 * * *", "--timezone", "Europe/Berlin")


@pytest.fixture
def nightly(command_line: CommandLine, request: pytest.FixtureRequest) -> str:
    """A tenant of the test's own with one schedule."""
    tenant = f"t{abs(hash(request.node.name)) % 10**9}"
    done = command_line.quick(*ADD, "--actor", "ann", "--tenant", tenant)
    assert done.code == 0, done.err
    assert done.out.startswith("schedule nightly: next at ")
    return tenant


def test_what_was_declared_is_shown(command_line: CommandLine, nightly: str) -> None:
    shown = command_line.quick("schedules", "show", "nightly", "--tenant", nightly)
    assert "30 2 * * * Europe/Berlin" in shown.out
    assert "by ann" in shown.out
    document = command_line.quick("schedules", "show", "nightly", "--tenant", nightly, "--json").document
    assert (document["agent"], document["input"], document["plan"]["overlap"]) == ("simple", "hello", "skip")
    assert not {"address", "subject"} & set(document)
    [listed] = command_line.quick("schedules", "ls", "--tenant", nightly, "--json").document
    assert listed == {name: value for name, value in document.items() if name != "input"}


def test_its_next_times(command_line: CommandLine, nightly: str) -> None:
    times = command_line.quick("schedules", "next", "nightly", "-n", "3", "--tenant", nightly, "--json").document
    assert len(times) == 3
    assert all("T02:30:00+" in time or "T03:00:00+" in time for time in times)
    assert "LOCAL" in command_line.quick("schedules", "next", "nightly", "--tenant", nightly).out


def test_pause_resume_fire_and_remove(command_line: CommandLine, nightly: str) -> None:
    def steer(what: str) -> dict[str, object]:
        done = command_line.quick("schedules", what, "nightly", "--tenant", nightly, "--json")
        assert done.code == 0, done.err
        found: dict[str, object] = done.document
        return found

    assert steer("pause")["paused"] is True
    assert "paused" in command_line.quick("schedules", "ls", "--tenant", nightly).out
    assert steer("resume")["paused"] is False
    assert steer("fire")["requested_at"]
    assert steer("rm") == {"schedule": "nightly", "removed": True}
    gone = command_line.quick("schedules", "show", "nightly", "--tenant", nightly, "--json")
    assert (gone.code, gone.error["code"]) == (ExitCode.USAGE, "schedule_unknown")


def test_a_second_one_of_that_name_is_refused_or_replaces_it(command_line: CommandLine, nightly: str) -> None:
    again = command_line.quick(*ADD, "--tenant", nightly, "--json")
    assert (again.code, again.error["code"]) == (ExitCode.USAGE, "schedule_exists")
    replaced = command_line.quick(
        "schedules",
        "add",
        "nightly",
        "desk_app:simple",
        "other",
        "--every",
        "90m",
        "--replace",
        "--tenant",
        nightly,
        "--json",
    ).document
    assert (replaced["plan"]["every"], replaced["plan"]["cron"]) == (5_400_000_000, "")


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--cron", "61 * * * *"], "schedule_invalid"),
        (["--cron", "* * * * *", "--timezone", "Mars/Olympus"], "schedule_invalid"),
        (["--every", "soon"], "usage"),
        ([], "schedule_invalid"),
        (["--every", "1h", "--start", "tomorrow"], "usage"),
        (["--every", "1h", "--overlap", "maybe"], "schedule_invalid"),
        (["--every", "1h", "--tag", "colour=red"], "tag_invalid"),
    ],
)
def test_what_cannot_be_kept_to_is_refused(command_line: CommandLine, options: list[str], code: str) -> None:
    done = command_line.quick("schedules", "add", "x", "desk_app:simple", "hello", *options, "--json")
    assert (done.code, done.error["code"]) == (ExitCode.USAGE, code)
    assert json.loads(command_line.quick("schedules", "ls", "--json").out) == []
