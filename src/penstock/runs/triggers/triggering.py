"""Turning accepted events into runs: one for each trigger that they matched, whichever worker does it.

`Waits.publish` writes an event's firings with the event. A worker takes them under a lease, submits, and writes down
what became of them. A run's idempotency key is made of the trigger's id and the event, so what is done twice, by two
workers or by one after a crash, is one run.
"""

import logging
from collections.abc import Callable, Sequence
from uuid import UUID

import msgspec

from penstock.gates.run.services import Services
from penstock.kernel.canonical import canonical_digest
from penstock.kernel.errors import (
    IdempotencyConflict,
    JournalError,
    PenstockError,
)
from penstock.ports.triggers import Fired, Firing, Trigger
from penstock.ports.waits import EventLetter
from penstock.runs.duties import keep_looking
from penstock.runs.submit import ERROR_MAX_CHARS, NEVER_FIT, Request, submit
from penstock.runs.triggers.mapping import Arrived, filled, filled_text

TAKEN_AT_ONCE = 100

_logger = logging.getLogger("penstock.runs")


class Triggering:
    """Makes runs of what is due, for as long as its worker works. ``offered`` gives the agents that it offers.

    A trigger names an agent, not a release: a run is of the release that this worker offers.
    """

    def __init__(self, services: Services, offered: Callable[[], Sequence[str]]) -> None:
        self._services = services
        self._offered = offered

    async def run(self) -> None:
        """Look, wait, look again, until cancelled."""
        services = self._services
        await keep_looking(self.look, TAKEN_AT_ONCE, services.clock, services.settings.poll_seconds, "triggers")

    async def look(self) -> int:
        """Make runs of what is due now; how many events that were. What fails for now is left until the lease ends.

        Raises:
            JournalError: the store cannot be reached.
        """
        services = self._services
        settings = services.settings
        taken = await services.journal.triggers.take(
            self._offered(), settings.lease_seconds, TAKEN_AT_ONCE, settings.environment
        )
        triggers: dict[tuple[str, UUID], Trigger | None] = {}
        for firing in taken:
            place = firing.tenant, firing.trigger
            if place not in triggers:
                triggers[place] = await services.journal.triggers.by_id(*place)
        fired: list[Fired] = []
        requests: list[tuple[Firing, Request]] = []
        for firing in taken:
            trigger = triggers[firing.tenant, firing.trigger]
            if trigger is None:
                continue  # removed meanwhile, and its firings with it
            try:
                requests.append((firing, self._request(firing, trigger)))
            except NEVER_FIT as refused:
                fired.append(Fired(firing, None, refused.what[:ERROR_MAX_CHARS]))
            except JournalError as error:
                _logger.warning("an event for trigger %s of %s waits: %s", trigger.name, trigger.tenant, error.what)
            except Exception:  # whatever one event holds, the others go on
                _logger.exception("an event for trigger %s of %s cannot be read", trigger.name, trigger.tenant)
        fired += await self._submit(requests)
        if fired:
            await services.journal.triggers.settle(fired)
        return len(taken)

    async def _submit(self, requests: list[tuple[Firing, Request]]) -> list[Fired]:
        """All in one transaction; when one of them does not fit, each by itself."""
        if len(requests) > 1:
            try:
                runs = await self._made([request for _, request in requests])
            except PenstockError:
                pass
            else:
                return [Fired(firing, run) for (firing, _), run in zip(requests, runs, strict=True)]
        fired = []
        for firing, request in requests:
            try:
                [run] = await self._made([request])
                fired.append(Fired(firing, run))
            except IdempotencyConflict as known:  # made before the trigger or the event's value was changed
                fired.append(Fired(firing, known.fields["run"]))
            except NEVER_FIT as refused:
                fired.append(Fired(firing, None, refused.what[:ERROR_MAX_CHARS]))
            except PenstockError as error:
                _logger.warning("an event for %s of %s waits: %s", firing.agent, firing.tenant, error.what)
        return fired

    async def _made(self, requests: list[Request]) -> list[UUID]:
        services = self._services
        return await submit(services.journal, services.clock, services.settings, requests, services.rollouts)

    def _request(self, firing: Firing, trigger: Trigger) -> Request:
        agent = self._services.agents.find(trigger.agent)
        if agent is None:
            raise JournalError(f"no agent {trigger.agent} is offered here any more")
        letter = msgspec.json.decode(firing.body, type=EventLetter)
        value = msgspec.json.decode(letter.value)
        event = Arrived(firing.event, firing.key, firing.dedup, value)
        plan = trigger.plan
        return Request(
            agent,
            filled(plan.input, event),
            key=firing_key(firing),
            tags={name: filled_text(tag, event, f"tag {name}") for name, tag in plan.tags.items()},
            tenant=firing.tenant,
            session=filled_text(plan.session, event, "session"),
            priority=plan.priority,
            actor=f"trigger:{trigger.name}",
        )


def firing_key(firing: Firing) -> str:
    """The idempotency key of the run that an event becomes by a trigger."""
    event = canonical_digest({"name": firing.event, "key": firing.key, "dedup": firing.dedup})
    return f"trigger:{firing.trigger}:{event}"
