"""``penstock runs why``."""

from typing import TYPE_CHECKING

from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute, find_run, opened
from penstock.cli.options import AsJson, RunId, Tenant
from penstock.cli.output import print_json, say
from penstock.cli.text import safe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from penstock.views.failing_calls import Failing
    from penstock.views.failure_tree import Cause, FailureTree, Link, Relative

SHOWN_MAX = 20
"""Relatives named in each list; the others are counted."""


def why(run: RunId, tenant: Tenant = None, as_json: AsJson = False) -> int:
    """Name the first cause of a run's failure, the way it took, and how far it spread in the run's family."""
    return execute(_why(run, tenant, as_json))


async def _why(run: str, tenant: str | None, as_json: bool) -> int:
    from penstock.views.failure_tree import read_failure_tree

    async with opened(tenant) as platform:
        found = await find_run(platform.journal, platform.tenant, run)
        tree = await read_failure_tree(platform.journal, platform.tenant, found)
    if as_json:
        print_json({**_fields(tree), "recovered": [_call_fields(call) for call in tree.recovered]})
    else:
        say("\n".join(words(tree)))
    return ExitCode.OK


def words(tree: "FailureTree") -> list[str]:
    """The tree in words, the first cause at the top."""
    from penstock.views.lines import clock_time

    code = f" [{tree.code}]" if tree.code and tree.code != tree.state else ""
    lines = [
        f"run {tree.run} {safe(tree.agent)} {tree.state}{code} at {clock_time(tree.ended_at)}",
        f"first cause: {_cause(tree.cause)}",
    ]
    indent = "  "
    for link in tree.way:
        lines.append(f"{indent}→ {_link(link)}")
        indent += "  "
    total = len(tree.affected) + len(tree.unaffected) + len(tree.others)
    lines.append(f"spread: {len(tree.affected)} of {total} runs of the family failed by it")
    lines += _relatives(tree.affected, "failed by it")
    lines += _relatives(tree.unaffected, "unaffected")
    lines += _relatives(tree.others, "failed by something else")
    if tree.recovered:
        lines.append("failed too, and the code went on:")
        lines += [
            f"  {call.path} {call.kind} {safe(call.name)}: {safe(call.words)}" for call in tree.recovered[:SHOWN_MAX]
        ]
    lines += map(safe, tree.notes)
    if not tree.complete:
        lines.append("the family is larger than what was looked at")
    return lines


def _cause(cause: "Cause") -> str:
    from penstock.views.lines import clock_time

    where = f"run {cause.run} ({safe(cause.agent)})"
    what = f"{cause.kind} {safe(cause.name)} at {cause.path} of {where}" if cause.path else f"{cause.kind} of {where}"
    said = f": {safe(cause.words)}" if cause.words else ""
    return f"{what} [{cause.code}] at {clock_time(cause.at)}{said}"


def _link(link: "Link") -> str:
    by = f", by its call {link.by}" if link.by else ""
    code = f" [{link.code}]" if link.code and link.code != link.state else ""
    return f"run {link.run} {safe(link.agent)} {link.state}{code}{by}" + (f": {safe(link.words)}" if link.words else "")


def _relatives(relatives: "Sequence[Relative]", how: str) -> list[str]:
    if not relatives:
        return []
    lines = [f"{how}:"]
    lines += [f"  {item.run} {safe(item.agent)} {item.state}" for item in relatives[:SHOWN_MAX]]
    if len(relatives) > SHOWN_MAX:
        lines.append(f"  and {len(relatives) - SHOWN_MAX} more")
    return lines


def _fields(tree: "FailureTree") -> dict[str, object]:
    return {name: getattr(tree, name) for name in tree.__dataclass_fields__ if name != "recovered"}


def _call_fields(call: "Failing") -> dict[str, object]:
    return {name: getattr(call, name) for name in call.__dataclass_fields__ if name != "last"}
