"""A rollback with what may belong to it: the runs under way, and what sessions remember."""

from dataclasses import replace
from typing import Literal, get_args

from penstock.kernel.errors import InputInvalid
from penstock.ports.controls import Scope
from penstock.ports.journal import Journal
from penstock.ports.records import Stop
from penstock.runs.rollouts.releasing import Releasing, RolledBack
from penstock.runs.rollouts.sessions import take_back

RunsUnderWay = Literal["go-on", "pause", "kill"]
_STOPS = {"pause": Stop.PAUSE, "kill": Stop.KILL}


async def roll_back(
    releasing: Releasing,
    journal: Journal,
    tenant: str,
    agent: str,
    actor: str,
    *,
    to: str | None = None,
    reason: str = "",
    runs: str = "go-on",
    sessions: bool = False,
    keep: int,
) -> RolledBack:
    """New runs first; then those under way go on, or are stopped; then sessions, to which nobody writes by then.

    Each part is durable before the next begins. When a later one fails it can be made again: the stop by
    ``penstock kill --release`` or ``penstock pause --release``, the sessions by `sessions.take_back`.

    Args:
        keep: versions of a document that are kept.

    Raises:
        ReleaseUnknown, ReleaseState, ReleaseMoved, InputInvalid: nothing was changed.
    """
    if runs not in get_args(RunsUnderWay):
        raise InputInvalid(f"runs under way cannot {runs[:20]!r}", hint="go-on, pause or kill")
    done = await releasing.roll_back(agent, actor, to, reason)
    if stop := _STOPS.get(runs):
        why = reason or f"release of {agent} rolled back"
        scopes = [Scope("release", tenant, release) for release in done.bad]
        done = replace(done, stops=[await journal.stop_scope(scope, stop, actor, why) for scope in scopes])
    if sessions:
        done = replace(done, sessions=await take_back(journal, tenant, done.bad, actor, keep))
    return done
