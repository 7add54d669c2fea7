"""``penstock queue weight``."""

from typing import Annotated

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute, opened_journal
from penstock.cli.options import AsJson, Tenant
from penstock.cli.output import columns, note, print_json, say
from penstock.kernel.errors import UsageError


def weight(
    customer: Annotated[
        str | None,
        typer.Argument(metavar="[CUSTOMER]", help='The customer tag; "" = runs without one.', show_default=False),
    ] = None,
    shares: Annotated[
        float | None, typer.Argument(metavar="[WEIGHT]", help="How many shares, 0.01 to 1000.", show_default=False)
    ] = None,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """Give a customer more or less than one share of the runs taken, for what is submitted from now on.

    Without arguments, shows the weights that are not 1.
    """
    if customer is not None and shares is None:
        raise UsageError("a weight is missing", hint="for example: penstock queue weight acme 3")
    return execute(_weight(customer, shares, tenant, as_json))


async def _weight(customer: str | None, shares: float | None, tenant: str | None, as_json: bool) -> int:
    async with opened_journal(tenant) as place:
        queue = place.journal.queue
        if customer is not None and shares is not None:
            await queue.set_weight(place.tenant, customer, shares)
        weights = await queue.weights(place.tenant)
    if as_json:
        print_json({"tenant": place.tenant, "weights": weights})
    elif weights:
        say(columns(("CUSTOMER", "WEIGHT"), [(name or "-", f"{value:g}") for name, value in weights.items()]))
    else:
        note("every customer has weight 1")
    return ExitCode.OK
