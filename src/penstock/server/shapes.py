"""From the values of journal and views to what the API shows."""

from collections.abc import Iterable

from penstock.events import BudgetRecord, RuleVerdict, Totals
from penstock.ports.lists import Sharing, shown
from penstock.ports.records import OpenIntent, RunRow
from penstock.server.schemas.base import Amounts, RuleSaid, Waited
from penstock.server.schemas.controls import OpenEffect
from penstock.server.schemas.runs import BudgetShown, Content, Facet, Facets, ResultShown, RunLine, TimeBin
from penstock.views.costs import Spending
from penstock.views.pieces import Piece
from penstock.views.results import PlainResult
from penstock.views.waiting import waits_of


def run_line(row: RunRow) -> RunLine:
    """A run in a list."""
    summary = row.summary
    return RunLine(
        id=row.id,
        agent=row.agent,
        release=row.release,
        environment=row.env,
        status=row.status.value,
        shown=shown(row.status, row.stop, row.outcome, row.waiting),
        outcome=row.outcome,
        code=row.code,
        stop=row.stop.value if row.stop else None,
        session=row.session,
        priority=row.priority,
        parent=row.parent,
        root=row.root,
        tags=row.tags,
        steps=summary.steps,
        model_calls=summary.model_calls,
        tool_calls=summary.tool_calls,
        tokens=summary.tokens,
        nano=summary.nano,
        reserved_nano=summary.reserved_nano,
        open_intents=summary.open_intents,
        created_at=row.created_at,
        ended_at=row.ended_at,
        wake_at=row.wake_at,
        waiting=[
            Waited(kind=item.kind, path=item.path, name=item.name, id=item.id, until=item.until)
            for item in waits_of(row)
        ],
    )


def amounts(used: Totals | Spending) -> Amounts:
    """What a run, or several together, have used."""
    return Amounts(
        tokens_in=used.tokens_in,
        tokens_out=used.tokens_out,
        nano=used.nano,
        nano_at_maximum=used.nano_at_maximum,
    )


def budget(record: BudgetRecord) -> BudgetShown:
    """The limits of a run or an agent."""
    return BudgetShown(
        tokens=record.tokens,
        nano=record.nano,
        steps=record.steps,
        calls=record.calls,
        attempts=record.attempts,
        seconds=record.seconds,
    )


def content(piece: Piece | None) -> Content | None:
    """A piece of content."""
    if piece is None:
        return None
    return Content(ref=piece.ref, size=piece.size, cut=piece.cut, value=piece.value, hidden=piece.hidden)


def result(found: PlainResult) -> ResultShown:
    """What came of a run."""
    return ResultShown(
        id=found.run,
        agent=found.agent,
        outcome=found.outcome,
        code=found.code,
        reason=found.reason,
        output=found.output,
        hidden=found.hidden,
        missing=found.missing,
        needed=found.needed,
        used=amounts(found.used),
        simulated=found.simulated,
        ended_at=found.ended_at,
    )


def rules(verdicts: Iterable[RuleVerdict]) -> list[RuleSaid]:
    """What rules said of a call."""
    return [
        RuleSaid(rule=item.rule, version=item.version, verdict=item.verdict, reason=item.reason, code=item.code)
        for item in verdicts
    ]


def effects(intents: Iterable[OpenIntent]) -> list[OpenEffect]:
    """Calls that have begun and have no outcome."""
    return [
        OpenEffect(run=item.run, path=item.path, name=item.name, attempt=item.attempt, ends_by=item.ends_by)
        for item in intents
    ]


def facets(sharing: Sharing) -> Facets:
    """What runs share."""
    named: dict[str, list[Facet]] = {}
    for item in sharing.shared:
        share = item.found / sharing.found
        elsewhere = item.others / sharing.others if sharing.others else 0.0
        named.setdefault(item.name, []).append(
            Facet(value=item.value, count=item.found, share=share, elsewhere=elsewhere)
        )
    bins: dict[int, dict[str, int]] = {}
    for one in sharing.bins:
        bins.setdefault(one.at, {})[one.shown] = one.count
    return Facets(
        found=sharing.found,
        others=sharing.others,
        sampled=sharing.sampled,
        histogram=[TimeBin(at=at, width=sharing.width, counts=counts) for at, counts in sorted(bins.items())],
        agent=named.get("agent", []),
        release=named.get("release", []),
        outcome=named.get("outcome", []),
        code=named.get("code", []),
        customer=named.get("customer", []),
        feature=named.get("feature", []),
        task_type=named.get("task_type", []),
    )
