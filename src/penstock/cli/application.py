"""The program: finds the command, runs it, and turns whatever it raises into words and an exit code."""

import contextlib
import difflib
import gc
import json
import sys
import traceback
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from penstock.cli.commands import COMMANDS, Entry, Group
from penstock.cli.exits import ExitCode, exit_code_of
from penstock.cli.standard_output import prepare, silence
from penstock.cli.text import safe
from penstock.kernel.errors import PenstockError

PROGRAM = "penstock"
_HELP = "Run LLM agents in production: every model and tool call passes a gate, is metered, journalled and stoppable."
_CONTEXT = {"help_option_names": ["-h", "--help"]}


class CommandGroup(TyperGroup):
    """A group that imports a command only when it is the one that is asked for."""

    def __init__(self, name: str, text: str, entries: Sequence[Entry | Group]) -> None:
        super().__init__(
            name=name, help=text, rich_markup_mode=None, no_args_is_help=True, context_settings=dict(_CONTEXT)
        )
        self.entries = {entry.name: entry for entry in entries}

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.entries)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        near = difflib.get_close_matches(args[0], self.entries, n=1)
        if args[0] not in self.entries and near and not args[0].startswith("-"):
            ctx.fail(f"no such command {args[0]!r}; did you mean {near[0]!r}?")
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        entry = self.entries.get(cmd_name)
        if entry is None:
            return None
        if isinstance(entry, Group):
            return CommandGroup(entry.name, entry.text, entry.entries)
        return load_command(entry)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(entry.name, entry.text) for entry in self.entries.values()])


def load_command(entry: Entry) -> TyperCommand:
    """Import a command's function and make a command of it."""
    module, function = entry.place.split(":")
    application = typer.Typer(add_completion=False, rich_markup_mode=None)
    application.command(entry.name, context_settings=dict(_CONTEXT))(getattr(import_module(module), function))
    command = typer.main.get_command(application)
    assert isinstance(command, TyperCommand)
    return command


def root() -> CommandGroup:
    """The program as one command."""
    return CommandGroup(PROGRAM, _HELP, COMMANDS)


@contextlib.contextmanager
def _collecting_seldom() -> Iterator[None]:
    """What a command imports stays until its end: looking for garbage among it took a fifth of a short command."""
    before = gc.get_threshold()
    gc.set_threshold(50_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)


@_collecting_seldom()
def run_command(arguments: Sequence[str] | None) -> int:
    """Run what the arguments ask for; the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["--version"]:
        given[0] = "version"
    as_json = "--json" in given[: given.index("--")] if "--" in given else "--json" in given
    prepare()
    try:
        code = root().main(given, prog_name=PROGRAM, standalone_mode=False)
        sys.stdout.flush()
    except PenstockError as error:
        code = exit_code_of(error)
        complain(error.code, error.what, error.advice, code, as_json=as_json, trace=error.fields.get("traceback", ""))
    except typer.TyperException as error:
        return _misused(error, as_json=as_json)
    except (KeyboardInterrupt, typer.Abort):
        code = ExitCode.INTERRUPTED
    except (BrokenPipeError, SystemExit):
        # Whoever read our output has gone, for example `head` (typer makes a SystemExit of it): nothing is left to say,
        # and nowhere to say it.
        silence()
        code = ExitCode.OK
    except Exception as error:  # noqa: BLE001 - a bug must still end in words and a code
        trace = "".join(traceback.format_exception(error))
        words = f"{type(error).__name__}: {error}"
        code = ExitCode.INTERNAL
        complain(
            "internal",
            words,
            "this is a bug in penstock; report it with the lines above",
            code,
            as_json=as_json,
            trace=trace,
        )
    return int(code or 0)


def complain(code: str, what: str, hint: str, exit_code: int, *, as_json: bool, trace: str = "") -> None:
    """Say on standard error what went wrong: one line what, one line what to do. With --json, one JSON object."""
    if as_json:
        problem = {"code": code, "what": what, "hint": hint, "exit_code": int(exit_code)}
        sys.stderr.write(json.dumps({"error": problem}) + "\n")
        return
    if trace:
        sys.stderr.write(safe(trace.rstrip("\n"), lines=True) + "\n")
    sys.stderr.write(f"error[{code}]: {safe(what, lines=True)}\n")
    if hint:
        sys.stderr.write(f"  hint: {safe(hint)}\n")


def _misused(error: typer.TyperException, *, as_json: bool) -> int:
    """A command line that cannot be parsed."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError" and context is not None:
        sys.stdout.write(context.get_help() + "\n")
        return ExitCode.USAGE
    format_message = getattr(error, "format_message", lambda: str(error))
    what = format_message().rstrip(".")
    place = context.command_path if context is not None else PROGRAM
    complain("usage", what[:1].lower() + what[1:], f"see `{place} --help`", ExitCode.USAGE, as_json=as_json)
    return ExitCode.USAGE
