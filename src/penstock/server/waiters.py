"""Requests that wait for the end of a run; who looks at which question; replays under way. All bounded, all of one
server process, and none of it is needed to be right: what matters is in the journal."""

import asyncio
from uuid import UUID

from penstock.kernel.clock import wall_seconds
from penstock.kernel.errors import RunQuarantined
from penstock.ports.records import RunRow
from penstock.runs.client import Penstock

SEEN_SECONDS = 15.0
"""How long somebody counts as looking after they last asked for it: the console asks again every few seconds."""
SEEN_MAX = 10_000


class Waiters:
    """Waits for runs to end."""

    def __init__(self) -> None:
        self._waiting = 0

    async def wait(self, platform: Penstock, tenant: str, run: UUID, seconds: float) -> RunRow | None:
        """The run's row when it has ended, or the row of that in which it went on; None when it has not in time, was
        set aside for a person, or too many wait already.

        Raises:
            RunUnknown: no such run for this tenant.
        """
        settings = platform.services.settings
        if self._waiting >= settings.http_waiters:
            seconds = 0.0
        self._waiting += 1
        try:
            bounded = min(max(0.0, seconds), settings.http_wait_seconds)
            return await platform.ended(run, tenant=tenant, timeout_seconds=bounded)
        except (TimeoutError, RunQuarantined):
            return None
        finally:
            self._waiting -= 1


class Presence:
    """Who looks at what: a hint for others who look too, and no lock."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], dict[str, float]] = {}

    def look(self, tenant: str, thing: str, actor: str) -> list[str]:
        """Note that somebody looks; who else does."""
        now = wall_seconds()
        if len(self._seen) >= SEEN_MAX:
            self._forget(now)
        there = self._seen.setdefault((tenant, thing), {})
        there[actor] = now + SEEN_SECONDS
        return self.others(tenant, thing, actor)

    def others(self, tenant: str, thing: str, actor: str) -> list[str]:
        """Who else looks at it now."""
        now = wall_seconds()
        there = self._seen.get((tenant, thing), {})
        return sorted(other for other, until in there.items() if until > now and other != actor)

    def _forget(self, now: float) -> None:
        self._seen = {key: there for key, there in self._seen.items() if any(until > now for until in there.values())}
        if len(self._seen) >= SEEN_MAX:
            self._seen.clear()


class Replays:
    """One replay at a time: it is the server's own work, and others wait their turn."""

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
