"""What may follow upon what: each decision as a pure function of how an agent's releases stand.

    draft → review → approved → canary → live → retired
              ↓          ↘────────────────↗
           rejected        canary, live → rolled_back

What is retired may come back if it was approved as it is. What was rolled back has to be reviewed again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from penstock.kernel.errors import ReleaseOwn, ReleaseState
from penstock.ports.rollouts import WHOLE, Move, Release, Route, State

OFFERED = "-"
"""Stands in a route's ``previous`` for the code as it is offered, where "" stands for nothing known."""
READY: tuple[State, ...] = ("approved", "retired")
"""From where a release may be rolled out."""


@dataclass(slots=True, frozen=True)
class Decided:
    """The next route, and what moves with it."""

    route: Route
    moves: Sequence[Move]


def submit(release: Release, route: Route, actor: str, reason: str) -> Decided:
    """It is to be reviewed.

    Raises:
        ReleaseState: not from where it stands.
    """
    put_away = release.state == "retired" and not release.approved_by
    if not put_away:
        _from(release, ("draft", "rejected", "rolled_back"), "be put up for review")
    return _moved(route, Move(release.id, release.state, "review", actor, reason, approved_by=""))


def approve(release: Release, route: Route, submitter: str, actor: str, reason: str) -> Decided:
    """Somebody else finds it good. ``submitter``: who put it up for review.

    Raises:
        ReleaseOwn: it is the author's, or the submitter's.
        ReleaseState: it is not under review.
    """
    if actor in (release.author, submitter):
        raise ReleaseOwn(f"{actor} drafted the release {release.id[:12]}, or put it up for review")
    _from(release, ("review",), "be approved")
    return _moved(route, Move(release.id, release.state, "approved", actor, reason, approved_by=actor))


def reject(release: Release, route: Route, actor: str, reason: str) -> Decided:
    """It is not to be rolled out.

    Raises:
        ReleaseState: it is neither under review nor approved.
    """
    _from(release, ("review", "approved"), "be rejected")
    return _moved(route, Move(release.id, release.state, "rejected", actor, reason, approved_by=""))


def canary(release: Release, route: Route, share: int, actor: str, reason: str) -> Decided:
    """A share of new runs (hundredths of a percent) is to get it; also to change the share.

    Raises:
        ReleaseState: it is not approved, is live, or another is the canary; or no such share can be.
    """
    if not 0 < share < WHOLE:
        raise ReleaseState(f"a canary of {share / 100:g} %", hint="from 0.01 to 99.99; promote it to give it all runs")
    _from(release, (*READY, "canary"), "be a canary")
    _approved(release)
    if route.canary not in ("", release.id):
        raise ReleaseState(f"the canary of {route.agent} is {route.canary[:12]}", hint="promote it, or roll it back")
    after = replace(route, canary=release.id, share=share)
    return _moved(after, Move(release.id, release.state, "canary", actor, reason, share))


def promote(release: Release, route: Route, actor: str, reason: str) -> Decided:
    """All new runs are to get it; what was live is retired.

    Raises:
        ReleaseState: it is neither approved nor the canary, or another is the canary.
    """
    _from(release, (*READY, "canary"), "go live")
    _approved(release)
    if route.canary not in ("", release.id):
        raise ReleaseState(f"the canary of {route.agent} is {route.canary[:12]}", hint="promote it, or roll it back")
    moves = [Move(release.id, release.state, "live", actor, reason)]
    if route.live:
        moves.append(Move(route.live, "live", "retired", actor, f"{release.id[:12]} went live"))
    after = replace(route, live=release.id, canary="", share=0, previous=route.live or OFFERED)
    return _moved(after, *moves)


def retire(release: Release, route: Route, actor: str, reason: str) -> Decided:
    """It is out of use. Where it was live, new runs get the code as it is offered.

    Raises:
        ReleaseState: it is already, or was rolled back.
    """
    _from(release, ("draft", "review", "approved", "rejected", "canary", "live"), "be retired")
    after = route
    if route.canary == release.id:
        after = replace(after, canary="", share=0)
    if route.live == release.id:
        after = replace(after, live="", previous=release.id)
    return _moved(after, Move(release.id, release.state, "retired", actor, reason))


def roll_back(
    route: Route, to: str | None, releases: Mapping[str, Release], actor: str, reason: str
) -> tuple[Decided, list[str]]:
    """Away from the canary, or where there is none from what is live; and from which releases that leads away.

    ``to``: the release to go back to, `OFFERED` for the code as it is offered; None: away from the canary, else to what
    was live before. ``releases``: those that the route and ``to`` name, by id.

    Raises:
        ReleaseState: there is nothing to roll back, or nothing to go back to.
    """
    if to is None and route.canary:
        target = route.live
    elif to is None:
        target = _before(route)
    else:
        target = "" if to == OFFERED else to
    bad = [release for release in (route.canary, route.live) if release and release != target]
    if not bad:
        raise ReleaseState(f"no release of {route.agent} is in use that could be rolled back")
    moves = [Move(release, releases[release].state, "rolled_back", actor, reason) for release in bad]
    if target and target != route.live:
        good = releases[target]
        if target != route.canary:
            _from(good, READY, "be gone back to")
        _approved(good)
        moves.append(Move(target, good.state, "live", actor, f"rolled back to it: {reason}"))
    changed = target != route.live
    after = replace(route, live=target, canary="", share=0, previous="" if changed else route.previous)
    return _moved(after, *moves), bad


def confirm(
    route: Route, known: Sequence[Release], approved: Sequence[str], number: int, actor: str, reason: str
) -> Decided:
    """What is in use is as it stands, as far as it is approved anew; the rest of it is rolled back.

    ``known``: all that is in use, or that runs may need; ``number``: of the route that this leads to.

    Raises:
        ReleaseOwn: one of those that are approved is the actor's own.
        ReleaseState: one of them is neither in use nor was it.
    """
    moves = []
    for release in known:
        state, share = release.state, 0
        if release.id not in approved:
            if state in ("canary", "live"):
                moves.append(Move(release.id, state, "rolled_back", actor, reason))
            continue
        if actor == release.author:
            raise ReleaseOwn(f"{actor} drafted the release {release.id[:12]}")
        if release.id == route.live:
            state = "live"
        elif release.id == route.canary:
            state, share = "canary", route.share
        elif state in ("canary", "live"):
            state = "retired"
        elif state not in ("approved", "retired", "rolled_back"):
            raise ReleaseState(f"the release {release.id[:12]} is {state}: it is not in use")
        by = None if state == "rolled_back" else actor
        moves.append(Move(release.id, release.state, state, actor, reason, share, by))
    live = route.live if route.live in approved else ""
    canary = route.canary if route.canary in approved else ""
    previous = route.previous if route.previous in (*approved, OFFERED) else ""
    share = route.share if canary else 0
    return Decided(replace(route, number=number, live=live, canary=canary, share=share, previous=previous), moves)


def _before(route: Route) -> str:
    if not route.live:
        raise ReleaseState(f"no release of {route.agent} is in use that could be rolled back")
    if not route.previous:
        raise ReleaseState(
            f"it is not known what was live before {route.live[:12]} of {route.agent}",
            hint="say to which release, or to the code as it is offered: --to ID, or --to offered",
        )
    return "" if route.previous == OFFERED else route.previous


def _from(release: Release, states: Sequence[State], what: str) -> None:
    if release.state not in states:
        raise ReleaseState(f"the release {release.id[:12]} is {release.state.replace('_', ' ')}: it cannot {what}")


def _approved(release: Release) -> None:
    """What was retired before anybody approved it is not ready."""
    if not release.approved_by:
        raise ReleaseState(f"nobody has approved the release {release.id[:12]}", hint="put it up for review")


def _moved(route: Route, *moves: Move) -> Decided:
    return Decided(replace(route, number=route.number + 1), moves)
