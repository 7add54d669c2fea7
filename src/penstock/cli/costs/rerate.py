"""``penstock costs rerate`` and ``rerates``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.costs.stretch import Begin, End, moment
from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute, opened
from penstock.cli.options import AsJson, Tenant
from penstock.cli.output import columns, note, print_json, say
from penstock.cli.text import safe
from penstock.kernel.errors import PriceUnknown, UsageError
from penstock.kernel.money import show_usd

if TYPE_CHECKING:
    from penstock.views.rerating import Rerate


def rerate(
    model: Annotated[str, typer.Option(help="The model, as records name it: provider:model.")],
    since: Begin,
    until: End = None,
    *,
    prices: Annotated[
        Path | None, typer.Option(help="A file of prices, as PENSTOCK_PRICES_FILE names; without it the prices of now.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why, for the record.")] = "",
    keep: Annotated[bool, typer.Option(help="Keep it on record; --no-keep only shows it.")] = True,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """Rate a model's calls anew at corrected prices; what was billed stays as it is, and both are kept.

    Calls that were charged at their maximum, because the real figure was lost, cannot be rated and stay.
    """
    if len(reason) > 500:
        raise UsageError("--reason is longer than 500 characters")
    return execute(_rerate(model, since, until, prices, reason, keep=keep, as_json=as_json, tenant=tenant))


async def _rerate(
    model: str,
    since: str,
    until: str | None,
    prices: Path | None,
    reason: str,
    *,
    keep: bool,
    as_json: bool,
    tenant: str | None,
) -> int:
    from penstock.adapters.prices import PriceList
    from penstock.views.rerating import rerate as rerated

    async with opened(tenant) as platform:
        clock, settings = platform.services.clock, platform.services.settings
        listed = PriceList.from_file(prices or settings.prices_file, clock)
        price = listed.price_of(model) or listed.embedding_price_of(model)
        if price is None:
            raise PriceUnknown(f"no price of {model!r} is known", hint="name a file with its prices with --prices")
        now = await platform.journal.now()
        begin, end = moment(since, now), now if until is None else moment(until, now, "--until")
        if begin >= end:
            raise UsageError("the stretch ends before it begins")
        made = await rerated(
            platform.journal, clock, platform.tenant, model, price, begin, end, reason=reason, keep=keep
        )
    if as_json:
        print_json({**_figures(made), "rows": made.rows})
    else:
        _draw(made)
    if made.partial:
        note(f"this is not all: records of {made.pruned:,} runs are gone, or there are too many or unreadable ones")
    return ExitCode.OK


def rerates(tenant: Tenant = None, as_json: AsJson = False) -> int:
    """List re-ratings, the newest first."""
    return execute(_rerates(as_json, tenant))


async def _rerates(as_json: bool, tenant: str | None) -> int:
    from penstock.views.rerating import rerates as kept

    async with opened(tenant) as platform:
        found = await kept(platform.journal, platform.tenant)
    if as_json:
        print_json([{**_figures(made), "rows": made.rows} for made in found])
    elif found:
        rows = [
            (str(made.id), made.model, show_usd(made.billed), show_usd(made.corrected), safe(made.reason) or "-")
            for made in found
        ]
        say(columns(("ID", "MODEL", "BILLED", "CORRECTED", "REASON"), rows))
    else:
        note("nothing was rated anew")
    return ExitCode.OK


def _figures(made: "Rerate") -> dict[str, object]:
    names = (
        "id",
        "at",
        "model",
        "since",
        "until",
        "price",
        "before",
        "billed",
        "corrected",
        "partial",
        "pruned",
        "reason",
    )
    return {name: getattr(made, name) for name in names}


def _draw(made: "Rerate") -> None:
    if not made.rows:
        note(f"no call of {made.model} was settled in that time")
        return
    rows = [
        (
            safe(row.customer) or "-",
            f"{row.calls:,}",
            show_usd(row.billed),
            show_usd(row.corrected),
            _signed(row.difference),
        )
        for row in made.rows
    ]
    calls = sum(row.calls for row in made.rows)
    difference = made.corrected - made.billed
    rows.append(("(all)", f"{calls:,}", show_usd(made.billed), show_usd(made.corrected), _signed(difference)))
    say(columns(("CUSTOMER", "CALLS", "BILLED", "CORRECTED", "DIFFERENCE"), rows))
    say(f"now: {safe(made.price)}")
    for price, count in made.before.items():
        say(f"billed: {safe(price) or 'no price on record'} ({count:,} calls)")


def _signed(nano: int) -> str:
    return f"{'-' if nano < 0 else '+'}{show_usd(abs(nano))}"
