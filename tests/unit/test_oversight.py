"""Who had a run in their hands, by the list of actions."""

from typing import Any
from uuid import UUID

from penstock.adapters.memory import MemoryJournal
from penstock.journal.actions import Said, encode_said
from penstock.kernel.clock import SystemClock
from penstock.kernel.ids import new_id
from penstock.ports.actions import NewAction
from penstock.views import oversight
from penstock.views.oversight import FOREVER, Watch, during, plain, watches, words


async def acted(
    journal: MemoryJournal, run: UUID | str, actor: str, verb: str, tenant: str = "acme", **detail: Any
) -> int:
    body = encode_said(Said(actor, f"case.{verb}", str(run), detail))
    (made,) = await journal.actions.record([NewAction(tenant, actor, f"case.{verb}", body)])
    return made.at


async def test_claims_last_until_they_are_handed_back_taken_over_or_over() -> None:
    journal, clock = MemoryJournal(), SystemClock()
    run, other = new_id(clock), new_id(clock)
    first = await acted(journal, run, "key:ann", "claim", seconds=600)
    prolonged = await acted(journal, run, "key:ann", "claim", seconds=1200, forced=True)
    await acted(journal, run, "key:bob", "hand_back")  # it is not theirs
    back = await acted(journal, run, "key:ann", "hand_back", closed=True)
    short = await acted(journal, run, "cli:bob", "claim", seconds=0.000001)
    forced = await acted(journal, run, "key:eve", "claim", seconds=600, forced=True)
    await acted(journal, other, "key:ann", "assign", to="key:bob", due=7)
    moved = await acted(journal, other, "key:ann", "assign", to="")
    await acted(journal, other, "key:old", "claim")  # by an older command line, which did not say for how long
    await acted(journal, run, "key:zoe", "claim", tenant="zeta", seconds=600)
    await acted(journal, "no run", "key:ann", "claim", seconds=600)
    assert prolonged >= first
    found = await watches(journal, "acme", 0)
    assert set(found) == {run, other}
    ann, bob, eve = found[run]
    assert (ann.who, ann.how, ann.since, ann.until, ann.end) == ("key:ann", "claimed", first, back, "put aside")
    assert (bob.who, bob.until, bob.end) == ("cli:bob", short + 1, "its time was over")
    assert (eve.how, eve.since, eve.until, eve.end) == ("claimed", forced, forced + 600_000_000, "")
    to_bob, old = found[other]
    assert (to_bob.who, to_bob.by, to_bob.until, to_bob.end) == ("key:bob", "key:ann", moved, "assigned to another")
    assert (old.until, plain([old])[0]["until"], words(old)) == (FOREVER, 0, "held the case")
    assert words(to_bob) == "was to look at it, says key:ann"
    later = await watches(journal, "acme", forced)
    assert [watch.who for watch in later[run]] == ["key:eve"]


async def test_only_so_many_actions_are_read(monkeypatch: Any) -> None:
    monkeypatch.setattr(oversight, "ACTIONS_READ", 1)
    monkeypatch.setattr(oversight, "MAX_LIST", 1)
    journal, run = MemoryJournal(), new_id(SystemClock())
    await acted(journal, run, "key:ann", "claim", seconds=1)
    await acted(journal, run, "key:bob", "claim", seconds=600)
    assert [watch.who for watch in (await watches(journal, "acme", 0))[run]] == ["key:bob"]


def test_a_call_was_watched_by_who_held_while_it_lasted() -> None:
    watch = Watch("ann", "claimed", 100, 200, "action 1")
    spans = [(0, 99), (0, 100), (120, 130), (200, 300), (201, 300), (50, 400)]
    assert [bool(during([watch], *span)) for span in spans] == [False, True, True, True, False, True]
