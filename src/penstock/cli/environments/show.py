"""``penstock environments show``."""

from typing import TYPE_CHECKING

from penstock.cli.exits import ExitCode
from penstock.cli.opening import configured
from penstock.cli.options import AsJson
from penstock.cli.output import columns, note, print_json, say
from penstock.cli.text import safe

if TYPE_CHECKING:
    from penstock.cli.environments.look import Look


def show(as_json: AsJson = False) -> int:
    """Show what is in force here: what acts in the place of tools, which secrets there are, what may be reached.

    Never a secret's value.
    """
    from penstock.cli.environments.look import look
    from penstock.cli.loading import import_from_here

    import_from_here()
    settings = configured()
    found = look(settings)
    if found is None:
        if as_json:
            print_json({"environment": settings.environment, "file": None})
        else:
            note(f"this is the environment {settings.environment}; PENSTOCK_ENVIRONMENTS names no file")
        return ExitCode.OK
    if as_json:
        print_json(found)
    else:
        say_look(found)
    return ExitCode.OK


def say_look(found: "Look") -> None:
    """What was found, as text."""
    others = f"; it has {', '.join(found.others)} besides" if found.others else ""
    say(safe(f"environment {found.environment} of {found.file}{others}"))
    unbound = "denied" if found.writes == "bound" else "called as they are declared"
    say(f"writes that nothing is bound to are {unbound}")
    if found.tools:
        rows = [(safe(tool.tool), safe(tool.place), tool.stands, safe(tool.why)) for tool in found.tools]
        say("\n" + columns(("TOOL", "IN ITS PLACE", "STANDS", ""), rows))
    if found.secrets:
        held = [(safe(item.name), safe(item.place), "there" if item.present else "missing") for item in found.secrets]
        say("\n" + columns(("SECRET", "KEPT IN", "STANDS"), held))
    if found.egress is None:
        say("\nany host may be reached")
    else:
        say(f"\nmay be reached: {safe(', '.join(found.egress)) or 'nothing but what the installation itself needs'}")
