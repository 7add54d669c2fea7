"""``penstock costs rebuild``."""

from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute, opened
from penstock.cli.options import AsJson, Tenant
from penstock.cli.output import print_json, say


def rebuild(tenant: Tenant = None, as_json: AsJson = False) -> int:
    """Add up what runs have spent anew, from their records, while everything goes on.

    The sums are read as before until the new ones are whole. Hours in which runs ended whose records were pruned stay
    as they were counted.
    """
    return execute(_rebuild(tenant, as_json))


async def _rebuild(tenant: str | None, as_json: bool) -> int:
    from penstock.runs.usage import Counting

    async with opened(tenant) as platform:
        runs = await Counting(platform.services).again(platform.tenant)
    if as_json:
        print_json({"runs": runs})
    else:
        say(f"counted {runs:,} runs")
    return ExitCode.OK
