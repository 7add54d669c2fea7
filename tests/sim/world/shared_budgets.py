"""Budgets above the task in some seeds: too small, so that runs wait for room and park, and raised now and then."""

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING

from tests.sim.world.told import Told

from penstock.events import ModelIntent, ModelOutcome, RunEnded, ToolIntent, ToolOutcome
from penstock.gates.budgets.charging import amount_of, used_of
from penstock.kernel.errors import JournalFull
from penstock.ports.budgets import EACH, Budget
from penstock.ports.records import RunKey

if TYPE_CHECKING:
    from tests.sim.world.seeds import World

CHANCE = 0.15
RAISE_SECONDS = 2.0
BUDGETS = (
    Budget("default", "all", {}, "total", nano=1, at_end="park"),
    Budget("default", "each agent", {"agent": EACH}, "total", tokens=1, at_end="park"),
    Budget("default", "calls", {}, "hour", calls=1, at_end="park"),
    Budget("other", "all", {}, "total", calls=1, at_end="park"),
)


class SharedBudgets:
    """The budgets of one seed, who raises them, and what they promise."""

    def __init__(self, world: "World", rng: random.Random) -> None:
        self._world = world
        self._rng = rng
        self._steps = {"nano": rng.randrange(20_000, 400_000), "tokens": rng.randrange(500, 5000), "calls": 4}

    def begin(self) -> None:
        """Set them, and raise them from then on."""
        for budget in BUDGETS:
            self._put(budget, 1)
        self._world.database.on_append = self._look
        self._world.loop.create_task(self._raise())

    async def _raise(self) -> None:
        times = 1
        while True:
            await asyncio.sleep(RAISE_SECONDS * (0.2 if self._world.calm else self._rng.uniform(0.2, 2)))
            times += 25 if self._world.calm else 1
            for budget in BUDGETS:
                if self._world.calm or self._rng.random() < 0.7:
                    self._put(budget, times)

    def _put(self, budget: Budget, times: int) -> None:
        nano, tokens, calls = budget.limits
        raised = Budget(
            budget.tenant, budget.name, budget.match, budget.period, budget.timezone,
            nano and times * self._steps["nano"], tokens and times * self._steps["tokens"],
            calls and times * self._steps["calls"], budget.at_end,
        )  # fmt: skip
        database = self._world.database
        with contextlib.suppress(JournalFull):  # raised again soon
            database.write(lambda: database.memory.budgets.put(raised, "operator"))
        self._world.exchange.tell()

    def _look(self) -> None:
        """After every commit: no account is over its limit."""
        store = self._world.database.memory.budgets
        for account in store._accounts.values():
            limits = store._limits(account)
            for part, (used, held, limit) in enumerate(zip(account.used(), account.held(), limits, strict=True)):
                if limit and used + held > limit:
                    what = f"account {account.id}: {used} used and {held} held of {limit} ({part})"
                    self._world.fail("account_never_over", what)
                if held < 0:
                    self._world.fail("no_negative_hold", f"account {account.id} holds {held} ({part})")

    def check(self, tapes: dict[RunKey, Told]) -> None:
        """When all has ended: the accounts say what the tapes say, and hold nothing."""
        store = self._world.database.memory.budgets
        said: dict[tuple[str, int], list[int]] = {}
        for told in tapes.values():
            for account, used in charged(told):
                sums = said.setdefault((told.run.new.tenant, account), [0, 0, 0])
                for part in range(3):
                    sums[part] += used[part]
        ended = all(isinstance(told.events[-1], RunEnded) for told in tapes.values())
        for key, book in store._accounts.items():
            if ended and any(book.held()):
                self._world.fail("nothing_held_at_the_end", f"account {book.id} holds {book.held()}")
            if ended and list(book.used()) != said.get(key, [0, 0, 0]):
                what = f"account {book.id} says {book.used()}, and the tapes {said.get(key)}"
                self._world.fail("accounts_equal_tapes", what)
        self._world.counts["calls charged to shared budgets"] += sum(sums[2] for sums in said.values())


def charged(told: Told) -> list[tuple[int, tuple[int, int, int]]]:
    """What a tape charges to which accounts, by its events alone."""
    open_: dict[tuple[str, int], ModelIntent | ToolIntent] = {}
    found = []
    for event in told.events:
        if isinstance(event, ModelIntent | ToolIntent):
            open_[event.path, event.attempt] = event
        elif isinstance(event, ModelOutcome | ToolOutcome):
            intent = open_.pop((event.path, event.attempt), None)
            found += [(account, used_of(event)) for account in (intent.charged if intent is not None else [])]
        elif isinstance(event, RunEnded):
            found += [(account, amount_of(intent)) for intent in open_.values() for account in intent.charged]
    return found
