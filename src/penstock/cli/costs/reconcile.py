"""``penstock costs reconcile``."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute, opened
from penstock.cli.options import AsJson, Tenant
from penstock.cli.output import columns, note, plain, print_json, say
from penstock.cli.text import safe
from penstock.kernel.errors import UsageError
from penstock.kernel.money import show_usd

if TYPE_CHECKING:
    from penstock.views.reconciling import Line, Reconciled


def reconcile(
    file: Annotated[Path, typer.Argument(help="The usage file that the provider let you export (CSV).")],
    provider: Annotated[str, typer.Option(help="openai or anthropic.")],
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """Compare a provider's usage file with what was recorded, by day and model, and say what explains a difference.

    Calls count on the day (UTC) on which they were settled; providers count them when they came. Close to midnight the
    days may differ; over several days they should not.
    """
    if provider not in ("openai", "anthropic"):
        raise UsageError(f"--provider is {provider!r}", hint="openai or anthropic")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read: {error}") from error
    return execute(_reconcile(text, provider, as_json, tenant))


async def _reconcile(text: str, provider: str, as_json: bool, tenant: str | None) -> int:
    from penstock.adapters.prices import PriceList
    from penstock.views.reconciling import reconcile as reconciled

    async with opened(tenant) as platform:
        prices = PriceList.from_file(platform.services.settings.prices_file, platform.services.clock)
        found = await reconciled(
            platform.journal,
            platform.tenant,
            cast("Literal['openai', 'anthropic']", provider),
            text.splitlines(),
            price_of=lambda name: prices.price_of(name) or prices.embedding_price_of(name),
        )
    if as_json:
        print_json({**plain(found), "lines": [_line(line) for line in found.lines]})
    else:
        _draw(found)
    if found.partial:
        note("this is not all of ours: records of some runs are gone, or there are too many")
    return ExitCode.OK


def _line(line: "Line") -> dict[str, object]:
    return {**plain(line), "difference": line.difference, "words": line.words}


def _draw(found: "Reconciled") -> None:
    rows = [
        (
            datetime.fromtimestamp(line.day // 1_000_000, UTC).date().isoformat(),
            safe(line.model),
            f"{line.ours.tokens_in:,}+{line.ours.tokens_out:,}",
            f"{line.theirs.tokens_in:,}+{line.theirs.tokens_out:,}",
            f"{line.difference:+,}",
            show_usd(line.ours.nano),
            show_usd(line.theirs.nano),
            line.words,
        )
        for line in found.lines
    ]
    head = ("DAY", "MODEL", "OURS", "THEIRS", "DIFFERENCE", "OUR MONEY", "THEIR MONEY", "WHY")
    say(columns(head, rows, drop=("THEIR MONEY", "OUR MONEY")))
