"""What every store of runs must do for lists: any filter, page by page, finds what looking at every run would find."""

import itertools
import random
from collections import Counter
from dataclasses import replace
from typing import Any
from uuid import UUID

from tests.contract.journal_world import CLOCK, Holder, World, new_run

from penstock.events import Waiting
from penstock.kernel.canonical import stable_json
from penstock.kernel.ids import id_time_us, new_id
from penstock.ports.lists import SHOWN_OPEN, Page, shown
from penstock.ports.records import Move, RunFilter, RunRow, Status, Stop, Summary

AGENTS, RELEASES, CUSTOMERS = ("desk", "clerk", "cook"), ("r1", "r2"), ("ada", "bob", "")
HOUR = 3_600_000_000
START = 1_760_000_000_000_000


def an_id(number: int) -> UUID:
    """The id of a run that was made ``number`` hours after the first."""
    made = new_id(CLOCK)
    return UUID(int=((START + number * HOUR) // 1000 << 80) | (made.int & ((1 << 80) - 1)))


async def populate(world: World, count: int = 48) -> list[RunRow]:
    """Runs of all kinds, an hour apart; their rows, newest first."""
    choose = random.Random(7)
    runs = []
    for number in range(count):
        tags = {"feature": choose.choice("xy"), "x_team": choose.choice(("red", "blue", 'a "b" \\c'))}
        if customer := choose.choice(CUSTOMERS):
            tags["customer"] = customer
        session = f"s{number % 9}" if number % 4 == 0 else ""
        agent, release = choose.choice(AGENTS), choose.choice(RELEASES)
        runs.append(new_run(id=an_id(number), agent=agent, release=release, tags=tags, session=session))
    await world.journal.submit(runs)
    claims = await world.journal.claim(await world.worker(), list(RELEASES), count - 6)
    moves = itertools.cycle(
        [
            Move(Status.ENDED, outcome="succeeded"),
            Move(Status.ENDED, outcome="failed", code="tool_failed"),
            Move(Status.PARKED, waiting=_waiting("approval")),
            Move(Status.ENDED, outcome="killed", code="killed"),
            Move(Status.PARKED, waiting=_waiting("retry", "timer")),
            Move(Status.ENDED, outcome="succeeded"),
            Move(Status.PARKED, waiting=_waiting("timer", "doubt")),
            Move(Status.QUARANTINED, code="divergence"),
            None,
        ]
    )
    for claim in claims:
        holder, move = Holder(world.journal, claim), next(moves)
        spent = Summary(nano=choose.randrange(1000))
        if move is not None:
            await holder.append(move=move, summary=spent)
    unended = [row.id for row in await rows_of(world, runs) if row.status is not Status.ENDED]
    for run, stop in zip(choose.sample(unended, 4), (Stop.KILL, Stop.CANCEL, Stop.PAUSE, Stop.PAUSE), strict=True):
        await world.journal.stop_run("acme", run, stop, "ann", "")
    return sorted(await rows_of(world, runs), key=lambda row: row.id, reverse=True)


async def rows_of(world: World, runs: list[Any]) -> list[RunRow]:
    """As each is now."""
    found = [await world.journal.get_run("acme", run.id) for run in runs]
    return [row for row in found if row is not None]


def _waiting(*kinds: str) -> bytes:
    return stable_json([Waiting(kind, "1", 'refund"kind":"doubt"', f"id-{kind}") for kind in kinds])


def expected(rows: list[RunRow], where: RunFilter) -> list[UUID]:
    """What a filter finds, said once more in the plainest way."""
    found = []
    for row in rows:
        word = shown(row.status, row.stop, row.outcome, row.waiting)
        asked = [
            (where.status, row.status),
            (where.outcome, row.outcome),
            (where.agent, row.agent),
            (where.release, row.release),
            (where.session, row.session),
            (where.code, row.code),
            (where.shown, word),
        ]
        made = id_time_us(row.id)
        fits = (
            all(wanted is None or wanted == there for wanted, there in asked)
            and where.tags.items() <= row.tags.items()
            and (where.any_tag is None or where.any_tag in row.tags.values())
            and (where.waiting_for is None or f'"kind":"{where.waiting_for}"'.encode() in row.waiting)
            and row.summary.nano >= where.min_nano
            and where.since <= made
            and (not where.until or made < where.until)
        )
        if fits:
            found.append(row.id)
    return found


def filters(count: int) -> list[RunFilter]:
    """Every field by itself, and many together."""
    values: dict[str, list[Any]] = {
        "status": list(Status),
        "outcome": ["succeeded", "failed", "killed", "refused"],
        "agent": [*AGENTS, "nobody"],
        "release": list(RELEASES),
        "session": ["s0", "s4", "none"],
        "code": ["tool_failed", "divergence", "killed", "none"],
        "shown": [*SHOWN_OPEN, "succeeded", "failed"],
        "tags": [{"customer": "ada"}, {"feature": "x"}, {"customer": "bob", "x_team": "red"}, {"x_team": 'a "b" \\c'}],
        "any_tag": ["ada", "red", 'a "b" \\c', "none"],
        "waiting_for": ["approval", "doubt", "timer", "child"],
        "min_nano": [1, 500],
        "since": [START + 10 * HOUR],
        "until": [START + 30 * HOUR],
    }
    alone = [RunFilter(**{name: value}) for name, choices in values.items() for value in choices]
    choose = random.Random(11)
    together = []
    for _ in range(count):
        names = choose.sample(list(values), choose.choice((2, 2, 3)))
        together.append(RunFilter(**{name: choose.choice(values[name]) for name in names}))
    return [RunFilter(), *alone, *together]


class ListsSuite:
    """Subclasses give the fixtures ``world``, and ``bounded``: a world whose requests look at few runs."""

    async def walk(self, world: World, where: RunFilter, limit: int) -> tuple[list[UUID], list[Page]]:
        found, pages = [], []
        while True:
            page = await world.journal.lists.page("acme", where, limit)
            pages.append(page)
            found += [row.id for row in page.rows]
            if page.next is None:
                return found, pages
            assert where.before is None or page.next < where.before, "a page that does not get on"
            where = replace(where, before=page.next)

    async def test_any_filter_page_by_page_finds_what_looking_at_all_finds(self, world: World) -> None:
        rows = await populate(world)
        assert len({shown(row.status, row.stop, row.outcome, row.waiting) for row in rows}) > 8, "a poor population"
        for where in filters(60):
            wanted = expected(rows, where)
            found, pages = await self.walk(world, where, 7)
            assert found == wanted, where
            assert all(page.looked_to is None for page in pages), where
            assert [row.id for row in await world.journal.list_runs("acme", where, 9)] == wanted[:9]

    async def test_a_request_that_has_looked_at_enough_says_so_and_its_cursor_goes_on(self, bounded: World) -> None:
        rows = await populate(bounded)
        stopped = 0
        for where in filters(40):
            found, pages = await self.walk(bounded, where, 7)
            assert found == expected(rows, where), where
            for page in pages:
                if page.looked_to is not None:
                    stopped += 1
                    assert page.next == page.looked_to
                    assert len(page.rows) <= 7
        assert stopped > 20

    async def test_a_page_has_at_most_as_many_as_asked_and_the_last_has_no_cursor(self, world: World) -> None:
        await populate(world, 20)
        page = await world.journal.lists.page("acme", RunFilter(), 20)
        assert (len(page.rows), page.next) == (20, None)
        page = await world.journal.lists.page("acme", RunFilter(), 19)
        assert (len(page.rows), page.next) == (19, page.rows[-1].id)

    async def test_families(self, world: World) -> None:
        top, other = await world.claimed(2)
        child = new_run(parent=top.run, root=top.run, agent="helper", parent_path="1")
        await top.append(children=[child])
        grandchild = new_run(parent=child.id, root=top.run, parent_path="1")
        held = await world.reclaim(child.id)
        await held.append(children=[grandchild])

        async def ids(**where: Any) -> set[UUID]:
            return {row.id for row in (await world.journal.lists.page("acme", RunFilter(**where), 10)).rows}

        assert await ids(root=top.run) == {top.run, child.id, grandchild.id}
        assert await ids(root=other.run) == {other.run}
        assert await ids(parent=top.run) == {child.id}
        assert await ids(parent=child.id) == {grandchild.id}
        assert await ids(parent=new_id(CLOCK)) == set()
        assert await ids(root=top.run, agent="helper") == {child.id}

    async def test_what_runs_share_is_counted_against_the_others_of_their_time(self, world: World) -> None:
        rows = await populate(world)
        bad = [row for row in rows if row.outcome == "failed"]
        found = await world.journal.lists.sharing("acme", RunFilter(outcome="failed"))
        span = [row for row in rows if bad[-1].id <= row.id <= bad[0].id]
        assert (found.found, found.others, found.sampled) == (len(bad), len(span) - len(bad), False)
        shared = {(item.name, item.value): (item.found, item.others) for item in found.shared}
        others = [row for row in span if row.outcome != "failed"]
        for agent, count in Counter(row.agent for row in bad).items():
            assert shared["agent", agent] == (count, sum(row.agent == agent for row in others))
        assert shared["code", "tool_failed"] == (len(bad), 0)
        assert shared["outcome", "failed"] == (len(bad), 0)
        with_customer = Counter(row.tags.get("customer") for row in bad)
        assert ("customer", "") not in shared
        assert {value: pair[0] for (name, value), pair in shared.items() if name == "customer"} == {
            customer: count for customer, count in with_customer.items() if customer
        }
        assert sum(item.count for item in found.bins) == len(bad)
        assert {item.shown for item in found.bins} == {"failed"}
        nothing = await world.journal.lists.sharing("acme", RunFilter(agent="nobody"))
        assert (nothing.found, nothing.shared, nothing.bins) == (0, [], [])
        everything = await world.journal.lists.sharing("acme", RunFilter())
        assert (everything.found, everything.others) == (len(rows), 0)

    async def test_sharing_says_when_it_has_not_looked_at_all(self, bounded: World) -> None:
        await populate(bounded)
        assert (await bounded.journal.lists.sharing("acme", RunFilter(min_nano=1))).sampled

    async def test_results_come_in_the_order_of_ends_each_once(self, world: World) -> None:
        runs = await world.claimed(6)
        order = [3, 0, 5, 1]
        for number in order:
            await runs[number].append(move=Move(Status.ENDED, outcome="succeeded"))
        lists = world.journal.lists
        first = await lists.ends("acme", 0, 3)
        assert [item.row.id for item in first.items] == [runs[number].run for number in order[:3]]
        assert all(item.last is not None and item.last.seq == item.row.last_seq for item in first.items)
        second = await lists.ends("acme", first.next, 3)
        assert [item.row.id for item in second.items] == [runs[1].run]
        nothing = await lists.ends("acme", second.next, 3)
        assert (nothing.items, nothing.next) == ([], second.next)
        await runs[2].append(move=Move(Status.ENDED, outcome="failed"))
        assert [item.row.id for item in (await lists.ends("acme", second.next, 3)).items] == [runs[2].run]
        assert (await lists.ends("zeta", 0, 10)).items == []

    async def test_children_and_runs_that_go_on_are_no_results_unless_asked_for(self, world: World) -> None:
        top = await world.held()
        child = new_run(parent=top.run, root=top.run, parent_path="1")
        goes_on = new_run(parent=top.run, root=top.run, parent_path="continued")
        await top.append(children=[child, goes_on])
        await (await world.reclaim(child.id)).append(move=Move(Status.ENDED, outcome="succeeded"))
        await top.append(move=Move(Status.ENDED, outcome="succeeded", code="continued"))
        lists = world.journal.lists
        assert (await lists.ends("acme", 0, 10)).items == []
        every = await lists.ends("acme", 0, 10, children=True)
        assert [item.row.id for item in every.items] == [child.id, top.run]

    async def test_lists_are_each_tenants_own(self, world: World) -> None:
        await populate(world, 12)
        lists = world.journal.lists
        assert (await lists.page("zeta", RunFilter(), 10)).rows == []
        assert (await lists.sharing("zeta", RunFilter())).found == 0
        mine = (await lists.page("acme", RunFilter(), 1)).rows[0]
        for where in (RunFilter(root=mine.id), RunFilter(parent=mine.id), RunFilter(tags=mine.tags)):
            assert (await lists.page("zeta", where, 10)).rows == []
