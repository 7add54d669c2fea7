"""`Penstock.triggers`: declare which events start runs, look at them, steer them."""

from typing import Any

import msgspec
from pydantic_core import to_jsonable_python

from penstock.gates.run.services import Services
from penstock.gates.waits.message_gate import check_event
from penstock.kernel.canonical import NAME_MAX_CHARS, check_finite, check_plain, check_size, stable_json
from penstock.kernel.errors import TriggerExists, TriggerInvalid, TriggerUnknown
from penstock.kernel.ids import new_id
from penstock.ports.agents import AgentDef
from penstock.ports.triggers import Backlog, Firing, Trigger, TriggerPlan
from penstock.runs.at_home import check_at_home
from penstock.runs.submit import PRIORITY_MAX, check_agent, check_declared_name, checked_tags
from penstock.runs.triggers.mapping import check_template

PENDING_MOST = 1_000_000
COUNTED_MOST = 10_000
RETRIED_MOST = 1_000


class TriggerClient:
    """The triggers of an open platform. ``tenant`` of each method defaults to the platform's own."""

    def __init__(self, services: Services, tenant: str) -> None:
        self._services = services
        self._tenant = tenant

    async def add(
        self,
        name: str,
        event: str,
        agent: AgentDef,
        *,
        key_prefix: str = "",
        value: Any = "$",
        tags: dict[str, str] | None = None,
        session: str = "",
        priority: int = 0,
        pending_max: int = 10_000,
        paused: bool = False,
        replace: bool = False,
        actor: str = "api",
        tenant: str | None = None,
    ) -> Trigger:
        """Declare a trigger: each event of a name that is published from now on starts a run. Durable on return.

        Args:
            name: up to 64 lower-case letters, digits, dots, dashes, underscores; unique in the tenant.
            event: the events' name.
            agent: kept by its name: each run is of the release that the worker which makes it offers.
            key_prefix: only events with a key that begins so.
            value: the input of each run: JSON in which texts such as ``$.order.id``, ``$key`` stand for parts of the
                event; ``$`` (the default) for its whole value. See `penstock.runs.triggers.mapping`.
            tags, session: of each run; their texts may be such paths too.
            priority: of each run.
            pending_max: events held that are no runs yet, at most; publishing one more raises `InboxFull`.
            paused: it takes no events until it is resumed.
            replace: change the one of that name, if there is one; its counters and its pause stay.
            actor: who declares it.

        Raises:
            TriggerInvalid: a name, a path or a bound cannot be.
            TriggerExists: there is one of that name.
            TriggersFull: the tenant, or the event, has as many as it may (``PENSTOCK_TRIGGERS_MAX``,
                ``PENSTOCK_TRIGGERS_MAX_PER_EVENT``).
            EnvironmentForeign: the one to be replaced is of another environment.
            UsageError: a tag or the template is not acceptable.
        """
        tenant = tenant or self._tenant
        settings = self._services.settings
        check_declared_name(name, "trigger", TriggerInvalid)
        check_agent(agent)
        check_event(event, key_prefix)
        plan = TriggerPlan(to_jsonable_python(value, inf_nan_mode="constants"), dict(tags or {}), session, priority)
        self._check(plan, pending_max)
        await self._check_at_home(tenant, name, replace=replace)
        self._services.agents.add(agent)
        trigger = Trigger(
            tenant=tenant,
            id=new_id(self._services.clock),
            name=name,
            event=event,
            prefix=key_prefix,
            agent=agent.name,
            plan=msgspec.structs.replace(plan, environment=settings.environment),
            pending_max=pending_max,
            created_by=actor[:NAME_MAX_CHARS],
            paused=paused,
        )
        stored = await self._services.journal.triggers.put(
            trigger, replace=replace, limit=settings.triggers_max, same_event=settings.triggers_max_per_event
        )
        if not stored:
            raise TriggerExists(f"the tenant {tenant!r} has a trigger named {name}")
        return await self.get(name, tenant=tenant)

    async def get(self, name: str, *, tenant: str | None = None) -> Trigger:
        """One trigger.

        Raises:
            TriggerUnknown: there is none of that name.
        """
        tenant = tenant or self._tenant
        found = await self._services.journal.triggers.get(tenant, name)
        if found is None:
            raise _unknown(tenant, name)
        return found

    async def list_triggers(self, *, after: str = "", limit: int = 100, tenant: str | None = None) -> list[Trigger]:
        """By name, those after ``after``, at most ``limit`` (bounded at 1000)."""
        return await self._services.journal.triggers.list_triggers(tenant or self._tenant, after, limit)

    async def pause(self, name: str, *, actor: str = "api", tenant: str | None = None) -> None:
        """Take no events, and hold back those that are no runs yet. Runs that it has made go on.

        Raises:
            TriggerUnknown: there is none of that name.
        """
        tenant = tenant or self._tenant
        if not await self._services.journal.triggers.pause(tenant, name, actor[:NAME_MAX_CHARS]):
            raise _unknown(tenant, name)

    async def resume(self, name: str, *, tenant: str | None = None) -> None:
        """Take events again, and let go those held back. What was published in the pause is not made up for.

        Raises:
            TriggerUnknown: there is none of that name.
        """
        tenant = tenant or self._tenant
        if not await self._services.journal.triggers.resume(tenant, name):
            raise _unknown(tenant, name)

    async def remove(self, name: str, *, tenant: str | None = None) -> None:
        """Forget it, with its events that are no runs yet. The runs that it has made stay.

        Raises:
            TriggerUnknown: there is none of that name.
        """
        tenant = tenant or self._tenant
        if not await self._services.journal.triggers.remove(tenant, name):
            raise _unknown(tenant, name)

    async def backlog(self, name: str, *, tenant: str | None = None) -> Backlog:
        """How many of its events are no runs yet, and how many failed; each counted up to 10,000.

        Raises:
            TriggerUnknown: there is none of that name.
        """
        trigger = await self.get(name, tenant=tenant)
        return await self._services.journal.triggers.backlog(trigger.tenant, trigger.id, COUNTED_MOST)

    async def failures(self, name: str, limit: int = 10, *, tenant: str | None = None) -> list[Firing]:
        """Its events that failed, with the reasons, the latest first, at most ``limit`` (bounded at 1000).

        Raises:
            TriggerUnknown: there is none of that name.
        """
        trigger = await self.get(name, tenant=tenant)
        return await self._services.journal.triggers.failures(trigger.tenant, trigger.id, limit)

    async def retry(self, name: str, *, tenant: str | None = None) -> int:
        """Have those that failed tried again, such as after the template was mended; how many (1000 at a time).

        Raises:
            TriggerUnknown: there is none of that name.
        """
        trigger = await self.get(name, tenant=tenant)
        return await self._services.journal.triggers.retry(trigger.tenant, trigger.id, RETRIED_MOST)

    async def _check_at_home(self, tenant: str, name: str, *, replace: bool) -> None:
        known = await self._services.journal.triggers.get(tenant, name) if replace else None
        if known is not None:
            check_at_home(self._services.settings, known.plan.environment, f"the trigger {name}")

    def _check(self, plan: TriggerPlan, pending_max: int) -> None:
        settings = self._services.settings
        check_template(plan.input)
        check_plain(plan.input, "template of the input")
        check_finite(plan.input, "template of the input")
        check_size(stable_json(plan.input), settings.input_max_bytes, "the template of the input", "input_max_bytes")
        checked_tags(plan.tags, settings)
        for text in (*plan.tags.values(), plan.session):
            if not isinstance(text, str) or len(text) > NAME_MAX_CHARS or not text.isprintable():
                raise TriggerInvalid(f"a tag or session is a text of at most {NAME_MAX_CHARS} printable characters")
            check_template(text)
        if not isinstance(plan.priority, int) or not -PRIORITY_MAX <= plan.priority <= PRIORITY_MAX:
            raise TriggerInvalid(f"the priority must be from -{PRIORITY_MAX:,} to {PRIORITY_MAX:,}")
        if not isinstance(pending_max, int) or not 1 <= pending_max <= PENDING_MOST:
            raise TriggerInvalid(f"pending_max must be from 1 to {PENDING_MOST:,}")


def _unknown(tenant: str, name: str) -> TriggerUnknown:
    return TriggerUnknown(f"the tenant {tenant!r} has no trigger named {str(name)[:100]!r}")
