"""``penstock runs why``."""

from typing import TYPE_CHECKING

from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute, find_run, opened_journal
from penstock.cli.options import AsJson, RunId, Tenant
from penstock.cli.output import print_json, say
from penstock.cli.text import safe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from penstock.views.failing_calls import Failing
    from penstock.views.failure_report import Effect, FailureReport
    from penstock.views.failure_tree import Cause, FailureTree, Link, Relative

SHOWN_MAX = 20
"""Relatives named in each list; the others are counted."""


def why(run: RunId, tenant: Tenant = None, as_json: AsJson = False) -> int:
    """Name the first cause of a run's failure, the way it took, how far it spread in the run's family; what the run has
    done all the same, what not, and what it would need. Also of a run that a fallback answered for."""
    return execute(_why(run, tenant, as_json))


async def _why(run: str, tenant: str | None, as_json: bool) -> int:
    from penstock.views.failure_report import read_failure_report
    from penstock.views.failure_tree import read_failure_tree

    async with opened_journal(tenant) as place:
        journal = place.journal
        found = await find_run(journal, place.tenant, run)
        row = await journal.get_run(place.tenant, found)
        stood_in = (
            row is not None and row.code == "fallback"
        )  # it has no failure tree: it succeeded, by another's answer
        tree = None if stood_in else await read_failure_tree(journal, place.tenant, found)
        has_report = stood_in or (tree is not None and row is not None and row.outcome is not None)
        report = await read_failure_report(journal, place.tenant, found) if has_report else None
    if as_json:
        said = {} if tree is None else {**_fields(tree), "recovered": [_call_fields(call) for call in tree.recovered]}
        print_json({**said, "report": report})
    else:
        lines = words(tree) if tree is not None else []
        say("\n".join([*lines, *(report_words(report) if report is not None else [])]))
    return ExitCode.OK


def report_words(report: "FailureReport") -> list[str]:
    """What was done, what not, and what it would need."""
    lines = []
    if report.answered_by:
        lines.append(f"{report.answered_by} stands in for the answer of {safe(report.agent)}: {safe(report.what)}")
    taken_back = ", and taken back" if report.compensated else ""
    lists = [(f"done{taken_back}", report.done), ("may have happened", report.undecided), ("not done", report.not_done)]
    for title, effects in lists:
        if not effects:
            continue
        lines.append(f"{title}:")
        lines += [f"  {_effect(effect)}" for effect in effects[:SHOWN_MAX]]
        if len(effects) > SHOWN_MAX:
            lines.append(f"  and {len(effects) - SHOWN_MAX} more")
    if not (report.done or report.undecided):
        lines.append("nothing was written")
    lines += [f"missing: {safe(item)}" for item in report.missing[:SHOWN_MAX]]
    lines += [f"needed: {safe(item)}" for item in report.needed[:SHOWN_MAX]]
    return lines


def _effect(effect: "Effect") -> str:
    how = "" if effect.state in ("done", "undecided") else f" ({effect.state.replace('_', ' ')})"
    return f"{safe(effect.tool)} at {effect.path}{how}" + (f": {safe(effect.words)}" if effect.words else "")


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
