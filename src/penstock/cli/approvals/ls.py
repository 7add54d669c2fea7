"""``penstock approvals ls``."""

from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute, opened
from penstock.cli.options import AsJson, Tenant
from penstock.cli.output import columns, note, print_json, say
from penstock.cli.text import brief

ARGS_WIDTH = 60


def ls(tenant: Tenant = None, as_json: AsJson = False) -> int:
    """List what waits for a person: calls that need an approval, and effects in doubt."""
    return execute(_ls(tenant, as_json))


async def _ls(tenant: str | None, as_json: bool) -> int:
    from penstock.views.lines import QUESTIONS, duration

    async with opened(tenant) as platform:
        found = await platform.approvals()
        now = await platform.journal.now()
    found.sort(key=lambda item: item.asked_at)
    if as_json:
        print_json(found)
    elif not found:
        note("nothing waits for a person")
    else:
        rows = [
            (
                item.id,
                QUESTIONS.get(item.question, item.question),
                item.tool,
                brief(item.args, ARGS_WIDTH),
                item.risk,
                item.agent,
                duration(max(0, now - item.asked_at)),
                f"in {duration(max(0, item.expires - now))}" if item.expires else "never",
            )
            for item in found
        ]
        head = ("ID", "QUESTION", "TOOL", "ARGUMENTS", "RISK", "AGENT", "WAITED", "EXPIRES")
        say(columns(head, rows, drop=("AGENT", "RISK", "EXPIRES", "QUESTION", "WAITED")))
    return ExitCode.OK
