"""What the reference page says of each setting."""

import dataclasses
from collections.abc import Iterator

from penstock.settings.checks import kind_of, show, variable_of
from penstock.settings.serving import ServingSettings
from penstock.settings.table import Settings


@dataclasses.dataclass(frozen=True, slots=True)
class SettingDoc:
    """One row of the reference page."""

    variable: str
    default: str
    unit: str
    bounds: str
    text: str


def describe() -> Iterator[SettingDoc]:
    """Every setting in the order of the table, in words for people."""
    of_the_server = {entry.name for entry in dataclasses.fields(ServingSettings)}
    for entry in sorted(dataclasses.fields(Settings), key=lambda entry: entry.name in of_the_server):
        about = entry.metadata
        low, high = about["low"], about["high"]
        bounds = "" if low is None else f"{show(low)} to {show(high)}"
        if bounds and kind_of(entry) is str:
            bounds += " characters"
        shown = about["shown"] or ("none" if entry.default is None else show(entry.default))
        yield SettingDoc(variable_of(entry.name), shown, about["unit"], bounds, about["text"])
