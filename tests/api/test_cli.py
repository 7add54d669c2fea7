"""What needs no database: help, names of agents, settings, words and codes of errors."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.api.conftest import APP_FOLDER, PROGRAM, CommandLine

import penstock
from penstock.cli import main
from penstock.cli.application import root
from penstock.cli.commands import COMMANDS, Entry, Group
from penstock.cli.exits import MEANINGS, ExitCode
from penstock.cli.options import actor_or_account


@pytest.fixture(scope="module")
def offline(bare_environment: dict[str, str]) -> CommandLine:
    """The program where no database can be reached."""
    nowhere = "postgresql://nobody@127.0.0.1:1/nothing"
    return CommandLine(
        {**bare_environment, "PENSTOCK_DATABASE_URL": nowhere, "PENSTOCK_DATABASE_CONNECT_SECONDS": "0.2"}
    )


def test_help_names_every_command_and_imports_none_of_them(offline: CommandLine) -> None:
    done = offline("--help")
    assert done.code == 0
    for entry in COMMANDS:
        assert re.search(rf"(?m)^  {entry.name} +{re.escape(entry.text[:40])}", done.out), entry.name
    look = "from penstock.cli.application import root, run_command; run_command(['--help']); import sys; "
    look += "print([name for name in sys.modules if name in ('asyncpg', 'pydantic', 'rich', 'msgspec')])"
    found = subprocess.run(
        [sys.executable, "-c", look], capture_output=True, text=True, check=True, env=offline.environment
    )
    assert found.stdout.splitlines()[-1] == "[]", "the help became slow"


def test_every_listed_command_can_be_loaded_and_says_what_it_does() -> None:
    for entry in COMMANDS:
        inner = entry.entries if isinstance(entry, Group) else (entry,)
        for command in inner:
            assert isinstance(command, Entry)
            group = root() if isinstance(entry, Entry) else root().get_command(None, entry.name)
            loaded = group.get_command(None, command.name)
            assert loaded.help, command.name
            takes_json = any("--json" in parameter.opts for parameter in loaded.params)
            assert takes_json, f"{command.name} has no --json"


@pytest.mark.parametrize(
    ("arguments", "what", "hint"),
    [
        (["rnus"], "no such command 'rnus'; did you mean 'runs'?", "see `penstock --help`"),
        (["runs", "shwo", "01"], "no such command 'shwo'; did you mean 'show'?", "see `penstock runs --help`"),
        (["run", "desk_app:simple"], "missing argument 'INPUT'", "see `penstock run --help`"),
        (["version", "--colour"], "no such option: --colour", "see `penstock version --help`"),
        (["kill", "--all"], "a kill needs --reason", "it goes on the record, for whoever asks why"),
        (["kill", "0123", "--all", "--reason", "x"], "kill takes the id of a run, or a scope", None),
        (["kill", "--agent", "a", "--customer", "b", "--reason", "x"], "one scope at a time", None),
        (["pause"], "pause takes a scope", "for one run: penstock runs pause ID"),
        (["resume"], "resume takes a scope, such as --all", "for one paused run: penstock runs resume ID"),
        (["runs", "ls", "--limit", "0"], "--limit is 0", "give a number from 1 to 1000"),
        (["runs", "ls", "--outcome", "won"], "there is no outcome 'won'", None),
        (["runs", "ls", "--status", "lost"], "there is no status 'lost'", None),
        (["run", "desk_app:simple", "x", "--tag", "acme"], "--tag 'acme' is not NAME=VALUE", None),
        (
            ["run", "desk_app:simple", "x", "--in-memory", "--no-wait"],
            "--in-memory with --no-wait would do nothing",
            None,
        ),
        (["run", "desk_app:moody", "x", "--model", "a:b"], "moody is a function that names its models itself", None),
        (["run", "desk_app:pipeline", '{"first": 1}'], "the input of pipeline is not valid at first: ", None),
        (["run", "desk_app:simple", "a\udcff"], "input contains a lone surrogate", None),
        (["run", "desk_app:", "x"], "'desk_app:' names no agent", None),
        (["run", "desk_ap:simple", "x"], "there is no module named 'desk_ap'", "did you mean desk_app?"),
        (
            ["run", "desk_app.py:simple", "x"],
            "there is no module named 'desk_app.py'",
            "write it as a module: desk_app:",
        ),
        (
            ["run", "desk_app:simpel", "x"],
            "the module desk_app has no attribute 'simpel'",
            "did you mean desk_app:simple?",
        ),
        (["run", "desk_app:look", "x"], "desk_app:look is a Tool, not an agent", "its agents are: desk_app:simple"),
        (["run", "desk_app", "x"], "desk_app has 9 agents; one is needed", "its agents are: desk_app:simple"),
        (["worker", "json"], "the module json defines no agents", None),
        (["worker", "desk_app:ESCAPE"], "desk_app:ESCAPE is a str, not an agent", None),
        (["audit", "verify", "0123", "--all"], "--all already means every run of every tenant", None),
    ],
)
def test_a_wrong_command_line_ends_in_one_line_what_and_one_line_hint(
    arguments: list[str],
    what: str,
    hint: str | None,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(APP_FOLDER)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert main(arguments) == ExitCode.USAGE
    captured = capsys.readouterr()
    assert captured.out == ""
    error = re.fullmatch(r"error\[([a-z_]+)\]: (.*)\n(?:  hint: (.*)\n)?", captured.err)
    assert error, captured.err
    assert error[2].startswith(what)
    assert hint is None or (error[3] or "").startswith(hint)
    assert main([*arguments, "--json"]) == ExitCode.USAGE
    captured = capsys.readouterr()
    assert captured.out == ""
    problem = json.loads(captured.err)["error"]
    assert problem["code"] == error[1]
    assert problem["what"].startswith(what)
    assert problem["exit_code"] == ExitCode.USAGE


def test_a_module_that_raises_shows_where_without_our_own_frames(offline: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "sick.py").write_text(
        "import penstock\n\ndef deep():\n    raise OSError('\x1b[31mno disk')\n\ndeep()\n"
    )
    done = offline("run", "sick:agent", "x", PYTHONPATH=f"{offline.environment['PYTHONPATH']}:{tmp_path}")
    assert done.code == ExitCode.USAGE
    lines = done.err.splitlines()
    assert [line for line in lines if "sick.py" in line][-1].endswith("line 4, in deep")
    assert not [line for line in lines if "importlib" in line or "/penstock/" in line]
    assert "error[agent_invalid]: the module sick cannot be imported: OSError: \\x1b[31mno disk" in lines
    assert "\x1b" not in done.err


def test_a_database_that_cannot_be_reached(offline: CommandLine) -> None:
    done = offline("runs", "ls")
    assert done.code == ExitCode.JOURNAL
    assert done.err.startswith("error[journal_unavailable]: the database cannot be reached: ")
    done = offline.quick("runs", "ls", "--json")
    assert (done.code, done.out, done.error["code"]) == (ExitCode.JOURNAL, "", "journal_unavailable")
    done = offline.quick("doctor", "--json", OPENAI_API_KEY="sk-very-secret")
    assert done.code == ExitCode.JOURNAL
    states = {check["name"]: check["state"] for check in done.document["checks"]}
    assert states["database"] == "fail"
    assert states["python"] == states["keys"] == "ok"
    assert "OPENAI_API_KEY" in done.out
    assert "sk-very-secret" not in done.out + done.err


@pytest.mark.parametrize("address", ["nonsense", "postgresql://h:port/db"])
def test_an_address_that_is_none_is_said_at_once(offline: CommandLine, address: str) -> None:
    done = offline.quick("runs", "ls", PENSTOCK_DATABASE_URL=address, PENSTOCK_DATABASE_CONNECT_SECONDS="60")
    assert done.code == ExitCode.JOURNAL
    assert done.err.startswith("error[journal]: the database's address cannot be read: ")
    assert done.err.endswith("\n  hint: mend PENSTOCK_DATABASE_URL\n")


def test_settings_are_shown_but_no_secret(offline: CommandLine) -> None:
    done = offline.quick("settings", "--json", PENSTOCK_LEASE_SECONDS="20")
    assert done.code == 0
    values = {item["variable"]: item["value"] for item in done.document}
    assert values["PENSTOCK_LEASE_SECONDS"] == 20
    assert "nobody@" not in done.out
    done = offline.quick("settings", PENSTOCK_LEESE_SECONDS="7")
    assert done.code == ExitCode.USAGE
    assert done.err.startswith("error[setting_unknown]: PENSTOCK_LEESE_SECONDS names no setting\n  hint: did you mean ")


def test_without_a_database_an_agent_runs_in_memory(offline: CommandLine) -> None:
    done = offline("run", "desk_app:simple", "hello", "--in-memory")
    assert (done.code, done.out) == (0, "done\n")
    assert "succeeded · 2 steps · 1 tool call" in done.err
    done = offline.quick("run", "desk_app:pipeline", "-", "--in-memory", "--json", given='{"first": "o-7"}')
    assert done.document["output"] == "done: 2"
    assert done.document["outcome"] == "succeeded"
    assert done.document["totals"]["tool_calls"] == 2
    assert done.document["simulated"] is True


def test_an_outcome_other_than_success_is_said_and_shown_in_the_exit_code(offline: CommandLine) -> None:
    done = offline("run", "desk_app:broken", "x", "--in-memory")
    assert (done.code, done.out) == (ExitCode.FAILED, "")
    assert "failed[agent_raised]: ValueError: no way \\x1b]0;owned\\x07\\x1b[2J" in done.err
    assert "\x1b" not in done.err
    done = offline.quick("run", "desk_app:cut_off", "x", "--in-memory", "--json")
    assert done.code == ExitCode.FAILED
    assert (done.document["outcome"], done.document["code"]) == ("failed", "model_failed")
    assert done.document["partial"] is True
    assert done.document["output"] == "half "
    assert done.document["missing"] == ["the final answer"]


def test_a_model_that_cannot_be_called_is_refused_before_a_run_is_made(offline: CommandLine) -> None:
    done = offline.quick("run", "desk_app:simple", "x", "--in-memory", "--model", "nobody:gpt", "--json")
    assert (done.code, done.error["code"], done.out) == (ExitCode.USAGE, "model_unknown", "")


def test_the_reference_names_every_exit_code() -> None:
    page = (APP_FOLDER.parents[1] / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    assert set(MEANINGS) == set(ExitCode)
    for code in ExitCode:
        assert f"| {code.value} |" in page


@pytest.mark.parametrize("arguments", [["version"], ["--version"]])
def test_the_version(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == ExitCode.OK
    assert capsys.readouterr().out.startswith(f"penstock {penstock.__version__} (Python 3.")


def test_the_actor_is_the_account_unless_given() -> None:
    assert actor_or_account("ann") == "ann"
    assert actor_or_account(None)


def test_output_that_cannot_be_written_is_no_bug_of_ours(offline: CommandLine) -> None:
    command = [*PROGRAM, "settings", "--json"]
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - a device
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, env=offline.environment, check=False)
    assert done.returncode == ExitCode.FAILED
    told = json.loads(done.stderr)["error"]
    assert told["what"] == "standard output cannot be written: No space left on device"
    closed = ["sh", "-c", 'exec "$@" >&-', "sh", *PROGRAM, "version"]
    done = subprocess.run(closed, stderr=subprocess.PIPE, env=offline.environment, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_characters_that_the_locale_has_not_are_escaped(offline: CommandLine, tmp_path: Path) -> None:
    echo = "from penstock import agent\n\n@agent('echo')\nasync def echo(run, text: str) -> str:\n    return text\n"
    (tmp_path / "parrot.py").write_text(echo, encoding="utf-8")
    where = {"PYTHONPATH": f"{tmp_path}:{offline.environment.get('PYTHONPATH', '')}", "PYTHONIOENCODING": "ascii"}
    done = offline("run", "parrot:echo", "-", "--in-memory", given="\u00fcber \U0001f4a5", **where)
    assert (done.code, done.out) == (0, "\\xfcber \\U0001f4a5\n"), done.err
