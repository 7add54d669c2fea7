"""``penstock settings``."""

import dataclasses

from penstock.cli.exits import ExitCode
from penstock.cli.opening import configured
from penstock.cli.options import AsJson
from penstock.cli.output import columns, print_json, say

HIDDEN = "(set, not shown)"


def settings(as_json: AsJson = False) -> int:
    """Show every setting: its variable, its value here, and what it is. Secrets are not shown."""
    from penstock.settings import Settings, describe

    now = configured()
    texts = {doc.variable: doc.text for doc in describe()}
    found = []
    for field in dataclasses.fields(Settings):
        variable = f"PENSTOCK_{field.name.upper()}"
        value = getattr(now, field.name)
        shown = HIDDEN if field.metadata["secret"] and value is not None else value
        found.append({"variable": variable, "value": shown, "text": texts[variable]})
    if as_json:
        print_json(found)
    else:
        rows = [
            (item["variable"], "-" if item["value"] is None else str(item["value"]), item["text"]) for item in found
        ]
        say(columns(("VARIABLE", "VALUE", "WHAT IT IS"), rows, drop=("WHAT IT IS",)))
    return ExitCode.OK
