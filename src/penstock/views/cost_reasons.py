"""Why a customer is dear: against the others, and in the records of its dearest runs."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Literal
from uuid import UUID

from penstock.events import decode
from penstock.journal.calls import CallReader, PaidCall
from penstock.kernel.errors import EventUnreadable
from penstock.kernel.money import show_usd
from penstock.ports.journal import Journal
from penstock.ports.records import Row, RunFilter, RunRow
from penstock.ports.usage import HOUR, Group
from penstock.rules.spirals import DEFAULT
from penstock.views.loops import Stretches, find_loops

Code = Literal["spiral", "retries", "lost", "more_steps", "long_prompts", "dear_model", "no_cache", "volume"]
LISTED_MAX = 5_000
"""Runs of the customer among which the dearest are looked for: the newest."""
EXAMINED = 60
"""Runs whose records are read: the dearest."""
EVENTS_MAX = 20_000
"""Events of one run that are read."""
SHOWN = 10
MUCH = 1.5
"""A figure this many times the others' is a reason."""
_AGAIN = ("retry", "failed", "hedge", "fallback", "cancelled")


@dataclass(slots=True, frozen=True)
class Reason:
    """``nano``: the money it accounts for, and ``share`` of all that was spent; ``runs`` it was seen in."""

    code: Code
    words: str
    nano: int
    share: float
    runs: int = 0
    name: str = ""
    examples: tuple[UUID, ...] = ()


@dataclass(slots=True)
class Examined:
    """One of the dearest runs. ``nano``: its own; ``circles``: what it repeated in vain, in words, and ``tool`` the
    call repeated most; ``by_step``: its money by the tool after whose result the model was asked."""

    row: RunRow
    nano: int = 0
    circles: str = ""
    tool: str = ""
    in_vain: int = 0
    by_step: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True, frozen=True)
class Explanation:
    """See `penstock.server.schemas.costs.CostExplained` for the fields."""

    since: int
    until: int
    customer: str
    feature: str
    words: str
    nano: int
    runs: int
    per_run_nano: int
    peers: int
    peers_per_run_nano: int
    ratio: float
    by_kind: dict[str, int]
    by_step: dict[str, int]
    cached_share: float
    reasons: list[Reason]
    dearest: list[Examined]
    looked_at: int
    looked_at_nano: int
    partial: bool


async def explain(
    journal: Journal, tenant: str, customer: str, *, feature: str = "", since: int, until: int
) -> Explanation:
    """Why the customer's runs cost what they cost, from the sums and from the records of its dearest runs.

    Args:
        feature: only its runs of this feature, against those of others; '' = of all features.

    Raises:
        JournalError: the store cannot be reached.
    """
    usage = journal.usage
    begin, wanted = since - since % HOUR, {"feature": feature} if feature else {}
    own = {**wanted, "customer": customer}
    groups = {group.value: group for group in await usage.sums(tenant, "customer", begin, until, wanted)}
    live = await usage.live(tenant, "customer", wanted)
    for group in live.groups:
        groups[group.value] = _together(groups.get(group.value), group)
    mine = groups.pop(customer, Group((customer,)))
    kinds = await usage.sums(tenant, "kind", begin, until, own)
    by_kind = {group.value: group.nano for group in kinds if group.nano}
    examined, partial = await _examine(journal, tenant, own, begin, until)
    peers = [group for group in groups.values() if group.runs and group.nano and group.value]
    per_run = mine.nano // mine.runs if mine.runs else 0
    of_peers = int(median(group.nano // group.runs for group in peers)) if peers else 0
    looked_nano = sum(one.nano for one in examined)
    reasons = [*_circles(examined, looked_nano), *_by_kind(by_kind, mine.nano), *_against(mine, peers)]
    reasons.sort(key=lambda reason: -reason.share)
    by_step: Counter[str] = Counter()
    for one in examined:
        by_step.update(one.by_step)
    ratio = round(per_run / of_peers, 2) if of_peers else 0.0
    cached = mine.classes.get("cached", 0) / mine.tokens_in if mine.tokens_in else 0.0
    return Explanation(
        since=begin,
        until=until,
        customer=customer,
        feature=feature,
        words=_words(customer, feature, mine, per_run, of_peers, reasons),
        nano=mine.nano,
        runs=mine.runs,
        per_run_nano=per_run,
        peers=len(peers),
        peers_per_run_nano=of_peers,
        ratio=ratio,
        by_kind=by_kind,
        by_step=dict(by_step.most_common(SHOWN)),
        cached_share=round(cached, 4),
        reasons=reasons,
        dearest=examined[:SHOWN],
        looked_at=len(examined),
        looked_at_nano=looked_nano,
        partial=partial or live.partial,
    )


async def _examine(
    journal: Journal, tenant: str, own: Mapping[str, str], since: int, until: int
) -> tuple[list[Examined], bool]:
    """The dearest runs, dearest first; and whether there may be others."""
    where, rows = RunFilter(since=max(1, since), until=until, tags=dict(own)), list[RunRow]()
    while len(rows) < LISTED_MAX:
        page = await journal.list_runs(tenant, where, 1_000)
        rows += page
        if len(page) < 1_000:
            break
        where = replace(where, before=page[-1].id)
    partial = len(rows) >= LISTED_MAX
    dearest = sorted(rows, key=lambda row: -row.summary.nano)[:EXAMINED]
    found = []
    for row in dearest:
        if row.pruned_at is not None or not row.summary.nano:
            partial = partial or row.pruned_at is not None
            continue
        try:
            found.append(await _look(journal, row))
        except EventUnreadable:
            partial = True
    return sorted(found, key=lambda one: -one.nano), partial


async def _look(journal: Journal, row: RunRow) -> Examined:
    """Read a run's record: what it paid, after which step, and what it repeated in vain."""
    one, reader, stretches, after, last = Examined(row), CallReader(), Stretches(), 0, ""
    while after < EVENTS_MAX and (events := await journal.tape(row.tenant, row.id, after=after, limit=2_000)):
        for call in reader.take(events):
            last = _add(one, call, last)
        _feed(stretches, events)
        after = events[-1].seq
    found = stretches.all()
    worst = max(found, key=lambda stretch: stretch.score, default=None)
    if worst is not None and worst.score >= DEFAULT.nudge:
        loops = find_loops([worst], {vain.call.path: number for number, vain in enumerate(worst.calls)})
        one.circles = loops[0].said if loops else worst.reading().words
        one.tool = Counter(vain.call.name for vain in worst.calls).most_common(1)[0][0]
        one.in_vain = sum(stretch.reading().nano for stretch in found if stretch.score >= DEFAULT.nudge)
    return one


def _feed(stretches: Stretches, events: Sequence[Row]) -> None:
    for event in events:
        stretches.take(decode(event.body))


def _add(one: Examined, call: PaidCall, last: str) -> str:
    """Count a call; the step that the next answer follows."""
    one.nano += call.used.nano
    if call.kind == "tool":
        return call.name
    if call.used.nano:
        one.by_step[last] = one.by_step.get(last, 0) + call.used.nano
    return last


def _circles(examined: Sequence[Examined], looked_nano: int) -> list[Reason]:
    circling = [one for one in examined if one.circles]
    nano = sum(one.nano for one in circling)
    if not nano or not looked_nano:
        return []
    tool = Counter(one.tool for one in circling).most_common(1)[0][0]
    vain = sum(one.in_vain for one in circling)
    share = nano / looked_nano
    words = (
        f"it spirals: {len(circling)} of {len(examined)} runs, {share:.0%} of their money, `{tool}` repeated; "
        f"{show_usd(vain)} since the last new fact"
    )
    return [Reason("spiral", words, nano, share, len(circling), tool, tuple(one.row.id for one in circling[:SHOWN]))]


def _by_kind(by_kind: Mapping[str, int], total: int) -> list[Reason]:
    found: list[Reason] = []
    again = sum(by_kind.get(kind, 0) for kind in _AGAIN)
    if total and again / total >= 0.1:
        parts = ", ".join(f"{kind} {show_usd(by_kind[kind])}" for kind in _AGAIN if by_kind.get(kind))
        words = f"calls that failed or were made again took {again / total:.0%} of its money ({parts})"
        found.append(Reason("retries", words, again, again / total))
    lost = by_kind.get("lost", 0)
    if total and lost / total >= 0.05:
        words = f"calls whose real figure was lost are charged at their maximum: {lost / total:.0%} of its money"
        found.append(Reason("lost", words, lost, lost / total))
    return found


def _against(mine: Group, peers: Sequence[Group]) -> list[Reason]:
    """What it does otherwise than the others do at the median."""
    if not peers or not mine.runs or not mine.nano:
        return []
    found: list[Reason] = []

    def compare(code: Code, own: float, others: Sequence[float], words: str, digits: int = 0) -> None:
        usual = median(others) if others else 0.0
        if usual > 0 and own >= MUCH * usual:
            share = 1 - usual / own
            said = words.format(own=f"{own:,.{digits}f}", usual=f"{usual:,.{digits}f}")
            found.append(Reason(code, said, int(mine.nano * share), share))

    called = [group for group in peers if group.model_calls and group.tokens_in]
    compare(
        "more_steps",
        mine.model_calls / mine.runs,
        [group.model_calls / group.runs for group in called],
        "its runs call the model {own} times, others' {usual}",
        1,
    )
    if mine.model_calls and mine.tokens_in:
        compare(
            "long_prompts",
            mine.tokens_in / mine.model_calls,
            [group.tokens_in / group.model_calls for group in called],
            "its prompts have {own} tokens, others' {usual}",
        )
        compare(
            "dear_model",
            1e6 * mine.nano / (mine.tokens_in + mine.tokens_out) / 1e9,
            [1e6 * group.nano / (group.tokens_in + group.tokens_out) / 1e9 for group in called],
            "a million of its tokens cost ${own}, of others' ${usual}",
            2,
        )
        cached = mine.classes.get("cached", 0) / mine.tokens_in
        usual = median(group.classes.get("cached", 0) / group.tokens_in for group in called) if called else 0.0
        if usual >= 0.1 and cached < usual / 2:
            words = f"{cached:.0%} of its prompts' tokens came from the provider's cache, of others' {usual:.0%}"
            found.append(Reason("no_cache", words, 0, 0.0))
    runs = median(group.runs for group in peers)
    if mine.runs >= 2 * runs:
        words = f"it has {mine.runs:,} runs, others {runs:,.0f}"
        found.append(Reason("volume", words, mine.nano, 0.0, mine.runs))
    return found


def _words(customer: str, feature: str, mine: Group, per_run: int, of_peers: int, reasons: Sequence[Reason]) -> str:
    if not mine.runs:
        return f"customer {customer} has spent nothing in that time"
    whose = f"customer {customer}'s {f'workflow {feature}' if feature else 'work'}"
    costs = f"{whose} costs {show_usd(per_run)} a run"
    if of_peers:
        times = per_run / of_peers
        costs += (
            f", {times:.1f} times what others' does ({show_usd(of_peers)})"
            if times >= 1.05
            else (f", others' {show_usd(of_peers)}")
        )
    top = next(iter(reasons), None)
    if top is None:
        return f"{costs}; nothing in it stands out"
    return f"{costs}, because {top.words}" if top.code == "spiral" else f"{costs}: {top.words}"


def _together(known: Group | None, live: Group) -> Group:
    if known is None:
        return live
    return Group(
        known.values,
        known.runs + live.runs,
        known.model_calls + live.model_calls,
        known.tokens_in + live.tokens_in,
        known.tokens_out,
        known.nano + live.nano,
        known.nano_at_maximum,
        known.dearest,
        known.dearest_nano,
        known.classes,
    )
