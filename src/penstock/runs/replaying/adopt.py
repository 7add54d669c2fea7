"""Adopting a run: letting it go on under another release, after a rehearsal has shown that its record fits.

The rehearsal is a replay of the run's tape with the new code: no call, no write. Only a run whose every recorded call
is made again is adopted. Where a call that has ended is made with other arguments a person may accept that; a call
that is still open (in doubt, held for approval, waited for) must be made as it was recorded.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from penstock.events import FORMAT, Event, RunAdopted, encode
from penstock.gates.order.tape import Tape
from penstock.gates.run.services import Services
from penstock.journal.chain import link
from penstock.journal.tapes import whole
from penstock.kernel.errors import AdoptionRefused, AgentUnknown, NotFinalized, RunUnknown, UsageError
from penstock.ports.agents import AgentDef
from penstock.ports.records import Row, RunRow, Status
from penstock.ports.releases import Adopted, Adoption
from penstock.runs.at_home import check_at_home
from penstock.runs.divergence import DivergenceReport
from penstock.runs.registry import Registry
from penstock.runs.replaying.replay import Replayed, replay

TRIES = 3
"""How often a run that changes while it is being rehearsed is looked at anew."""


@dataclass(slots=True)
class AdoptionDone:
    """A run that goes on under another release. ``difference`` is the first one that was accepted."""

    run: str
    from_release: str
    to_release: str
    arguments: bool  # some calls have other arguments, which was accepted
    calls: int  # calls that the new code repeated
    difference: DivergenceReport | None = None


async def adopt(
    services: Services,
    row: RunRow,
    agents: Iterable[AgentDef],
    *,
    actor: str,
    reason: str = "",
    accept_arguments: bool = False,
) -> AdoptionDone:
    """Let a run go on under the release of one of ``agents``.

    Raises:
        AdoptionRefused: the new code does not repeat the record; ``fields["report"]`` has the first difference.
        UsageError: the run has ended, is worked on right now, or has that release already.
        AgentUnknown: none of the agents has the run's agent's name.
        NotFinalized: the database may have workers that cannot read what an adoption writes.
        EnvironmentForeign: the run is of another environment.
    """
    check_at_home(services.settings, row.env, f"run {row.id}")
    offered = list(agents)
    agent = Registry(offered).find(row.agent)
    if agent is None:
        raise AgentUnknown(f"run {row.id} is of the agent {row.agent!r}, which is not among those given")
    written = await services.journal.releases.write_format()
    if written < RunAdopted.since:
        raise NotFinalized("workers of an older release may be alive, which cannot read that a run was adopted")
    answer = Adopted.CHANGED
    for _ in range(TRIES):
        _check(row, agent)
        done, event = await _rehearsed(services, row, agent, offered, actor, reason, accept_arguments)
        body = encode(event)
        answer = await services.journal.releases.adopt(
            Adoption(
                row.tenant, row.id, row.epoch, row.last_seq, agent.release, event.format, body, link(row.head, body)
            )
        )
        if answer is Adopted.ADOPTED:
            return done
        fresh = await services.journal.get_run(row.tenant, row.id)
        if answer is Adopted.ABSENT or fresh is None:
            raise RunUnknown(f"there is no run {row.id} for tenant {row.tenant!r}")
        row = fresh
        if answer is Adopted.HELD:
            break
    words = {
        Adopted.HELD: "a live worker works on it",
        Adopted.ENDED: "it has ended meanwhile",
        Adopted.CHANGED: "it changed each time it was looked at",
    }
    raise UsageError(f"run {row.id} was not adopted: {words[answer]}", hint="drain the workers of its release first")


def _check(row: RunRow, agent: AgentDef) -> None:
    if row.status is Status.ENDED:
        raise UsageError(f"run {row.id} has ended already, as {row.outcome}")
    if row.release == agent.release:
        raise UsageError(
            f"run {row.id} has the release {row.release} already",
            hint="a worker that offers it goes on with the run; a quarantined one needs `penstock runs release`",
        )


async def _rehearsed(
    services: Services,
    row: RunRow,
    agent: AgentDef,
    agents: list[AgentDef],
    actor: str,
    reason: str,
    accept_arguments: bool,
) -> tuple[AdoptionDone, RunAdopted]:
    """What would be done, and the event that does it."""
    rows = await whole(services.journal, row.tenant, row.id)
    first = Tape(rows).submitted
    event = _event(services, row, first, agent, actor, reason)
    plainly = await _replayed(services, row, rows, event, agents)
    if plainly.same:
        return AdoptionDone(str(row.id), row.release, agent.release, False, len(plainly.calls)), event
    event = _event(services, row, first, agent, actor, reason)
    event.arguments = True
    loosely = await _replayed(services, row, rows, event, agents)
    if not loosely.same:
        raise _refused(row, agent, loosely.divergence, "its record is not what the new code does")
    if not accept_arguments:
        words = "the new code makes its calls with other arguments"
        raise _refused(row, agent, plainly.divergence, words, hint="if that is meant: --accept-arguments")
    done = AdoptionDone(str(row.id), row.release, agent.release, True, len(loosely.calls), plainly.divergence)
    return done, event


async def _replayed(
    services: Services, row: RunRow, rows: list[Row], event: RunAdopted, agents: list[AgentDef]
) -> Replayed:
    """A replay of the tape as it would be after the adoption."""
    body = encode(event)
    added = Row(event.seq, body, link(rows[-1].hash, body), event.at)
    return await replay(services, row, agents, appended=[added])


def _event(services: Services, row: RunRow, first: Event, agent: AgentDef, actor: str, reason: str) -> RunAdopted:
    return RunAdopted(
        tenant=row.tenant,
        run=row.id,
        agent=row.agent,
        at=services.clock.now_us(),
        seq=row.last_seq + 1,
        epoch=row.epoch + 1,
        env=row.env,
        parent=first.parent,
        release=agent.release,
        actor=actor,
        behalf=first.behalf,
        tags=first.tags,
        from_release=row.release,
        to_release=agent.release,
        format=FORMAT,
        reason=reason,
    )


def _refused(
    row: RunRow, agent: AgentDef, report: DivergenceReport | None, why: str, hint: str | None = None
) -> AdoptionRefused:
    return AdoptionRefused(f"run {row.id} cannot go on under release {agent.release}: {why}", hint=hint, report=report)
