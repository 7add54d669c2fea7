"""``penstock limits ls``."""

from typing import TYPE_CHECKING

from penstock.cli.exits import ExitCode
from penstock.cli.limits.options import limit_words
from penstock.cli.opening import execute, opened_journal
from penstock.cli.options import AsJson
from penstock.cli.output import columns, note, plain, print_json, say

if TYPE_CHECKING:
    from penstock.ports.rates import LimitUse


def ls(as_json: AsJson = False) -> int:
    """Show the shared limits: what the last minute used, what is in flight, who waits, what pauses."""
    return execute(_ls(as_json))


async def _ls(as_json: bool) -> int:
    async with opened_journal() as place:
        uses = await place.journal.rates.use()
    if as_json:
        print_json([{**plain(use.limit), **_meters(use)} for use in uses])
    elif uses:
        _print(uses)
    else:
        note("no limits; `penstock limits set model 'openai:*' --requests 500` sets one")
    return ExitCode.OK


def _meters(use: "LimitUse") -> dict[str, object]:
    return {
        "last_minute": {"requests": use.requests, "tokens": use.tokens},
        "in_flight": use.in_flight,
        "waiting": use.waiting,
        "oldest_wait_seconds": round(max(0, use.now - use.oldest) / 1e6, 3) if use.oldest else 0,
        "cooldown_seconds": round(max(0, use.cooldown_until - use.now) / 1e6, 3) if use.cooldown_until else 0,
        "cooldown_code": use.cooldown_code,
    }


def _print(uses: "list[LimitUse]") -> None:
    from penstock.views.lines import duration

    table = []
    for use in uses:
        limit = use.limit
        used = f"{use.requests:,} requests"
        if limit.kind == "model":
            used += f", {use.tokens:,} tokens"
        waits = f"{use.waiting:,}, for {duration(max(0, use.now - use.oldest))}" if use.waiting else "-"
        pause = f"{duration(use.cooldown_until - use.now)} ({use.cooldown_code})" if use.cooldown_until else "-"
        flight = f"{use.in_flight:,}" if limit.concurrent else "-"
        table.append((limit.tenant, limit.kind, limit.pattern, limit_words(limit), used, flight, waits, pause))
    head = ("TENANT", "KIND", "PATTERN", "ALLOWED", "LAST MINUTE", "IN FLIGHT", "WAIT", "PAUSED")
    say(columns(head, table, drop=("TENANT", "IN FLIGHT")))
