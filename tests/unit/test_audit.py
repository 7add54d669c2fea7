"""Verifying what is stored: each way of tampering is found, and what is merely unfinished or erased is not."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, cast
from uuid import UUID

import msgspec
import pytest

from penstock import Agent, tool
from penstock.adapters.memory import MemoryJournal
from penstock.adapters.memory.records import Run as StoredRun
from penstock.journal import tapes
from penstock.kernel.errors import RunUnknown
from penstock.ports.journal import Journal
from penstock.ports.records import Row, RunKey, RunRow
from penstock.runs.client import Penstock
from penstock.settings import Settings
from penstock.testing import ScriptedModel, tool_call
from penstock.views import audit as views_audit
from penstock.views.audit import verify_everything, verify_run, verify_tenant
from penstock.wiring import open_in_memory


@tool(effect="read")
async def look(order: str) -> str:
    """Look."""
    return f"order {order}"


def desk() -> Agent:
    model = ScriptedModel([tool_call("look", order="1"), "done"] * 5)
    return Agent("desk", model=model, instructions="Help.", tools=[look])


@pytest.fixture
async def platform() -> AsyncIterator[Penstock]:
    async with open_in_memory(Settings(poll_seconds=0.01)) as opened:
        yield opened


def stored(platform: Penstock, tenant: str = "default") -> StoredRun:
    """The first run as the store holds it."""
    assert isinstance(platform.journal, MemoryJournal)
    return next(run for (owner, _), run in platform.journal._store.runs.items() if owner == tenant)


def change(run: StoredRun) -> None:
    run.tape[3] = msgspec.structs.replace(run.tape[3], body=run.tape[3].body.replace(b"latency", b"latencY"))


def remove(run: StoredRun) -> None:
    del run.tape[4]


def swap(run: StoredRun) -> None:
    run.tape[4], run.tape[5] = run.tape[5], run.tape[4]


def add(run: StoredRun) -> None:
    run.tape.append(Row(len(run.tape) + 1, run.tape[-1].body, run.tape[-1].hash))


@pytest.mark.parametrize(("tamper", "seq"), [(change, 4), (remove, 5), (swap, 5), (add, 10)])
async def test_tampering_names_the_first_event_that_does_not_fit(
    platform: Penstock, tamper: Callable[[StoredRun], None], seq: int
) -> None:
    await platform.run(desk(), "hello")
    assert (await verify_tenant(platform.journal, "default")).ok
    tamper(stored(platform))
    audit = await verify_tenant(platform.journal, "default")
    [broken] = audit.broken
    assert (broken.seq, broken.agent, broken.tenant) == (seq, "desk", "default")
    assert str(seq) in broken.words
    assert str(broken.run) in broken.words


async def test_a_changed_payload_is_found_and_a_lost_one_too(platform: Penstock) -> None:
    result = await platform.run(desk(), "hello")
    assert isinstance(platform.journal, MemoryJournal)
    payloads = platform.journal._store.payloads["default", str(result.run)]
    address, payload = next((key, value) for key, value in payloads.items() if value.data == b'"done"')
    payloads[address] = msgspec.structs.replace(payload, data=b'"dOne"')
    [broken] = (await verify_run(platform.journal, "default", result.run)).broken
    assert (broken.seq, broken.problem) == (9, "payload")
    assert (await verify_run(platform.journal, "default", result.run, payloads=False)).ok
    del payloads[address]
    [broken] = (await verify_run(platform.journal, "default", result.run)).broken
    assert (broken.seq, broken.problem) == (9, "payload_missing")


async def test_erasure_is_no_tampering(platform: Penstock) -> None:
    run = await platform.submit(desk(), "hello", subject="s-1")
    await platform.result(run)
    await platform.journal.erase_subject("default", "s-1")
    audit = await verify_run(platform.journal, "default", run)
    assert audit.ok
    assert (audit.payloads, audit.erased > 4) == (0, True)


async def test_every_tenant_is_verified_and_only_once(platform: Penstock) -> None:
    for tenant in ("a", "b", "b"):
        await platform.submit(desk(), "hello", tenant=tenant)
    audit = await verify_everything(platform.journal)
    assert (audit.runs, audit.ok) == (3, True)
    assert (await verify_tenant(platform.journal, "b")).runs == 2
    change_first = stored(platform, "a")
    change_first.tape[0] = msgspec.structs.replace(change_first.tape[0], body=b"{}")
    audit = await verify_everything(platform.journal)
    assert [(item.tenant, item.seq) for item in audit.broken] == [("a", 1)]
    assert (await verify_tenant(platform.journal, "b")).ok


async def test_a_run_that_is_written_meanwhile_is_not_called_broken(platform: Penstock) -> None:
    """The row is read before the events: by then there may be more events than the row said."""
    run = await platform.submit(desk(), "hello")
    journal = platform.journal
    early = await journal.get_run("default", run)
    assert early is not None
    await platform.result(run)
    answers = iter([early])

    class Late(MemoryJournal):
        async def get_run(self, tenant: str, run: UUID) -> RunRow | None:
            return next(answers, None) or await journal.get_run(tenant, run)

    late = Late()
    assert isinstance(journal, MemoryJournal)
    late._store = journal._store
    assert (await verify_run(late, "default", run)).ok
    with pytest.raises(RunUnknown):
        await verify_run(journal, "another", run)


class Watched:
    """Notes how many bytes of events each request of tapes asks for."""

    def __init__(self, inner: Journal) -> None:
        self._inner = inner
        self.asked: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def tapes(self, runs: Sequence[RunKey]) -> dict[RunKey, list[Row]]:
        found = await self._inner.tapes(runs)
        self.asked.append(sum(len(row.body) for rows in found.values() for row in rows))
        return found


async def test_no_more_than_so_many_bytes_are_held_at_a_time(
    platform: Penstock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        await platform.run(desk(), "hello")
    watched = Watched(platform.journal)
    whole = await verify_tenant(cast("Journal", watched), "default")
    [everything] = watched.asked
    one = everything // 5
    for most, requests in [(one * 5 // 2, 3), (1, 5)]:  # two at a time; and each by itself, however large
        monkeypatch.setattr(views_audit, "BYTES_AT_A_TIME", most)
        watched = Watched(platform.journal)
        assert await verify_tenant(cast("Journal", watched), "default") == whole
        assert len(watched.asked) == requests
        assert max(watched.asked) <= max(most, one * 5 // 4)


async def test_a_long_tape_is_read_in_pieces(platform: Penstock, monkeypatch: pytest.MonkeyPatch) -> None:
    run = (await platform.run(desk(), "hello")).run
    [tape] = (await platform.journal.tapes([("default", run)])).values()
    for size in (1, 3, len(tape), len(tape) + 1):
        monkeypatch.setattr(tapes, "PAGE_EVENTS", size)
        pieces = [page async for page in tapes.pages(platform.journal, "default", run)]
        assert [row for page in pieces for row in page] == tape
        assert {len(page) for page in pieces[:-1]} <= {size}
        assert await tapes.whole(platform.journal, "default", run) == tape
