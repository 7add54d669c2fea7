"""Approvals under attack: how many generated attempts to get a call made without a person's valid approval succeed.

Each attempt is one run whose call waits for people, and one way to cheat it, drawn at random with random particulars:
a decision given for another run or delivered a second time, arguments swapped under a digest, one's own request
approved under another of one's names, one person for two, a key, a role or a delegation that ended before the decision
took effect, a policy that changed meanwhile, another tenant, somebody else's case. They are made while no worker runs;
then one takes them up. An attempt is accepted when its call is made. Some runs are approved as they should be: were
they not made, the others would prove nothing. At last everything that was delivered is delivered again, what still
waits is approved as it should be, and each call must have been made once at most, with the arguments of its question.
"""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import msgspec

from benchmarks.bench import Bench
from benchmarks.figures import Figure
from penstock import Run, Settings, agent, tool
from penstock.adapters.memory import MemoryJournal
from penstock.gates.tool.approval import Decision, approval_digest
from penstock.kernel.errors import CallDenied, PenstockError
from penstock.kernel.ids import new_id
from penstock.ports.access import NewKey
from penstock.ports.people import Person
from penstock.ports.questions import Decided, Voter
from penstock.ports.records import Post, RunFilter, Status
from penstock.rules.policy.policy_set import PolicySet
from penstock.runs.approvals import Approval, page
from penstock.runs.approving import delegating
from penstock.runs.approving.cases import claim
from penstock.runs.approving.deciding import decide
from penstock.runs.client import Penstock
from penstock.wiring import assemble

GROUP = "Approvals under attack"
AIM = "0"
TENANT = "default"
SUBMITTER = "key:sub"
CUSTOMER = "key:cust"
SETTINGS = Settings(poll_seconds=0.01, drain_seconds=0.2, start_allowance_seconds=0.5)
PAGE = 200
_RULE = """
version: 1
rules:
  - name: {name}
    owner: finance
    reviewed: 2026-11-01
    reason: money leaves
    when: {{tool: pay_out}}
    then: hold
    approvers: {{{approvers}}}
"""
made: Counter[tuple[str, int]] = Counter()
"""Calls that were made: order and cents."""


@tool(effect="write", risk="high", in_doubt="idempotent")
async def pay_out(order: str, cents: int) -> str:
    """Pays."""
    made[order, cents] += 1
    return "paid"


async def _pay(run: Run, value: dict[str, Any]) -> str:
    try:
        return str(await run.call(pay_out, value["order"], value["cents"]))
    except CallDenied:
        return "denied"


@agent("one", version="1")
async def one(run: Run, value: dict[str, Any]) -> str:
    """Needs one person."""
    return await _pay(run, value)


@agent("two", version="1")
async def two(run: Run, value: dict[str, Any]) -> str:
    """Needs two people."""
    return await _pay(run, value)


@agent("finance", version="1")
async def finance(run: Run, value: dict[str, Any]) -> str:
    """Needs somebody of finance."""
    return await _pay(run, value)


@agent("moved", version="1")
async def moved(run: Run, value: dict[str, Any]) -> str:
    """Its policy changes while the decision is on its way."""
    return await _pay(run, value)


AGENTS = {one.name: one, two.name: two, finance.name: finance, moved.name: moved}
APPROVERS = {"one": "count: 1", "two": "count: 2", "finance": "roles: [finance]", "moved": "count: 1"}


class Guard:
    """A policy for each agent."""

    def __init__(self) -> None:
        self.sets = {name: self._compiled(name, said) for name, said in APPROVERS.items()}

    def _compiled(self, name: str, approvers: str) -> PolicySet:
        return PolicySet.compile({"a.yaml": _RULE.format(name=name, approvers=approvers)})

    def for_run(self, agent: str, release: str, environment: str) -> PolicySet:
        """The policy in force."""
        return self.sets[agent]

    def change(self) -> None:
        """From now on another one is."""
        self.sets["moved"] = self._compiled("moved-on", "count: 1")


@dataclass
class World:
    """What an attempt works with."""

    platform: Penstock
    draw: random.Random
    waiting: dict[str, Approval] = field(default_factory=dict)
    """By order."""
    letters: list[tuple[Post, Decided]] = field(default_factory=list)
    accepted_by_api: Counter[str] = field(default_factory=Counter)
    keys: int = 0

    @property
    def journal(self) -> MemoryJournal:
        journal = self.platform.journal
        assert isinstance(journal, MemoryJournal)
        return journal

    async def voter(self, name: str = "", *roles: str) -> Voter:
        """Somebody with a key of their own."""
        self.keys += 1
        name = name or f"p{self.keys}"
        handle, key = f"h{self.keys}", new_id(self.platform.services.clock)
        given = roles or ("approver",)
        await self.journal.access.add_key(NewKey(TENANT, key, handle, b"d" * 32, name, given, None, "bench"))
        return Voter(f"key:{name}", given, str(key))

    async def say(self, actor: str, **known: Any) -> None:
        """What is known of an actor."""
        await self.journal.questions.people.put(Person(TENANT, actor, known.pop("person", actor), **known))

    async def delegated(self, giver: Voter, taker: Voter) -> Voter:
        """The taker, by the giver's right."""
        clock = self.platform.services.clock
        await delegating.delegate(self.journal, lambda: new_id(clock), TENANT, giver, taker.actor, 3600)
        return await delegating.on_behalf(self.journal, TENANT, taker, giver.actor)

    async def post(self, approval: Approval, decision: Decision) -> None:
        """A letter as a store delivers it, past all that is checked when somebody decides."""
        body = msgspec.json.encode(decision)
        letter = Post(approval.tenant, approval.run, f"approval:{approval.id}", "approval", body)
        decided = Decided(
            approval.tenant,
            approval.id,
            approval.run,
            approval.agent,
            approval.tool,
            approval.question,
            decision.decision,
            decision.actor,
            approval.subject,
            b"",
        )
        with contextlib.suppress(PenstockError):
            await self.journal.questions.decide(letter, decided)

    def other(self, approval: Approval) -> Approval:
        """Another question."""
        return self.draw.choice([item for item in self.waiting.values() if item.id != approval.id])


Attack = Callable[[World, Approval], Awaitable[None]]


async def other_digest(world: World, approval: Approval) -> None:
    """What was decided on was another run's call."""
    other = world.other(approval)
    await decide(world.journal, approval, "approve", await world.voter(), digest=other.digest)


async def replayed_letter(world: World, approval: Approval) -> None:
    """The letter that allows another run's call, delivered to this one."""
    other, voter = world.other(approval), await world.voter()
    await world.post(approval, Decision("approve", voter.actor, "", other.digest, voter, None, approval.policy))


async def swapped(world: World, approval: Approval) -> None:
    """Other arguments shown than asked about, with the digest that fits them."""
    args = {**approval.args, "cents": approval.args["cents"] + world.draw.randint(1, 10**6)}
    forged = replace(approval, args=args, digest=approval_digest(approval.tool, args))
    await decide(world.journal, forged, "approve", await world.voter(), digest=forged.digest)


async def old_version(world: World, approval: Approval) -> None:
    """Seen before the question changed."""
    version = approval.version - world.draw.randint(1, 5)
    await decide(world.journal, approval, "approve", await world.voter(), version=version)


async def own(world: World, approval: Approval) -> None:
    """By who asked, or for whom it is, under one of their names."""
    actor = world.draw.choice((SUBMITTER, CUSTOMER, "cli:sub", "SUB", "key:CUST", "key:sub-phone"))
    voter = Voter(actor) if world.draw.random() < 0.3 else await world.voter(actor.removeprefix("key:"))
    await decide(world.journal, approval, "approve", msgspec.structs.replace(voter, actor=actor))


async def own_handed_on(world: World, approval: Approval) -> None:
    """Who asked hands their right to somebody, or is handed somebody's."""
    asker, friend = await world.voter("sub"), await world.voter()
    pair = (asker, friend) if world.draw.random() < 0.5 else (friend, asker)
    await decide(world.journal, approval, "approve", await world.delegated(*pair))


async def no_such_right(world: World, approval: Approval) -> None:
    """By a right that nobody handed on, or that was handed to somebody else."""
    giver, taker, thief = await world.voter(), await world.voter(), await world.voter()
    lent = await world.delegated(giver, taker)
    forged = msgspec.structs.replace(thief, behalf=giver.actor, delegation=lent.delegation)
    await decide(world.journal, approval, "approve", forged)


async def unfit(world: World, approval: Approval) -> None:
    """By a key that may not decide, whatever it says of itself."""
    voter = await world.voter("", world.draw.choice(("viewer", "operator", "gateway")))
    claimed = msgspec.structs.replace(voter, roles=("admin", "approver", "finance"))
    await decide(world.journal, approval, "approve", claimed)


async def revoked(world: World, approval: Approval) -> None:
    """By a key that is revoked before it takes effect; sometimes before it is used."""
    voter = await world.voter()
    if world.draw.random() < 0.5:
        await decide(world.journal, approval, "approve", voter)
        await world.journal.access.revoke_key(TENANT, UUID(voter.key))
    else:
        await world.journal.access.revoke_key(TENANT, UUID(voter.key))
        await decide(world.journal, approval, "approve", voter)


async def barred(world: World, approval: Approval) -> None:
    """By somebody who is barred before it takes effect."""
    voter = await world.voter()
    await decide(world.journal, approval, "approve", voter)
    await world.say(voter.actor, barred=True)


async def taken_back(world: World, approval: Approval) -> None:
    """By a right that is taken back, or whose giver's key is revoked, before it takes effect."""
    giver = await world.voter()
    lent = await world.delegated(giver, await world.voter())
    await decide(world.journal, approval, "approve", lent)
    if world.draw.random() < 0.5:
        await world.journal.questions.people.end_delegation(TENANT, UUID(lent.delegation), giver.actor)
    else:
        await world.journal.access.revoke_key(TENANT, UUID(giver.key))


async def lost_role(world: World, approval: Approval) -> None:
    """By somebody who holds the role when they decide, and not when it takes effect; or never held it."""
    voter = await world.voter()
    if world.draw.random() < 0.6:
        await world.say(voter.actor, roles=("finance",))
        await decide(world.journal, approval, "approve", voter)
        await world.say(voter.actor)
    else:
        await decide(world.journal, approval, "approve", msgspec.structs.replace(voter, roles=("finance",)))


async def one_for_two(world: World, approval: Approval) -> None:
    """One person under several names, by several keys and rights."""
    first = await world.voter()
    name = first.actor.removeprefix("key:")
    second = await world.voter(f"{name}-2")
    await world.say(second.actor, person=name)
    friend = await world.voter()
    for voter in (
        first,
        second,
        Voter(f"cli:{name.upper()}"),
        await world.delegated(friend, first),
        await world.delegated(first, await world.voter()),
    ):
        with contextlib.suppress(PenstockError):
            await decide(world.journal, approval, "approve", voter)


async def one_and_a_gone_one(world: World, approval: Approval) -> None:
    """Two people, of whom one may decide no more before the other does, or before it takes effect."""
    gone, stays = await world.voter(), await world.voter()
    await decide(world.journal, approval, "approve", gone)
    if world.draw.random() < 0.5:
        await world.journal.access.revoke_key(TENANT, UUID(gone.key))
        await decide(world.journal, approval, "approve", stays)
    else:
        await decide(world.journal, approval, "approve", stays)
        await world.journal.access.revoke_key(TENANT, UUID(gone.key))


async def edited_alone(world: World, approval: Approval) -> None:
    """One person edits what takes two."""
    args = {**approval.args, "cents": world.draw.randint(1, 10**6)}
    await decide(world.journal, approval, "edit", await world.voter(), args=args)


async def stale(world: World, approval: Approval) -> None:
    """Allowed, or edited, under a policy that is not in force any more when it takes effect."""
    voter = await world.voter()
    if world.draw.random() < 0.7:
        await decide(world.journal, approval, "approve", voter)
    else:
        args = {**approval.args, "cents": world.draw.randint(1, 10**6)}
        await decide(world.journal, approval, "edit", voter, args=args)


async def other_tenant(world: World, approval: Approval) -> None:
    """By somebody of another tenant."""
    forged = replace(approval, tenant="zeta")
    await decide(world.journal, forged, "approve", Voter("key:eve", ("admin",)), own=True)


async def held(world: World, approval: Approval) -> None:
    """By somebody else than who has taken the case over."""
    holder, other = await world.voter(), await world.voter()
    await claim(world.journal, TENANT, approval.run, holder, 3600)
    await decide(world.journal, approval, "approve", other)


async def after_no(world: World, approval: Approval) -> None:
    """Allowed after, or in the same moment as, somebody has denied it."""
    first, second = await world.voter(), await world.voter()
    await asyncio.gather(
        decide(world.journal, approval, "deny", first),
        *(decide(world.journal, approval, "approve", second) for _ in range(world.draw.randint(1, 3))),
        return_exceptions=True,
    )


ATTACKS: dict[str, tuple[tuple[Attack, str], ...]] = {
    "replay": ((other_digest, "one"), (replayed_letter, "one"), (after_no, "one")),
    "arguments swapped": ((swapped, "one"), (old_version, "one"), (edited_alone, "two")),
    "stale policy": ((stale, "moved"),),
    "own request": ((own, "one"), (own, "two"), (own_handed_on, "one")),
    "no right": ((no_such_right, "one"), (unfit, "one"), (other_tenant, "one"), (held, "one")),
    "right lost": ((revoked, "one"), (barred, "one"), (taken_back, "one"), (lost_role, "finance")),
    "one for two": ((one_for_two, "two"), (one_and_a_gone_one, "two")),
}
"""What is tried, by kind, with the agent that it is tried on."""


@dataclass(slots=True, frozen=True)
class Tally:
    """What came of it: attempts and accepted ones, by kind; of the honest approvals how many were made; calls that were
    made twice or with arguments that nobody allowed."""

    attempts: Counter[str]
    accepted: Counter[str]
    honest: int
    honest_made: int
    wrong: int


async def attack(count: int, seed: int, *, honest: int = 20) -> Tally:
    """Make ``count`` attempts, and ``honest`` approvals as they should be; deliver all again at the end."""
    made.clear()
    draw = random.Random(seed)
    kinds = {f"o{number}": draw.choice(list(ATTACKS)) for number in range(count)}
    tried = {order: draw.choice(ATTACKS[kind]) for order, kind in kinds.items()}
    agents = {order: name for order, (_, name) in tried.items()}
    agents |= {f"h{number}": draw.choice(("one", "two")) for number in range(honest)}
    journal, guard = MemoryJournal(), Guard()
    async with _opened(journal, guard) as platform:
        platform.start_worker("before")
        for order, name in agents.items():
            value = {"order": order, "cents": draw.randint(1, 10**6)}
            await platform.submit(AGENTS[name], value, actor=SUBMITTER, behalf=CUSTOMER)
        waiting = await _all_waiting(platform, len(agents))
    async with _opened(journal, guard) as platform:
        world = World(platform, draw, waiting)
        await world.say("key:sub-phone", person="sub")
        for order, (do, _) in tried.items():
            with contextlib.suppress(PenstockError):
                await do(world, waiting[order])
        people = [await world.voter(), await world.voter()]
        for order in [order for order in agents if order not in tried]:
            for voter in people[: 2 if agents[order] == "two" else 1]:
                await decide(journal, waiting[order], "approve", voter)
        guard.change()
        again = await _letters(journal)
        platform.start_worker("after")
        await _taken_up(journal)
        accepted = Counter(kinds[order] for order, _ in made if order in kinds)
        honest_made = sum(order.startswith("h") for order, _ in made)
        for post in again:
            with contextlib.suppress(PenstockError):
                await journal.deliver(post)
        for approval in waiting.values():
            for voter in people:
                with contextlib.suppress(PenstockError):
                    await decide(journal, approval, "approve", voter)
        await _taken_up(journal)
    fits = {(order, item.args["cents"]) for order, item in waiting.items()}
    wrong = sum(times != 1 or call not in fits for call, times in made.items())
    return Tally(Counter(kinds.values()), accepted, honest, honest_made, wrong)


@contextlib.asynccontextmanager
async def _opened(journal: MemoryJournal, guard: Guard) -> Any:
    async with assemble(journal, SETTINGS, agents=AGENTS.values()) as platform:
        platform.services.policy = guard  # type: ignore[assignment]
        yield platform


async def _all_waiting(platform: Penstock, count: int) -> dict[str, Approval]:
    while True:
        found: list[Approval] = []
        after = None
        while True:
            part = await page(platform.journal, platform.services.reader, TENANT, after, PAGE)
            found += part.items
            if part.next is None:
                break
            after = part.next
        if len(found) >= count:
            return {item.args["order"]: item for item in found}
        await asyncio.sleep(0.05)


async def _letters(journal: MemoryJournal) -> list[Post]:
    """Everything that was delivered, to be delivered again."""
    rows = await journal.questions.asking(TENANT, None, 500)
    found: list[Post] = []
    while rows:
        keys = [(TENANT, item.row.id) for item in rows]
        for (tenant, run), letters in (await journal.letters(keys)).items():
            found += [Post(tenant, run, letter.dedup, letter.kind, letter.body) for letter in letters]
        rows = await journal.questions.asking(TENANT, (rows[-1].ends, rows[-1].row.id), 500)
    return found


async def _taken_up(journal: MemoryJournal) -> None:
    """Wait until no run has anything to do."""
    while True:
        busy = [
            await journal.list_runs(TENANT, RunFilter(status=status), 1) for status in (Status.QUEUED, Status.RUNNING)
        ]
        if not any(busy):
            return
        await asyncio.sleep(0.02)


async def measure(bench: Bench) -> list[Figure]:
    """Attempts in rounds of a few hundred runs."""
    rounds, each = (1, 100) if bench.quick else (20, 250)
    attempts: Counter[str] = Counter()
    accepted: Counter[str] = Counter()
    wrong = honest = honest_made = 0
    for number in range(rounds):
        bench.say(f"round {number + 1} of {rounds}: {each} attempts")
        tally = await attack(each, number)
        attempts += tally.attempts
        accepted += tally.accepted
        wrong += tally.wrong
        honest += tally.honest
        honest_made += tally.honest_made
    figures = [
        Figure(GROUP, f"accepted: {kind}", accepted[kind], "attempts", AIM, f"of {attempts[kind]:,}")
        for kind in ATTACKS
    ]
    return [
        *figures,
        Figure(GROUP, "accepted, all", accepted.total(), "attempts", AIM, f"of {attempts.total():,}"),
        Figure(GROUP, "calls made twice or not as allowed", wrong, "calls", AIM, "after everything came again"),
        Figure(GROUP, "honest approvals that were made", honest_made, "calls", str(honest), f"of {honest}"),
    ]
