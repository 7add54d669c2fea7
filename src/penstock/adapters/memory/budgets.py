"""Budgets for one process: the arithmetic of ``penstock.exchange_shares`` and ``penstock.charge_budgets``."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from penstock.kernel.errors import InputInvalid, ShareLost
from penstock.ports.budgets import (
    ACCOUNTS_MAX,
    BUDGETS_MAX,
    LEVELS,
    LIST_MAX,
    OTHER,
    RECALL_US,
    SPREAD,
    UNLIMITED,
    Account,
    AccountKey,
    Ask,
    Budget,
    Charge,
    Exchange,
    Standing,
    Triple,
)
from penstock.ports.records import Post

Told = Callable[[str, str, str | None, str, dict[str, Any]], None]
"""Called with tenant, topic, agent (None = all), what tells the message apart, and its facts."""


@dataclass(slots=True)
class _Share:
    granted: list[int] = field(default_factory=lambda: [0, 0, 0])
    used: list[int] = field(default_factory=lambda: [0, 0, 0])
    held: list[int] = field(default_factory=lambda: [0, 0, 0])

    def taken(self, part: int) -> int:
        """What nobody else can have of this."""
        return max(self.granted[part], self.used[part] + self.held[part])


@dataclass(slots=True)
class _Account:
    id: int
    key: AccountKey
    shares: dict[UUID, _Share] = field(default_factory=dict)
    gone: _Share = field(default_factory=_Share)  # of holders that are no more
    wanted_until: int = 0
    told: int = 0
    touched_at: int = 0

    def used(self) -> Triple:
        return self._sum(lambda share: share.used)

    def held(self) -> Triple:
        return self._sum(lambda share: share.held)

    def _sum(self, what: Callable[[_Share], list[int]]) -> Triple:
        every = [what(share) for share in (self.gone, *self.shares.values())]
        return sum(item[0] for item in every), sum(item[1] for item in every), sum(item[2] for item in every)

    def fold(self, holder: UUID) -> None:
        share = self.shares.pop(holder, None)
        if share is not None:
            for part in range(3):
                self.gone.used[part] += share.used[part]
                self.gone.held[part] += share.held[part]


class MemoryBudgets:
    """Implements `penstock.ports.budgets.Budgets`; see there.

    Args:
        deliver: puts a letter into a run's inbox.
        tell: writes down a message for the tenant's webhooks.
    """

    def __init__(
        self,
        now_us: Callable[[], int],
        deliver: Callable[[Post], None] = lambda post: None,
        tell: Told = lambda tenant, topic, agent, what, facts: None,
    ) -> None:
        self._now = now_us
        self._deliver = deliver
        self._tell = tell
        self._budgets: dict[tuple[str, str], Budget] = {}
        self._names: dict[tuple[str, int], str] = {}  # of budgets, by id
        self._accounts: dict[tuple[str, int], _Account] = {}
        self._by_key: dict[tuple[str, int, tuple[str, ...], int], _Account] = {}
        self._holders: dict[UUID, int] = {}
        self._waits: dict[tuple[str, int], dict[tuple[UUID, str], None]] = {}
        self._change = 0
        self._last_id = 0

    async def put(self, budget: Budget, actor: str) -> Budget:
        key = budget.tenant, budget.name
        known = self._budgets.get(key)
        if known is None and len(self._budgets) >= BUDGETS_MAX:
            raise InputInvalid(f"there are {BUDGETS_MAX:,} budgets already", hint="remove some")
        if known is None or budget.begins_anew(known):
            if known is not None:
                self._drop_accounts(known)
                del self._names[known.tenant, known.id]
            self._last_id += 1
            made = self._budgets[key] = replace(budget, id=self._last_id)
            self._names[made.tenant, made.id] = made.name
        else:
            made = self._budgets[key] = replace(budget, id=known.id)
            for account in self._accounts_of(made):
                account.told = 0 if made.limits != known.limits else account.told
                self._cut(account, known.limits, made.limits)
                self._wake(account)
        self._change += 1
        return made

    async def remove(self, tenant: str, name: str) -> bool:
        known = self._budgets.pop((tenant, name), None)
        if known is None:
            return False
        self._drop_accounts(known)
        del self._names[known.tenant, known.id]
        self._change += 1
        return True

    async def budgets(self, tenant: str | None) -> list[Budget]:
        return [budget for key, budget in sorted(self._budgets.items()) if tenant in (None, key[0])]

    async def change(self) -> int:
        return self._change

    async def open(self, keys: Sequence[AccountKey]) -> list[tuple[int, tuple[str, ...]]]:
        return [self._open(key) for key in keys]

    def _open(self, key: AccountKey) -> tuple[int, tuple[str, ...]]:
        budget = self._budget(key.tenant, key.budget)
        if budget is None:
            return 0, key.who
        known = self._by_key.get((key.tenant, key.budget, key.who, key.since))
        if known is None and budget.period != "run" and budget.each:
            many = sum(other.key.since == key.since for other in self._accounts_of(budget))
            if many >= ACCOUNTS_MAX:
                key = replace(key, who=(OTHER,) * len(key.who))
                known = self._by_key.get((key.tenant, key.budget, key.who, key.since))
        if known is None:
            self._last_id += 1
            known = _Account(self._last_id, key, touched_at=self._now())
            self._accounts[key.tenant, known.id] = known
            self._by_key[key.tenant, key.budget, key.who, key.since] = known
        return known.id, known.key.who

    async def exchange(self, holder: UUID, lease_seconds: float, asks: Sequence[Ask], *, fresh: bool) -> Exchange:
        now = self._now()
        for dead in [known for known, until in self._holders.items() if until <= now]:
            del self._holders[dead]
        if not fresh and holder not in self._holders:
            return Exchange(now, alive=False, change=self._change)
        self._holders[holder] = now + int(lease_seconds * 1e6)
        standings = [self._ask(holder, ask, now) for ask in asks]
        asked = {ask.account for ask in asks}
        standings += [
            self._standing(account, holder, now)
            for account in self._accounts.values()
            if account.id not in asked and account.wanted_until > now and holder in account.shares
        ]
        return Exchange(now, alive=True, change=self._change, standings=standings)

    def _ask(self, holder: UUID, ask: Ask, now: int) -> Standing:
        account = self._accounts.get((ask.tenant, ask.account))
        if account is None:
            return Standing(ask.account, gone=True)
        account.touched_at = now
        for other in [
            known for known in account.shares if known not in self._holders or (ask.leave and known == holder)
        ]:
            account.fold(other)
        share = account.shares.get(holder)
        if ask.keep is not None and share is not None:
            for part in range(3):
                used = share.used[part] + share.held[part]
                share.granted[part] = min(share.granted[part], max(ask.keep[part], used))
        if ask.least is not None:
            self._grant(account, holder, ask.least, ask.ample, now)
        self._tell_level(account)
        return self._standing(account, holder, now)

    def _grant(self, account: _Account, holder: UUID, least: Triple, ample: Triple, now: int) -> None:
        limits = self._limits(account)
        share = account.shares.setdefault(holder, _Share())
        more = [0, 0, 0]
        scarce = account.wanted_until > now
        for part, limit in enumerate(limits):
            if not limit:
                share.granted[part] = UNLIMITED
                continue
            taken = sum(other.taken(part) for other in account.shares.values())
            left = limit - taken - account.gone.used[part] - account.gone.held[part]
            need = max(0, least[part] - share.granted[part])
            if need > left:
                account.wanted_until = now + RECALL_US
                return
            ahead = 0 if scarce else max(ample[part] - share.granted[part], left // SPREAD // len(account.shares))
            more[part] = min(left, max(need, ahead))
        for part, limit in enumerate(limits):
            if limit:
                share.granted[part] += more[part]

    def _standing(self, account: _Account, holder: UUID, now: int) -> Standing:
        share = account.shares.get(holder, _Share())
        granted: Triple = (share.granted[0], share.granted[1], share.granted[2])
        return Standing(
            account.id,
            wanted=account.wanted_until > now,
            granted=granted,
            limits=self._limits(account),
            used=account.used(),
            held=account.held(),
        )

    def _tell_level(self, account: _Account) -> None:
        used, limits = account.used(), self._limits(account)
        reached = max([100 * part // limit for part, limit in zip(used, limits, strict=True) if limit], default=0)
        level = max([known for known in LEVELS if reached >= known], default=0)
        if level <= account.told:
            return
        account.told = level
        budget = self._budget(account.key.tenant, account.key.budget)
        assert budget is not None
        facts = {
            "budget": budget.name,
            "account": account.id,
            "who": dict(zip([*budget.each, "run"], account.key.who, strict=False)),
            "level": level,
            "since": account.key.since,
            "until": account.key.until,
            "nano": used[0],
            "tokens": used[1],
            "calls": used[2],
            "limit_nano": limits[0],
            "limit_tokens": limits[1],
            "limit_calls": limits[2],
        }
        what = f"{account.id}:{level}:{limits[0]}:{limits[1]}:{limits[2]}"
        self._tell(account.key.tenant, "budget.threshold", None, what, facts)

    async def accounts(
        self, tenant: str, name: str, limit: int = 100, *, since: int = 0, after: int = 0
    ) -> list[Account]:
        budget = self._budgets.get((tenant, name))
        if budget is None:
            return []
        names = [*budget.each, "run"] if budget.period == "run" else budget.each
        found = [
            Account(
                known.id,
                dict(zip(names, known.key.who, strict=True)),
                known.key.since,
                known.key.until,
                known.used(),
                known.held(),
                known.told,
            )
            for known in self._accounts_of(budget)
            if (not known.key.until or known.key.until > since) and (not after or known.id < after)
        ]
        return sorted(found, key=lambda item: -item.id)[: max(0, min(limit, LIST_MAX))]

    async def wait(self, tenant: str, account: int, run: UUID, path: str) -> int:
        if (tenant, account) in self._accounts:
            dedup = f"budget:{path}:{account}:{self._change}"
            self._waits.setdefault((tenant, account), {})[run, dedup] = None
        return self._change

    async def forget(self, before: int, limit: int) -> int:
        old = [
            account
            for account in self._accounts.values()
            if not any(account.held())
            and not account.shares
            and ((0 < account.key.until < before) or (self._period(account) == "run" and account.touched_at < before))
        ][:limit]
        for account in old:
            self._forget(account)
        return len(old)

    def charge(self, tenant: str, charges: Sequence[Charge]) -> None:
        """Within an append, after its batch was accepted.

        Raises:
            ShareLost: a share does not hold what is to be reserved; nothing is charged.
        """
        known = [
            (charge, account)
            for charge in charges
            if (account := self._accounts.get((tenant, charge.account))) is not None
        ]
        sums: dict[tuple[int, UUID], list[int]] = {}
        for charge, account in known:
            if charge.reserves:
                total = sums.setdefault((account.id, charge.holder), [0, 0, 0])
                for part, amount in enumerate((charge.held_nano, charge.held_tokens, charge.held_calls)):
                    total[part] += amount
        for (number, holder), total in sums.items():
            share = self._accounts[tenant, number].shares.get(holder, _Share())
            for part, amount in enumerate(total):
                if amount > 0 and share.granted[part] < share.used[part] + share.held[part] + amount:
                    raise ShareLost(f"what is granted to this process in account {number} does not hold the call")
        for charge, account in known:
            share = account.shares.setdefault(charge.holder, _Share())
            for part, amount in enumerate((charge.held_nano, charge.held_tokens, charge.held_calls)):
                share.held[part] += amount
            for part, amount in enumerate((charge.nano, charge.tokens, charge.calls)):
                share.used[part] += amount

    def _budget(self, tenant: str, number: int) -> Budget | None:
        name = self._names.get((tenant, number))
        return None if name is None else self._budgets[tenant, name]

    def _limits(self, account: _Account) -> Triple:
        budget = self._budget(account.key.tenant, account.key.budget)
        assert budget is not None
        return budget.limits

    def _period(self, account: _Account) -> str:
        budget = self._budget(account.key.tenant, account.key.budget)
        return budget.period if budget is not None else ""

    def _accounts_of(self, budget: Budget) -> list[_Account]:
        return [
            account
            for account in self._accounts.values()
            if account.key.tenant == budget.tenant and account.key.budget == budget.id
        ]

    def _drop_accounts(self, budget: Budget) -> None:
        for account in self._accounts_of(budget):
            self._wake(account)
            self._forget(account)

    def _forget(self, account: _Account) -> None:
        key = account.key
        del self._accounts[key.tenant, account.id], self._by_key[key.tenant, key.budget, key.who, key.since]

    def _cut(self, account: _Account, before: Triple, limits: Triple) -> None:
        """Where the limit is lower now, whoever spends from a share must ask anew."""
        for part, limit in enumerate(limits):
            if limit and (not before[part] or limit < before[part]):
                for share in account.shares.values():
                    share.granted[part] = share.used[part] + share.held[part]

    def _wake(self, account: _Account) -> None:
        for run, dedup in self._waits.pop((account.key.tenant, account.id), {}):
            self._deliver(Post(account.key.tenant, run, dedup, "budget", b""))
