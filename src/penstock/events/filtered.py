"""What filters found in what a call was given or gave: kinds and how often, never the values."""

import msgspec


class Filtered(msgspec.Struct, frozen=True, omit_defaults=True):
    """One kind of finding, and what was done about it."""

    kind: str
    action: str  # flag | redact | tokenise | block
    count: int = 1
