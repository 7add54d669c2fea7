"""``penstock limits set`` and ``penstock limits remove``."""

from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.limits.options import ForTenant, Kind, Pattern, checked_key, limit_words
from penstock.cli.opening import execute, opened_journal
from penstock.cli.options import Actor, AsJson, actor_or_account
from penstock.cli.output import note, print_json
from penstock.cli.text import safe
from penstock.kernel.errors import InputInvalid

if TYPE_CHECKING:
    from penstock.ports.rates import Limit

REQUESTS_MAX = 10_000_000
TOKENS_MAX = 10**12


def set_limit(  # noqa: PLR0917 - each parameter is an option of the command
    kind: Kind,
    pattern: Pattern,
    requests: Annotated[int, typer.Option(help="Requests a minute; 0 = no limit.")] = 0,
    tokens: Annotated[int, typer.Option(help="Tokens a minute, of prompt and answer; 0 = no limit.")] = 0,
    concurrent: Annotated[int, typer.Option(help="Calls at a time; 0 = no limit.")] = 0,
    burst: Annotated[
        int, typer.Option(help="Requests that may start at the same moment; 0 = a second's worth.", show_default=True)
    ] = 0,
    tenant: ForTenant = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> int:
    """Set a limit that all workers share, or change it; all of its numbers are replaced.

    A call counts against every limit that covers it. With no number at all only the pauses that a provider asks for
    are shared.
    """
    from penstock.ports.rates import Limit, default_burst

    owner, _, _ = checked_key(kind, pattern, tenant)
    for name, value, most in (
        ("requests", requests, REQUESTS_MAX),
        ("tokens", tokens, TOKENS_MAX),
        ("concurrent", concurrent, REQUESTS_MAX),
        ("burst", burst, REQUESTS_MAX),
    ):
        if not 0 <= value <= most:
            raise InputInvalid(f"--{name} is {value:,}", hint=f"give a number from 0 to {most:,}")
    if tokens and kind == "tool":
        raise InputInvalid("a tool call has no tokens", hint="limit its requests, or how many run at a time")
    if burst > requests:
        raise InputInvalid(f"--burst {burst:,} is more than --requests {requests:,}", hint="give a smaller one")
    limit = Limit(
        owner,
        "model" if kind == "model" else "tool",
        pattern,
        requests,
        tokens,
        concurrent,
        burst or default_burst(requests),
    )
    return execute(_set(limit, actor_or_account(actor), as_json))


async def _set(limit: "Limit", actor: str, as_json: bool) -> int:
    async with opened_journal() as place:
        await place.journal.rates.set_limit(limit, actor)
    if as_json:
        print_json(limit)
    else:
        whose = "" if limit.tenant == "*" else f" of tenant {limit.tenant}"
        note(safe(f"{limit.kind} {limit.pattern}{whose}: {limit_words(limit)}; in force on every worker within 2 s"))
    return ExitCode.OK


def remove(kind: Kind, pattern: Pattern, tenant: ForTenant = None, as_json: AsJson = False) -> int:
    """Lift a limit."""
    return execute(_remove(checked_key(kind, pattern, tenant), as_json))


async def _remove(key: tuple[str, str, str], as_json: bool) -> int:
    async with opened_journal() as place:
        removed = await place.journal.rates.remove_limit(key)
    if not removed:
        whose = "everybody" if key[0] == "*" else f"tenant {key[0]}"
        raise InputInvalid(f"there is no limit on {key[1]} {key[2]} for {whose}", hint="see `penstock limits ls`")
    if as_json:
        print_json({"tenant": key[0], "kind": key[1], "pattern": key[2], "removed": True})
    else:
        note(safe(f"{key[1]} {key[2]}: no longer limited"))
    return ExitCode.OK
