"""``penstock retention``, and reading archives: on a real database, and without one."""

from pathlib import Path

import pytest
from tests.api.conftest import CommandLine

from penstock.cli.exits import ExitCode

NO_DATABASE = {"PENSTOCK_DATABASE_URL": "postgresql://127.0.0.1:1/none", "PENSTOCK_DATABASE_CONNECT_SECONDS": "0.1"}


@pytest.fixture
def tenant(request: pytest.FixtureRequest) -> str:
    return f"t{abs(hash(request.node.name)) % 10**9}"


@pytest.fixture
def run(command_line: CommandLine, tenant: str) -> str:
    """A run that has ended."""
    done = command_line("run", "desk_app:simple", "hello", "--tenant", tenant, "--json")
    assert done.code == 0, done.err
    found: str = done.document["run"]
    return found


def test_policies_are_set_shown_and_removed(command_line: CommandLine, tenant: str) -> None:
    def policy(*arguments: str) -> str:
        done = command_line.quick("retention", "policy", *arguments, "--tenant", tenant)
        assert done.code == 0, done.err
        return done.out

    assert policy() == ""
    assert "kept for 30 days, then archive" in policy("--keep-days", "30", "--archive", "--actor", "ann")
    policy("--agent", "simple", "--keep-days", "1", "--prune", "--forget-days", "400")
    shown = policy()
    assert "(all others)" in shown
    assert "goes after 400 days" in shown
    assert "removed" in policy("--agent", "simple", "--remove")
    [left] = command_line.quick("retention", "policy", "--tenant", tenant, "--json").document
    assert (left["agent"], left["action"], left["actor"]) == ("", "archive", "ann")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--keep-days", "30"),
        ("--keep-days", "30", "--archive", "--prune"),
        ("--archive",),
        ("--keep-days", "30", "--prune", "--without-content"),
        ("--keep-days", "30", "--prune", "--forget-days", "1"),
        ("--remove", "--keep-days", "1"),
    ],
)
def test_a_policy_that_says_nothing_or_two_things_is_refused(
    command_line: CommandLine, tenant: str, arguments: tuple[str, ...]
) -> None:
    done = command_line.quick("retention", "policy", *arguments, "--tenant", tenant, "--json")
    assert (done.code, done.error["code"]) == (ExitCode.USAGE, "usage")
    assert command_line.quick("retention", "policy", "--tenant", tenant, "--json").document == []


def test_an_archive_is_made_and_read_without_the_database(
    command_line: CommandLine, tenant: str, run: str, tmp_path: Path
) -> None:
    own = ("--tenant", tenant)
    assert "nothing is due" in command_line.quick("retention", "plan", *own).err
    command_line.quick("retention", "policy", "--keep-days", "0", "--archive", *own)
    [planned] = command_line.quick("retention", "plan", *own, "--json").document
    assert (planned["agent"], planned["runs"], planned["action"]) == ("simple", 1, "archive")
    skipped = command_line.quick("retention", "run", *own)
    assert skipped.code == ExitCode.FAILED
    assert "no folder is named" in skipped.err
    done = command_line.quick("retention", "run", "--to", str(tmp_path), "--at-once", *own)
    assert done.code == 0, done.err
    assert "1 run archived" in done.out
    [file] = tmp_path.iterdir()

    gone = command_line.quick("runs", "show", run, *own, "--json")
    assert (gone.code, gone.error["code"]) == (ExitCode.FAILED, "run_pruned")
    assert file.name in gone.error["what"]
    assert "1 run archived or pruned" in command_line.quick("audit", "verify", *own).out

    reading = ("--archive", str(file))
    verified = command_line.quick("audit", "verify", *reading, "--json", **NO_DATABASE)
    assert (verified.code, verified.document["runs"], verified.document["ok"]) == (0, 1, True)
    replayed = command_line.quick("runs", "replay", run, "--app", "desk_app:simple", *reading, **NO_DATABASE)
    assert replayed.code == 0, replayed.err
    assert replayed.out.startswith("same")
    assert command_line.quick("runs", "show", run, *reading, **NO_DATABASE).code == 0
    crossing = command_line.quick("runs", "show", run, *reading, "--tenant", "other", "--json", **NO_DATABASE)
    assert (crossing.code, crossing.error["code"]) == (ExitCode.USAGE, "run_unknown")


def test_a_damaged_archive_is_refused(command_line: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "bad"
    file.write_bytes(b"x" * 500)
    for command in (("audit", "verify"), ("runs", "show", "01a1fe23")):
        done = command_line.quick(*command, "--archive", str(file), "--json", **NO_DATABASE)
        assert (done.code, done.error["code"]) == (ExitCode.FAILED, "archive_invalid")


def test_a_subject_is_taken_out_of_an_archive(command_line: CommandLine, tenant: str, run: str, tmp_path: Path) -> None:
    command_line.quick("retention", "policy", "--keep-days", "0", "--archive", "--tenant", tenant)
    command_line.quick("retention", "run", "--to", str(tmp_path), "--tenant", tenant)
    [file] = tmp_path.iterdir()
    done = command_line.quick("retention", "redact", str(file), run, "--json")
    assert done.document["runs"] == 1
    assert "nothing of that subject" in command_line.quick("retention", "redact", str(file), run).err
    verified = command_line.quick("audit", "verify", "--archive", str(file), "--json", **NO_DATABASE).document
    assert verified["ok"]
    assert verified["payloads"] == 0
    assert verified["erased"] > 0


def test_what_is_on_hold_is_not_taken(command_line: CommandLine, tenant: str, run: str) -> None:
    own = ("--tenant", tenant)
    command_line.quick("retention", "policy", "--keep-days", "0", "--prune", *own)
    held = command_line.quick("retention", "hold", run[:13], "--reason", "a suit", "--actor", "ann", *own)
    assert run in held.out
    assert "already" in command_line.quick("retention", "hold", run, *own).out
    assert "a suit" in command_line.quick("retention", "holds", *own).out
    assert command_line.quick("retention", "run", *own, "--json").document["pruned"] == 0
    assert command_line.quick("retention", "hold", *own).code == ExitCode.USAGE
    assert command_line.quick("retention", "release", run, *own).out == "released\n"
    assert command_line.quick("retention", "run", *own, "--json").document["pruned"] == 1
    assert "no run was forgotten" in command_line.quick("retention", "forgotten", *own).err
