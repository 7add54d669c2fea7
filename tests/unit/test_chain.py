"""The chain finds every change of what was recorded, and names the first event that does not fit."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.events import NoteRecorded, encode
from penstock.journal.chain import genesis, link, verify
from penstock.kernel.errors import ChainBroken
from penstock.ports.records import Row

RUN = UUID("0190abcd-0000-7000-8000-000000000001")
OTHER = UUID("0190abcd-0000-7000-8000-000000000002")


def tape(count: int, run: UUID = RUN, tenant: str = "acme", name: str = "n") -> list[Row]:
    """A run's events, rightly chained."""
    head, rows = genesis(tenant, run), []
    for seq in range(1, count + 1):
        body = encode(NoteRecorded(tenant=tenant, run=run, agent="a", seq=seq, epoch=1, name=f"{name}{seq}"))
        head = link(head, body)
        rows.append(Row(seq, body, head))
    return rows


def problem(rows: list[Row], whole: list[Row], run: UUID = RUN, tenant: str = "acme") -> tuple[int, str] | None:
    """What is wrong with ``rows`` where ``whole`` was recorded: the first bad event and the word for it."""
    try:
        verify(tenant, run, rows, whole[-1].hash if whole else genesis(tenant, run), len(whole))
    except ChainBroken as error:
        return error.fields["seq"], error.fields["problem"]
    return None


@given(st.integers(0, 20))
def test_what_was_recorded_verifies(count: int) -> None:
    whole = tape(count)
    assert problem(whole, whole) is None


@given(st.integers(1, 12), st.data())
def test_a_changed_byte_is_found(count: int, data: st.DataObject) -> None:
    whole = tape(count)
    at = data.draw(st.integers(0, count - 1))
    row = whole[at]
    place = data.draw(st.integers(0, len(row.body) - 1))
    flipped = row.body[place] ^ data.draw(st.integers(1, 255))
    body = row.body[:place] + bytes([flipped]) + row.body[place + 1 :]
    found = problem([*whole[:at], Row(row.seq, body, row.hash), *whole[at + 1 :]], whole)
    assert found is not None
    assert found[0] == row.seq


@given(st.integers(1, 12), st.data())
def test_a_changed_hash_is_found(count: int, data: st.DataObject) -> None:
    whole = tape(count)
    at = data.draw(st.integers(0, count - 1))
    row = whole[at]
    found = problem([*whole[:at], Row(row.seq, row.body, bytes(32)), *whole[at + 1 :]], whole)
    assert found == (row.seq, "changed")


@given(st.integers(1, 12), st.data())
def test_a_changed_event_with_a_hash_made_to_fit_is_found_at_the_next(count: int, data: st.DataObject) -> None:
    whole = tape(count)
    at = data.draw(st.integers(0, count - 1))
    previous = whole[at - 1].hash if at else genesis("acme", RUN)
    body = whole[at].body.replace(b'"name":"n', b'"name":"m')
    rows = [*whole[:at], Row(at + 1, body, link(previous, body)), *whole[at + 1 :]]
    last = at == count - 1
    assert problem(rows, whole) == ((count, "head") if last else (at + 2, "changed"))


@given(st.integers(1, 12), st.data())
def test_a_removed_event_is_found(count: int, data: st.DataObject) -> None:
    whole = tape(count)
    at = data.draw(st.integers(0, count - 1))
    word = "truncated" if at == count - 1 else "missing"
    assert problem(whole[:at] + whole[at + 1 :], whole) == (at + 1, word)


@given(st.integers(2, 12), st.data())
def test_a_removed_event_is_found_when_the_rest_moves_up(count: int, data: st.DataObject) -> None:
    whole = tape(count)
    at = data.draw(st.integers(0, count - 2))
    rows = [Row(seq, row.body, row.hash) for seq, row in enumerate(whole[:at] + whole[at + 1 :], 1)]
    found = problem(rows, whole)
    assert found is not None
    assert found[0] == at + 1


@given(st.integers(2, 12), st.data())
def test_exchanged_events_are_found(count: int, data: st.DataObject) -> None:
    whole = tape(count)
    one, two = sorted(data.draw(st.lists(st.integers(0, count - 1), min_size=2, max_size=2, unique=True)))
    rows = list(whole)
    rows[one] = Row(one + 1, whole[two].body, whole[two].hash)
    rows[two] = Row(two + 1, whole[one].body, whole[one].hash)
    assert problem(rows, whole) == (one + 1, "reordered")


@given(st.integers(1, 12), st.integers(1, 5))
def test_a_truncated_tape_is_found(count: int, cut: int) -> None:
    whole = tape(count)
    kept = whole[: max(0, count - cut)]
    assert problem(kept, whole) == (len(kept) + 1, "truncated")


def test_an_event_too_many_is_found() -> None:
    whole = tape(4)
    assert problem(whole, whole[:3]) == (4, "extended")


@given(st.integers(1, 8), st.data())
def test_an_event_of_another_run_or_tenant_is_found(count: int, data: st.DataObject) -> None:
    whole = tape(count)
    at = data.draw(st.integers(0, count - 1))
    for foreign in (tape(count, run=OTHER), tape(count, tenant="zeta")):
        assert problem([*whole[:at], foreign[at], *whole[at + 1 :]], whole) == (at + 1, "foreign")
        assert problem(foreign, foreign) == (1, "foreign"), "a whole chain under another name"


def test_a_chain_written_anew_does_not_fit_its_head() -> None:
    whole = tape(5)
    assert problem(tape(5, name="m"), whole) == (5, "head")


def test_an_event_says_where_it_belongs_even_where_the_chain_was_made_to_fit() -> None:
    whole = tape(3)
    body = tape(3, run=OTHER)[1].body
    second = link(whole[0].hash, body)
    third = link(second, whole[2].body)
    forged = [whole[0], Row(2, body, second), Row(3, whole[2].body, third)]
    assert problem(forged, forged) == (2, "foreign")


def test_every_run_begins_from_another_place() -> None:
    starts = {genesis(tenant, run) for tenant in ("a", "ab", "") for run in (RUN, OTHER)}
    assert len(starts) == 6


def test_the_form_of_the_chain_does_not_change() -> None:
    """Chains stored today must verify in years: these values may never change."""
    assert genesis("acme", RUN).hex() == "64b3129c7396b392886424839fcc78aae004bd35aae7836d7af37097bb14f090"
    assert link(genesis("acme", RUN), b"{}").hex() == "51d2797256311eaa50f97eb14978288a221df2dc23c3398e922a104391d03963"


def test_the_error_says_what_and_where() -> None:
    whole = tape(3)
    with pytest.raises(ChainBroken, match=r"event 2 of run 0190abcd.* is missing: the next one found is event 3"):
        verify("acme", RUN, [whole[0], whole[2]], whole[2].hash, 3)
