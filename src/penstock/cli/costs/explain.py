"""``penstock costs explain``."""

from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.costs.stretch import Since, seconds
from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute, opened_journal
from penstock.cli.options import AsJson, Tenant
from penstock.cli.output import columns, note, print_json, say
from penstock.cli.text import safe
from penstock.kernel.money import show_usd

if TYPE_CHECKING:
    from penstock.views.cost_reasons import Explanation


def explain(
    customer: Annotated[str, typer.Argument(help="The customer, as the tag names it.")],
    feature: Annotated[str, typer.Option(help="Only its runs of this feature, against others' of it.")] = "",
    since: Since = "7d",
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """Say why a customer's runs cost what they cost: which runs, which spiral, which step, against the others."""
    return execute(_explain(customer, feature, seconds(since), as_json, tenant))


async def _explain(customer: str, feature: str, length: int, as_json: bool, tenant: str | None) -> int:
    from penstock.views.cost_reasons import explain as explained

    async with opened_journal(tenant) as place:
        now = await place.journal.now()
        found = await explained(
            place.journal,
            place.tenant,
            customer,
            feature=feature,
            since=now - length * 1_000_000,
            until=now,
        )
    if as_json:
        print_json(found)
    else:
        _draw(found)
    if found.partial:
        note("records of some runs are gone, or there are too many runs to look at all")
    return ExitCode.OK


def _draw(found: "Explanation") -> None:
    say(safe(found.words))
    for reason in found.reasons:
        say(f"  {reason.share:>4.0%}  {safe(reason.words)}")
    if found.by_kind:
        say(columns(("PAID FOR", "SPENT"), [(kind or "-", show_usd(nano)) for kind, nano in found.by_kind.items()]))
    if found.by_step:
        steps = [(safe(name) or "(first)", show_usd(nano)) for name, nano in found.by_step.items()]
        say(columns(("AFTER STEP", "SPENT"), steps))
    if found.dearest:
        rows = [
            (str(one.row.id), show_usd(one.nano), one.row.outcome or "-", str(one.row.summary.steps), safe(one.circles))
            for one in found.dearest
        ]
        say(columns(("RUN", "SPENT", "OUTCOME", "STEPS", "REPEATED"), rows))
