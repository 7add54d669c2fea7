"""What the commands of ``penstock limits`` have in common."""

from typing import TYPE_CHECKING, Annotated

import typer

from penstock.kernel.errors import InputInvalid

if TYPE_CHECKING:
    from penstock.ports.rates import Limit

KINDS = ("model", "tool")
PATTERN_MAX_CHARS = 256

Kind = Annotated[str, typer.Argument(metavar="KIND", help="model or tool.")]
Pattern = Annotated[
    str, typer.Argument(metavar="PATTERN", help="A name, or the beginning of names followed by *: openai:*, crm.*")
]
ForTenant = Annotated[
    str | None, typer.Option("--tenant", help="Only this tenant's calls; default everybody's.", show_default=False)
]


def checked_key(kind: str, pattern: str, tenant: str | None) -> tuple[str, str, str]:
    """The key of a limit.

    Raises:
        InputInvalid: the kind or the pattern cannot be.
    """
    if kind not in KINDS:
        raise InputInvalid(f"there is no kind {kind!r}", hint="model or tool")
    if not pattern or len(pattern) > PATTERN_MAX_CHARS or "*" in pattern[:-1] or not pattern.isprintable():
        raise InputInvalid(
            f"{pattern[:64]!r} is no pattern", hint="a name, or the beginning of names and one * at its end"
        )
    if tenant in ("", "*"):
        raise InputInvalid(f"there is no tenant {tenant!r}", hint="leave --tenant out for everybody's calls")
    return tenant or "*", kind, pattern


def limit_words(limit: "Limit") -> str:
    """What a limit allows, for people."""
    words = []
    if limit.requests:
        words.append(f"{limit.requests:,} requests a minute ({limit.burst:,} at once)")
    if limit.tokens:
        words.append(f"{limit.tokens:,} tokens a minute")
    if limit.concurrent:
        words.append(f"{limit.concurrent:,} at a time")
    return ", ".join(words) or "cool-downs only"
