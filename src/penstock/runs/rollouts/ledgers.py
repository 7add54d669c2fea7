"""What a process that trusts keys believes of all agents' releases, and remembers: it is not taken back behind it."""

import asyncio
import logging
from collections.abc import Mapping

from penstock.ports.rollouts import Release, Rollouts, Route, View
from penstock.runs.rollouts.signing import Keyring
from penstock.runs.rollouts.statements import Ledger

_logger = logging.getLogger("penstock.releases")
_Place = tuple[str, str]


class Ledgers:
    """The ledgers of agents that this process has to do with, read when they are asked for.

    Args:
        store: where statements are.
        keyring: whose signatures count; without any nothing is asked of them.
    """

    def __init__(self, store: Rollouts, keyring: Keyring) -> None:
        self._store = store
        self._keyring = keyring
        self._rows: dict[_Place, Route] = {}
        self._heads: Mapping[_Place, int] = {}
        self._known: dict[_Place, Ledger] = {}
        self._followed: dict[_Place, tuple[Route, int]] = {}
        self._reading = asyncio.Lock()

    def see(self, view: View) -> None:
        """Routes and statements are as this says."""
        self._rows = {(route.tenant, route.agent): route for route in view.routes}
        self._heads = view.heads

    async def route(self, tenant: str, agent: str) -> Route | None:
        """What new runs of an agent go by: what was signed. Where nothing that counts was, the row, which names what
        no worker that trusts keys executes. None = there are no releases.

        Raises:
            JournalUnavailable: the store cannot be asked.
        """
        ledger = await self._of(tenant, agent)
        if ledger is None or not ledger.is_begun:
            return self._rows.get((tenant, agent))
        return ledger.standing.route

    async def objection(self, release: Release, author: str) -> str:
        """Why runs of a release are not executed here; "" = it was approved and put in use, or no key is trusted.

        Raises:
            JournalUnavailable: the store cannot be asked.
        """
        if not self._keyring.trusted:
            return ""
        ledger = await self._of(release.tenant, release.agent)
        return (ledger or self._new((release.tenant, release.agent))).objection(release.id, author)

    async def _of(self, tenant: str, agent: str) -> Ledger | None:
        place = tenant, agent
        if not self._keyring.trusted:
            return None
        async with self._reading:
            row, head = self._rows.get(place, Route(tenant, agent)), self._heads.get(place, 0)
            ledger = self._known.get(place)
            if ledger is None and not row.number and not head:
                return None
            if ledger is None:
                ledger = self._known[place] = self._new(place)
            if self._followed.get(place) != (row, head):
                before = ledger.problem
                await ledger.follow(row, head)
                self._followed[place] = row, head
                if ledger.problem not in ("", before):
                    _logger.error("decisions on releases of %s in %s do not count: %s", agent, tenant, ledger.problem)
            return ledger

    def _new(self, place: _Place) -> Ledger:
        return Ledger(self._store, self._keyring, *place)
