"""What the commands of ``penstock budgets`` have in common."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from penstock.kernel.errors import BudgetInvalid

if TYPE_CHECKING:
    from penstock.ports.budgets import Account, Budget

T = TypeVar("T")
BudgetName = Annotated[str, typer.Argument(metavar="NAME", help="The budget's name.")]
ForTenant = Annotated[
    str | None, typer.Option("--tenant", help="Whose budget; default PENSTOCK_TENANT.", show_default=False)
]
Usd = Annotated[str, typer.Option("--usd", help="Dollars, for example 250 or 0.50.", show_default=False)]
Tokens = Annotated[int, typer.Option("--tokens", help="Tokens, of prompts and answers.", show_default=False)]
Calls = Annotated[int, typer.Option("--calls", help="Calls of models and tools.", show_default=False)]


def parsed_match(given: list[str]) -> dict[str, str]:
    """``name=value`` texts as a match.

    Raises:
        BudgetInvalid: one has no ``=``, or a name is given twice.
    """
    match: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or name in match:
            raise BudgetInvalid(
                f"--match {text[:100]!r} cannot be read", hint="write customer=acme, or customer=*; each name once"
            )
        match[name] = value
    return match


def one_of(given: str, known: "Sequence[T]", what: str) -> "T":
    """The one that was given.

    Raises:
        BudgetInvalid: there is no such one.
    """
    found = [item for item in known if item == given]
    if not found:
        raise BudgetInvalid(f"there is no {what} {given[:50]!r}", hint=f"one of {', '.join(map(str, known))}")
    return found[0]


def limit_words(budget: "Budget") -> str:
    """What a budget allows, for people."""
    from penstock.kernel.money import show_usd

    words = [show_usd(budget.nano)] if budget.nano else []
    words += [f"{budget.tokens:,} tokens"] if budget.tokens else []
    words += [f"{budget.calls:,} calls"] if budget.calls else []
    each = {"run": "run", "hour": "hour", "day": "day", "month": "month", "total": ""}[budget.period]
    return ", ".join(words) + (f" a {each}" if each else " in all")


def match_words(match: "dict[str, str]") -> str:
    """What a budget covers, for people."""
    return ", ".join(f"{name}={value}" for name, value in sorted(match.items())) or "everything"


def used_words(account: "Account", budget: "Budget") -> str:
    """How an account stands, for people."""
    from penstock.kernel.money import show_usd

    words = []
    for part, limit in enumerate(budget.limits):
        if limit:
            shown = (show_usd, lambda n: f"{n:,} tokens", lambda n: f"{n:,} calls")[part]
            held = f" (and {shown(account.held[part])} held)" if account.held[part] else ""
            words.append(f"{shown(account.used[part])} of {shown(limit)}{held}")
    return ", ".join(words)


def as_plain(budget: "Budget", accounts: "list[Account]") -> dict[str, Any]:
    """A budget and its accounts for ``--json``."""
    return {
        "tenant": budget.tenant,
        "name": budget.name,
        "match": dict(budget.match),
        "period": budget.period,
        "timezone": budget.timezone,
        "nano": budget.nano,
        "tokens": budget.tokens,
        "calls": budget.calls,
        "at_end": budget.at_end,
        "accounts": [
            {
                "who": account.who,
                "since": account.since,
                "until": account.until,
                "spent": dict(zip(("nano", "tokens", "calls"), account.used, strict=True)),
                "held": dict(zip(("nano", "tokens", "calls"), account.held, strict=True)),
                "threshold": account.told,
            }
            for account in accounts
        ],
    }
