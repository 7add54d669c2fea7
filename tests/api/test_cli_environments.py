"""`penstock environments`: what is in force and what is missing, in words and as JSON; never a secret's value."""

import asyncio
from pathlib import Path

import pytest
from tests.api.conftest import CommandLine

from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute

TOOLS = "tests.unit.environment_tools"
VALUE = "sk-live-which-nobody-is-shown"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "environments.toml"


def test_what_is_in_force_is_shown(command_line: CommandLine, file: Path) -> None:
    file.write_text(
        '[staging]\nwrites = "bound"\negress = ["api.example:443"]\n'
        f'[staging.tools]\nrefund = "{TOOLS}:Sandbox.refund"\n'
        'mail = "deny"\n[staging.secrets]\nbank_key = {env = "BANK_KEY"}\ncrm = {file = "/nowhere/crm"}\n[production]\n'
    )
    here = {"PENSTOCK_ENVIRONMENTS": str(file), "PENSTOCK_ENVIRONMENT": "staging", "BANK_KEY": VALUE}
    text = command_line.quick("environments", "show", **here)
    assert text.code == ExitCode.OK
    lines = [line.split() for line in text.out.splitlines()]
    assert ["refund", f"{TOOLS}:Sandbox.refund", "bound"] in lines
    assert ["mail", "-", "denied"] in lines
    assert ["bank_key", "the", "variable", "BANK_KEY", "there"] in lines
    assert ["crm", "the", "file", "/nowhere/crm", "missing"] in lines
    assert "may be reached: api.example:443" in text.out
    document = command_line.quick("environments", "show", "--json", **here)
    assert document.document["secrets"][0] == {"name": "bank_key", "place": "the variable BANK_KEY", "present": True}
    checked = command_line.quick("environments", "check", "--json", **here)
    assert (checked.code, checked.document["ok"]) == (ExitCode.FAILED, False)
    failed = command_line.quick("environments", "check", **here)
    assert "error: the secret crm is not in the file /nowhere/crm" in failed.out
    assert VALUE not in text.out + text.err + document.out + checked.out + failed.out


def test_a_file_that_cannot_be_kept_is_told_with_all_its_mistakes(command_line: CommandLine, file: Path) -> None:
    file.write_text("[staging]\nwrites = 1\negress = ['*']\n")
    here = {"PENSTOCK_ENVIRONMENTS": str(file), "PENSTOCK_ENVIRONMENT": "staging"}
    checked = command_line.quick("environments", "check", **here)
    assert checked.code == ExitCode.FAILED
    assert checked.out.count("error: [staging]") == 2
    assert command_line.quick("environments", "show", "--json", **here).error["code"] == "environment_invalid"
    file.write_text("[production]\n")
    run = command_line.quick("run", "desk_app:simple", "x", "--no-wait", "--json", **here)
    assert (run.code, run.error["code"]) == (ExitCode.USAGE, "environment_invalid")


def test_without_a_file_there_is_a_word(command_line: CommandLine) -> None:
    shown = command_line.quick("environments", "show")
    assert "PENSTOCK_ENVIRONMENTS names no file" in shown.err
    assert command_line.quick("environments", "show", "--json").document["file"] is None
    assert command_line.quick("environments", "check", "--json").code == ExitCode.USAGE


def test_doctor_has_a_line_for_it(command_line: CommandLine, file: Path) -> None:
    here = {"PENSTOCK_ENVIRONMENTS": str(file), "PENSTOCK_ENVIRONMENT": "staging"}
    for text, state in (
        ("[staging]\negress = []\n", "ok"),
        ("[staging.secrets]\nk = {file = '/nowhere'}\n", "fail"),
        ("[staging.tools]\nx = 'nowhere.x:y'\n", "fail"),
        ("[other]\n", "fail"),
    ):
        file.write_text(text)
        checks = command_line.quick("doctor", "--json", **here).document["checks"]
        [found] = [check for check in checks if check["name"] == "environment"]
        assert found["state"] == state, found


def test_workers_run_on_a_loop_that_can_be_held_to_egress(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def loop() -> str:
        return type(asyncio.get_running_loop()).__module__.partition(".")[0]

    monkeypatch.setenv("PENSTOCK_ENVIRONMENTS", str(file))
    monkeypatch.setenv("PENSTOCK_ENVIRONMENT", "staging")
    for text, module in (("[staging]\negress = []\n", "asyncio"), ("[staging]\n", "uvloop"), ("[other", "uvloop")):
        file.write_text(text)
        assert execute(loop(), fast=True) == module
