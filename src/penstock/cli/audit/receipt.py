"""``penstock audit receipt``: what calls did in a form that others define, and whether a receipt says what was done."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from penstock.cli.audit.options import noted, read_text, reading
from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute, find_run
from penstock.cli.options import Actor, AsJson, RunId, Tenant, actor_or_account
from penstock.cli.output import print_json, say
from penstock.cli.text import safe
from penstock.kernel.errors import InputInvalid, RunUnknown, SpanUnknown


def receipt(
    run: RunId,
    step: Annotated[
        str | None, typer.Argument(metavar="[RECEIPT]", help="A receipt's id; without it all of the run's.")
    ] = None,
    held: Annotated[
        Path | None,
        typer.Option("--check", metavar="FILE", help="Check the receipts in a file instead.", show_default=False),
    ] = None,
    actor: Actor = None,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """Print Action Receipts (AgentBoundary v0.2-alpha) of a run's writes, and of the calls that were refused to it.

    A receipt holds a hash of the arguments without a salt: whoever has it can test a guess at them.
    """
    return execute(_receipt(run, step, held, actor_or_account(actor), tenant, as_json))


async def _receipt(run: str, step: str | None, held: Path | None, actor: str, tenant: str | None, as_json: bool) -> int:
    from penstock.views.receipts import receipts_of

    async with reading(tenant) as platform:
        found = await find_run(platform.journal, platform.tenant, run)
        row = await platform.journal.get_run(platform.tenant, found)
        if row is None:
            raise RunUnknown(f"there is no run {run}")
        receipts = await receipts_of(platform.journal, row)
        if held is not None:
            return _checked(_read(held), receipts, as_json)
        if step is not None:
            receipts = [item for item in receipts if item["receipt_id"] == step]
            if not receipts:
                raise SpanUnknown(f"run {row.id} has no receipt {step!r}", hint="leave the id out to see all")
        await noted(platform, actor, "audit.export", str(row.id), {"receipts": len(receipts)})
    print_json(receipts)
    return ExitCode.OK


def _read(path: Path) -> list[Any]:
    try:
        said = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise InputInvalid(f"{path} is no JSON: {error}") from error
    return said if isinstance(said, list) else [said]


def _checked(held: list[Any], receipts: list[dict[str, Any]], as_json: bool) -> int:
    from penstock.views.receipts import check

    wrong: list[tuple[int, str]] = []
    seen: set[str] = set()
    for number, item in enumerate(held, 1):
        wrong += [(number, words) for words in check(item, receipts, seen)]
        seen |= {item["receipt_id"]} if isinstance(item, dict) and isinstance(item.get("receipt_id"), str) else set()
    if as_json:
        print_json({"ok": not wrong, "problems": [{"receipt": number, "what": words} for number, words in wrong]})
        return ExitCode.FAILED if wrong else ExitCode.OK
    for number, words in wrong:
        say(f"receipt {number}: {safe(words)}")
    if wrong:
        return ExitCode.FAILED
    say(f"{len(held)} of {len(held)} say what was recorded")
    return ExitCode.OK
