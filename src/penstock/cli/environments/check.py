"""``penstock environments check``."""

from typing import Annotated

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.opening import configured
from penstock.cli.options import AsJson
from penstock.cli.output import print_json, say
from penstock.cli.text import plural, safe
from penstock.kernel.errors import EnvironmentInvalid, UsageError


def check(
    target: Annotated[
        str | None,
        typer.Argument(metavar="[MODULE[:ATTR]]", help="Agents whose tools are looked at besides.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Read the environments file, and say what would be missing here: for the agents that are named, too."""
    from penstock.cli.environments.look import look
    from penstock.cli.loading import import_from_here, load_agents

    import_from_here()
    settings = configured()
    try:
        found = look(settings, load_agents(target) if target else ())
    except EnvironmentInvalid as error:
        problems = error.fields.get("problems") or [error.what]
        if as_json:
            print_json({"ok": False, "problems": problems})
        else:
            for words in problems:
                say(f"error: {safe(words)}")
        return ExitCode.FAILED
    if found is None:
        raise UsageError("there is no environments file", hint="set PENSTOCK_ENVIRONMENTS to one")
    if as_json:
        print_json({"ok": found.is_sound, **_fields(found)})
        return ExitCode.OK if found.is_sound else ExitCode.FAILED
    for words in found.problems:
        say(f"error: {safe(words)}")
    for secret in found.secrets:
        if not secret.present:
            say(safe(f"error: the secret {secret.name} is not in {secret.place}"))
    for tool, names in found.needed.items():
        say(safe(f"error: {tool} needs {', '.join(names)}, which {'is' if len(names) == 1 else 'are'} not there"))
    for tool, words in found.barred.items():
        say(safe(f"denied: {tool}: {words}"))
    state = "sound" if found.is_sound else "not sound"
    bound = sum(tool.stands == "bound" for tool in found.tools)
    say(f"{state}: {safe(found.environment)}, {plural(bound, 'bound tool')}, {plural(len(found.secrets), 'secret')}")
    return ExitCode.OK if found.is_sound else ExitCode.FAILED


def _fields(found: object) -> dict[str, object]:
    from penstock.cli.output import plain

    known = plain(found)
    return dict(known) if isinstance(known, dict) else {}
