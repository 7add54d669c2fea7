"""Writes what callers do into the tenant's list of actions: durably, those that come together in one commit."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from penstock.journal.actions import Said, encode_said
from penstock.kernel.errors import JournalError, PenstockError
from penstock.ports.actions import Actions, NewAction
from penstock.server.access.caller import Caller

TOGETHER_MAX = 500
TARGET_MAX_CHARS = 300
DETAIL_MAX_BYTES = 16_384
READING_SECONDS = 600.0
"""Within which somebody who looks through the content of a run is recorded once."""
READERS_MAX = 10_000


@dataclass(slots=True)
class _Waiting:
    action: NewAction
    stored: "asyncio.Future[None]"


class ActionLog:
    """One for a process. The tenant's list is locked while an entry is added, so entries that come while one is being
    written wait for it, and go together."""

    def __init__(self, actions: Actions) -> None:
        self._actions = actions
        self._waiting: list[_Waiting] = []
        self._writing: asyncio.Task[None] | None = None
        self._read: dict[tuple[str, str, str], float] = {}  # until when, seconds of the loop's clock

    async def record_reading(self, caller: Caller, run: str) -> None:
        """Record that a caller reads content of a run, once in a while for all the pieces of it.

        Raises:
            JournalError: it could not be recorded; the content must not be given out then.
        """
        key, now = (caller.tenant, caller.actor, run), asyncio.get_running_loop().time()
        if self._read.get(key, 0.0) > now:
            return
        await self.record(caller, "content.read", run)
        if len(self._read) >= READERS_MAX:
            self._read = {known: until for known, until in self._read.items() if until > now}
            if len(self._read) >= READERS_MAX:
                self._read.clear()
        self._read[key] = now + READING_SECONDS

    async def record(self, caller: Caller, action: str, target: str = "", detail: dict[str, Any] | None = None) -> None:
        """Record an action; durable when this returns. Content of runs does not belong here.

        Args:
            action: noun and verb with a dot between: ``run.cancel``.
            target: what it was done to, such as a run's id.
            detail: what else to know, JSON.

        Raises:
            JournalError: it could not be recorded.
        """
        await self.record_as(caller.tenant, caller.actor, action, target, detail, request=caller.request)

    async def record_as(
        self,
        tenant: str,
        actor: str,
        action: str,
        target: str = "",
        detail: dict[str, Any] | None = None,
        *,
        request: str = "",
    ) -> None:
        """The same for somebody who is no caller, such as the command line."""
        body = encode_said(Said(actor, action, target[:TARGET_MAX_CHARS], detail or {}, request))
        assert len(body) <= DETAIL_MAX_BYTES, f"the detail of {action} is too large"
        waiting = _Waiting(NewAction(tenant, actor, action, body), asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())
        await asyncio.shield(waiting.stored)

    async def close(self) -> None:
        """Write what is waiting."""
        if self._writing is not None:
            await asyncio.gather(self._writing, return_exceptions=True)

    async def _write(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting[:TOGETHER_MAX], self._waiting[TOGETHER_MAX:]
            await self._write_group(group)

    async def _write_group(self, group: Sequence[_Waiting]) -> None:
        try:
            await self._actions.record([item.action for item in group])
        except PenstockError as error:
            if len(group) > 1:  # one of them may be the cause: each for itself
                for item in group:
                    await self._write_group([item])
                return
            _fail(group, error)
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must be told
            _fail(group, JournalError(f"an action could not be recorded: {error!r}", hint="report this"))
        else:
            for item in group:
                if not item.stored.done():
                    item.stored.set_result(None)


def _fail(group: Sequence[_Waiting], error: PenstockError) -> None:
    for item in group:
        if not item.stored.done():
            item.stored.set_exception(error)
