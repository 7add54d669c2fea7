"""Whether a value fits its setting: type, bounds, and what must hold between settings."""

import dataclasses
import difflib
import math
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.kernel.errors import SettingInvalid, SettingUnknown

if TYPE_CHECKING:
    from penstock.settings.table import Settings

PREFIX = "PENSTOCK_"


def variable_of(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper()


def kind_of(entry: "dataclasses.Field[Any]") -> type:
    """A setting's type without its None: str, int, float or Path."""
    kinds = [part for part in (typing.get_args(entry.type) or (entry.type,)) if part is not type(None)]
    return typing.cast("type", kinds[0])


def _is_optional(entry: "dataclasses.Field[Any]") -> bool:
    return type(None) in typing.get_args(entry.type)


_WORDS = {int: "a whole number", float: "a number", str: "a text", Path: "a path"}


def parse(kind: type, name: str, text: str) -> object:
    """The value that the text of a variable stands for."""
    try:
        value = kind(text)
    except ValueError:
        raise _wrong_kind(kind, name, text) from None
    return value.expanduser() if isinstance(value, Path) else value


def checked(entry: "dataclasses.Field[Any]", value: object) -> object:
    """The value as it is kept.

    Raises:
        SettingInvalid: it is of the wrong type or outside its bounds.
    """
    value = _checked_type(entry, value)
    _check_bounds(entry, value)
    return value


def _checked_type(entry: "dataclasses.Field[Any]", value: object) -> object:
    name, kind = entry.name, kind_of(entry)
    if value is None and _is_optional(entry):
        return None
    if kind is float and type(value) is int:
        value = float(value)
    if kind is Path and isinstance(value, str):
        value = Path(value)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise _wrong_kind(kind, name, value)
    if isinstance(value, float) and not math.isfinite(value):
        raise _wrong_kind(kind, name, value)
    return value


def _wrong_kind(kind: type, name: str, value: object) -> SettingInvalid:
    return SettingInvalid(
        f"{variable_of(name)} is {value!r}, which is not {_WORDS[kind]}",
        hint=f"set it to {_WORDS[kind]}, or unset it to use the default",
        setting=name,
    )


def _check_bounds(entry: "dataclasses.Field[Any]", value: object) -> None:
    low, high = entry.metadata["low"], entry.metadata["high"]
    size = len(value) if isinstance(value, str) else value
    if low is None or not isinstance(size, int | float) or low <= size <= high:
        return
    unit = " characters long" if isinstance(value, str) else f" {entry.metadata['unit']}".rstrip()
    raise SettingInvalid(
        f"{variable_of(entry.name)} is {value!r}, which is outside its bounds",
        hint=f"choose a value from {show(low)} to {show(high)}{unit}",
        setting=entry.name,
    )


def check_relations(settings: "Settings") -> None:
    """What must hold between settings: (left, right) means left must not exceed right."""
    for left, right, reason in (
        (
            "poll_seconds",
            "lease_seconds",
            "a worker must look more often than leases end",
        ),
        (
            "loop_block_max_seconds",
            "lease_seconds",
            "a stuck worker must end before another takes over its runs",
        ),
        ("event_max_bytes", "batch_max_bytes", "a single event must fit into an append"),
        ("event_max_bytes", "history_max_bytes", "a single event must fit into a history"),
        ("input_max_bytes", "payload_max_bytes", "an input is stored as a payload"),
        ("document_max_bytes", "payload_max_bytes", "what a run reads and writes is stored as a payload"),
    ):
        if getattr(settings, left) > getattr(settings, right):
            raise SettingInvalid(
                f"{variable_of(left)} ({show(getattr(settings, left))}) is larger than "
                f"{variable_of(right)} ({show(getattr(settings, right))})",
                hint=f"lower the first or raise the second: {reason}",
                setting=left,
            )


def unknown(variable: str, names: set[str]) -> SettingUnknown:
    """The error for a variable that names no setting, with the nearest one."""
    known = [variable_of(name) for name in sorted(names)]
    near = difflib.get_close_matches(variable.upper(), known, n=1, cutoff=0.0)
    return SettingUnknown(
        f"{variable} names no setting",
        hint=f"did you mean {near[0]}? All settings are in docs/reference/settings.md",
        setting=variable,
        nearest=near[0],
    )


def show(value: object) -> str:
    """A value as people write it."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return f"{value:,}" if isinstance(value, int) else str(value)
