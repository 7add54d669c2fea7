"""Who had a run in their hands, from when to when: claims, assignments and hand-backs of its case.

They are in the tenant's list of actions, which is sealed with the audit log, and not on the run's tape: a run knows
nothing of who watches it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any
from uuid import UUID

import msgspec

from penstock.journal.actions import Said, decode_said
from penstock.ports.actions import MAX_LIST, Action
from penstock.ports.journal import Journal

ACTIONS_READ = 50_000
"""Actions about cases that are looked through, at most, the newest: a claim before them is not found."""
FOREVER = 1 << 62


@dataclass(slots=True, frozen=True)
class Watch:
    """Somebody held a case, or was to look at it. ``since``, ``until``: microseconds; `FOREVER` = it has not ended.

    Attributes:
        how: claimed | took over | assigned.
        source: the action that says so; ``by``: who assigned it.
        end: why it ended: handed back | put aside | taken over | its time was over | assigned to another; "" = it has
            not.
    """

    who: str
    how: str
    since: int
    until: int
    source: str
    end: str = ""
    by: str = ""


async def watches(journal: Journal, tenant: str, since: int) -> dict[UUID, list[Watch]]:
    """Who watched which runs of a tenant, by what was done since then (microseconds since the epoch)."""
    found: list[Action] = []
    before: int | None = None
    while len(found) < ACTIONS_READ:
        page = await journal.actions.page(tenant, before, action="case.", limit=MAX_LIST)
        found += [action for action in page if action.at >= since]
        if len(page) < MAX_LIST or page[-1].at < since:
            break
        before = page[-1].seq
    now = await journal.now()
    by_run: dict[UUID, list[Watch]] = {}
    for action in reversed(found):
        said = _said(action)
        run = None if said is None else _run(said.target)
        if said is not None and run is not None:
            _take(by_run.setdefault(run, []), action, said)
    return {run: [_over(watch, now) for watch in kept] for run, kept in by_run.items() if kept}


def plain(kept: Sequence[Watch]) -> list[dict[str, Any]]:
    """As JSON; ``until`` 0 = it has not ended."""
    return [{**asdict(watch), "until": 0 if watch.until == FOREVER else watch.until} for watch in kept]


def during(kept: Sequence[Watch], begun: int, ended: int) -> list[Watch]:
    """Those that held while something was going on."""
    return [watch for watch in kept if watch.since <= ended and watch.until >= begun]


def words(watch: Watch) -> str:
    """How somebody watched, without the times."""
    if watch.how == "assigned":
        return f"was to look at it, says {watch.by}"
    begun = "took the case over" if watch.how == "took over" else "held the case"
    return f"{begun}, {watch.end}" if watch.end else begun


def _take(kept: list[Watch], action: Action, said: Said) -> None:
    detail, source = said.detail, f"action {action.seq}"
    verb = said.action.removeprefix("case.")
    if verb == "claim":
        seconds = detail.get("seconds")
        until = action.at + int(seconds * 1e6) if isinstance(seconds, int | float) else FOREVER
        last = _open(kept, "held", action.at)
        if last is not None and kept[last].who == said.actor:
            kept[last] = replace(kept[last], until=until)
            return
        if last is not None:
            kept[last] = replace(kept[last], until=action.at, end="taken over")
        how = "took over" if detail.get("forced") and last is not None else "claimed"
        kept.append(Watch(said.actor, how, action.at, until, source))
    elif verb == "hand_back":
        last = _open(kept, "held", action.at)
        if last is not None and kept[last].who == said.actor:
            end = "put aside" if detail.get("closed") else "handed back"
            kept[last] = replace(kept[last], until=action.at, end=end)
    elif verb == "assign":
        last = _open(kept, "assigned", action.at)
        if last is not None:
            kept[last] = replace(kept[last], until=action.at, end="assigned to another")
        if isinstance(to := detail.get("to"), str) and to:
            kept.append(Watch(to, "assigned", action.at, FOREVER, source, by=said.actor))


def _open(kept: Sequence[Watch], how: str, at: int) -> int | None:
    """The place of the one that has not ended: of a claim, or of an assignment."""
    for place in reversed(range(len(kept))):
        if (kept[place].how == "assigned") == (how == "assigned"):
            return place if not kept[place].end and kept[place].until > at else None
    return None


def _over(watch: Watch, now: int) -> Watch:
    return replace(watch, end="its time was over") if not watch.end and watch.until <= now else watch


def _said(action: Action) -> Said | None:
    try:
        return decode_said(action.body)
    except msgspec.DecodeError:
        return None


def _run(target: str) -> UUID | None:
    try:
        return UUID(target)
    except ValueError:
        return None


Watches = Mapping[UUID, Sequence[Watch]]
"""By run."""
