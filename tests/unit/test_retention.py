"""Rounds: what is due is archived and pruned, an archive replays, and what others need stays."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from penstock import Agent, Run, agent, tool
from penstock.adapters.memory import MemoryJournal
from penstock.journal.archive import Archive
from penstock.kernel.errors import RunPruned, WaitFailed
from penstock.ports.records import Row
from penstock.ports.retention import TENANT, Action, Policy
from penstock.runs.client import Penstock
from penstock.runs.replaying.replay import replay
from penstock.runs.retention import archiving
from penstock.runs.retention.retention import Done, Round, plan
from penstock.settings import Settings
from penstock.testing import ScriptedModel, tool_call
from penstock.views.archive import ArchiveJournal
from penstock.views.audit import verify_everything
from penstock.views.failure_tree import read_failure_tree
from penstock.views.trace import read_trace, walk
from penstock.wiring import assemble, open_in_memory


@tool(effect="read")
async def look(order: str) -> str:
    """Look."""
    return f"order {order}"


def desk() -> Agent:
    return Agent(
        "desk", model=ScriptedModel([tool_call("look", order="1"), "done"]), instructions="Help.", tools=[look]
    )


@agent("inner", version="1")
async def inner(run: Run, value: str) -> str:
    return value * 2


@agent("outer", version="1")
async def outer(run: Run, value: str) -> str:
    answer: str = await run.call(inner, value)
    return answer + "!"


@pytest.fixture
async def platform() -> AsyncIterator[Penstock]:
    async with open_in_memory(Settings(poll_seconds=0.01)) as opened:
        yield opened


async def ended(platform: Penstock, runner: Any = outer, value: str = "hello", **options: Any) -> UUID:
    run = await platform.submit(runner, value, **options)
    await platform.result(run, tenant=options.get("tenant"), timeout_seconds=60)
    return run


async def keep(platform: Penstock, action: Action, tenant: str = "default", **fields: Any) -> None:
    await platform.journal.retention.put_policy(Policy(tenant, "", action, **{"keep": 0, **fields}))


async def go(platform: Penstock, folder: Path | None, tenant: str | None = None) -> Done:
    done = await Round(platform.services, folder, 0).run(tenant)
    assert done is not None
    return done


def store(platform: Penstock) -> Any:
    assert isinstance(platform.journal, MemoryJournal)
    return platform.journal._store


def tenant_of(path: Path) -> str:
    with Archive(path) as archive:
        return archive.tenant


def only(folder: Path) -> Path:
    [path] = folder.iterdir()
    return path


async def test_an_archive_verifies_and_replays_without_a_database(platform: Penstock, tmp_path: Path) -> None:
    helper = desk()
    first = await ended(platform, helper, "Where is it?")
    second = await ended(platform, subject="c-1")
    await keep(platform, Action.ARCHIVE)
    done = await go(platform, tmp_path)
    assert (done.archived, len(done.files), done.broken) == (3, 1, [])
    assert not store(platform).payloads or not any(store(platform).payloads.values())
    assert not any(run.tape for run in store(platform).runs.values())

    journal = ArchiveJournal(only(tmp_path))
    audit = await verify_everything(journal)
    assert audit.ok
    assert (audit.runs, audit.pruned, audit.erased) == (3, 0, 0)
    assert audit.payloads > 0
    async with assemble(journal, Settings()) as offline:
        for run, code in ((first, helper), (second, outer)):
            row = await journal.get_run("default", run)
            assert row is not None
            replayed = await replay(offline.services, row, [code])
            assert (replayed.same, replayed.outcome) == (True, "succeeded")
        trace = await read_trace(journal, "default", second)
        assert trace.output == "hellohello!"
        assert any(span.trace is not None for span in walk(trace.spans))
        assert await journal.get_run("zeta", first) is None
        assert await journal.find_runs("zeta", first.hex[:8]) == []


async def test_what_is_left_says_where_the_record_is(platform: Penstock, tmp_path: Path) -> None:
    run = await ended(platform, key="k")
    await keep(platform, Action.ARCHIVE)
    [name] = (await go(platform, tmp_path)).files
    with pytest.raises(RunPruned, match=name):
        await platform.result(run)
    with pytest.raises(RunPruned, match=name):
        await read_trace(platform.journal, "default", run)
    row = await platform.journal.get_run("default", run)
    assert row is not None
    with pytest.raises(RunPruned):
        await replay(platform.services, row, [outer])
    assert await platform.submit(outer, "hello", key="k") == run, "its key still works"
    audit = await verify_everything(platform.journal)
    assert (audit.ok, audit.pruned) == (True, 2)


async def test_a_parent_names_where_its_child_has_gone(platform: Penstock, tmp_path: Path) -> None:
    run = await ended(platform)
    await platform.journal.retention.put_policy(Policy("default", "inner", Action.ARCHIVE, 0))
    [name] = (await go(platform, tmp_path)).files
    [child] = [span for span in walk((await read_trace(platform.journal, "default", run)).spans) if span.child]
    assert child.about["record"] == f"archived in {name}"
    assert child.trace is None


async def test_audit_tells_pruned_from_tampered(platform: Penstock) -> None:
    gone, kept = await ended(platform), await ended(platform)
    await keep(platform, Action.PRUNE)
    await platform.journal.retention.hold("default", kept, "ada", "")
    assert (await go(platform, None)).pruned == 2
    assert (await verify_everything(platform.journal)).ok
    runs = store(platform).runs
    runs["default", kept].swept = runs["default", kept].last_seq, runs["default", kept].head
    runs["default", kept].tape.clear()
    [broken] = (await verify_everything(platform.journal)).broken
    assert (broken.run, broken.problem) == (kept, "truncated")
    del platform.journal.retention.stones["default", gone]  # type: ignore[attr-defined]
    assert {item.problem for item in (await verify_everything(platform.journal)).broken} == {"truncated", "tombstone"}


async def test_content_that_a_kept_run_of_the_subject_needs_stays(platform: Penstock) -> None:
    gone = await ended(platform, inner, "shared", subject="c-1")
    await ended(platform, inner, "its own", subject="c-1")
    kept = await ended(platform, inner, "shared", subject="c-1")
    await platform.journal.retention.hold("default", kept, "ada", "")
    before = len(store(platform).payloads["default", "c-1"])
    await keep(platform, Action.PRUNE)
    done = await go(platform, None)
    assert (done.pruned, done.waiting) == (2, 0)
    assert 0 < len(store(platform).payloads["default", "c-1"]) < before
    audit = await verify_everything(platform.journal)
    assert audit.ok
    assert (await platform.result(kept)).output == "sharedshared"
    assert await platform.journal.retention.release("default", kept, "ada")
    await go(platform, None)
    assert not store(platform).payloads["default", "c-1"]
    assert (await platform.journal.get_run("default", gone)) is not None


async def test_content_of_a_subject_stays_while_a_run_of_it_is_executed(platform: Penstock) -> None:
    @agent("waiter", version="1")
    async def waiter(run: Run, value: str) -> str:
        return str(await run.record("held", platform_held))

    async def platform_held() -> str:
        done = await go(platform, None)
        return f"{done.pruned} {done.waiting}"

    await ended(platform, inner, "words", subject="c-1")
    await keep(platform, Action.PRUNE)
    run = await platform.submit(waiter, "x", subject="c-1")
    assert (await platform.result(run)).output == "1 1"
    assert (await go(platform, None)).waiting == 0
    assert not store(platform).payloads["default", "c-1"]


async def test_erased_subjects_stay_erased_in_later_archives(platform: Penstock, tmp_path: Path) -> None:
    await ended(platform, inner, "my secret", subject="c-1")
    await platform.journal.erase_subject("default", "c-1")
    await keep(platform, Action.ARCHIVE)
    assert (await go(platform, tmp_path)).archived == 1
    journal = ArchiveJournal(only(tmp_path))
    audit = await verify_everything(journal)
    assert (audit.ok, audit.payloads) == (True, 0)
    assert audit.erased > 0
    await journal.close()


@pytest.mark.parametrize("content", [True, False])
async def test_content_may_be_left_out(platform: Penstock, tmp_path: Path, content: bool) -> None:
    await ended(platform, inner)
    await keep(platform, Action.ARCHIVE, content=content)
    await go(platform, tmp_path)
    with Archive(only(tmp_path)) as archive:
        assert [part.keyed for part in archive.parts] == [content]
        assert (archive.parts[0].payloads > 0) is content
        archive.verify(archive.parts[0])


async def test_a_record_that_does_not_verify_is_never_pruned(platform: Penstock, tmp_path: Path) -> None:
    bad, good = await ended(platform, inner), await ended(platform, inner)
    run = store(platform).runs["default", bad]
    run.tape[1] = Row(2, run.tape[1].body.replace(b"inner", b"outer"), run.tape[1].hash, run.tape[1].at)
    unreadable = await ended(platform, inner)
    store(platform).runs["default", unreadable].tape[1] = Row(2, b"\xff", b"x" * 32, 1)
    await keep(platform, Action.ARCHIVE)
    done = await go(platform, tmp_path)
    assert (done.archived, sorted(done.broken)) == (1, sorted([bad, unreadable]))
    with Archive(only(tmp_path)) as archive:
        assert [part.run for part in archive.parts] == [good]
    assert len(run.tape) == run.last_seq


@pytest.mark.parametrize("together", [1, 2, 64])
async def test_runs_are_read_together_or_alone_with_the_same_result(
    platform: Penstock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, together: int
) -> None:
    monkeypatch.setattr(archiving, "TOGETHER", together)
    runs = [await ended(platform, inner, f"words {number}", subject="c-1" * (number == 2)) for number in range(5)]
    await keep(platform, Action.ARCHIVE)
    await go(platform, tmp_path)
    journal = ArchiveJournal(only(tmp_path))
    audit = await verify_everything(journal)
    assert (audit.ok, audit.runs, audit.erased) == (True, 5, 0)
    for number, run in enumerate(runs):
        assert (await read_trace(journal, "default", run)).output == f"words {number}" * 2
    await journal.close()


async def test_large_batches_make_several_files(platform: Penstock, tmp_path: Path) -> None:
    for _ in range(5):
        await ended(platform, inner)
    platform.services.settings = Settings(poll_seconds=0.01, retention_batch_runs=2)
    await keep(platform, Action.ARCHIVE)
    done = await go(platform, tmp_path)
    assert (done.archived, len(done.files)) == (5, 3)


async def test_a_full_file_takes_no_more(platform: Penstock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archiving, "TOGETHER", 1)
    rows = []
    for _ in range(3):
        run = await ended(platform, inner)
        row = await platform.journal.get_run("default", run)
        assert row is not None
        rows.append(row)
    now = await platform.journal.now()
    clock = platform.services.clock
    written = await archiving.archive(platform.journal, clock, tmp_path, rows, now, content=True, max_bytes=1)
    assert (written.read, written.marked) == (1, [rows[0].id])


async def test_tenants_have_files_of_their_own(platform: Penstock, tmp_path: Path) -> None:
    for tenant in ("acme", "a/../b", "zeta"):
        await ended(platform, inner, tenant=tenant)
        if tenant != "zeta":
            await keep(platform, Action.ARCHIVE, tenant)
    done = await go(platform, tmp_path)
    assert done.archived == 2
    assert sorted(tenant_of(path) for path in tmp_path.iterdir()) == ["a/../b", "acme"]
    assert (await go(platform, tmp_path, "zeta")).archived == 0


async def test_a_plan_changes_nothing(platform: Penstock) -> None:
    await ended(platform)
    assert await plan(platform.journal, "default") == []
    await keep(platform, Action.PRUNE)
    found = {item.agent: item for item in await plan(platform.journal, "default")}
    assert {name: (item.runs, item.events >= 3, item.bytes > 100) for name, item in found.items()} == {
        "inner": (1, True, True),
        "outer": (1, True, True),
    }
    assert (await go(platform, None)).pruned == 2
    assert await plan(platform.journal, "default") == []


async def test_without_a_folder_nothing_is_archived_nor_pruned(platform: Penstock) -> None:
    run = await ended(platform, inner)
    await keep(platform, Action.ARCHIVE)
    done = await go(platform, None)
    assert (done.skipped, done.archived, done.pruned) == (["inner"], 0, 0)
    assert (await platform.result(run)).output == "hellohello"


async def test_rows_are_forgotten_when_the_policy_says_so(platform: Penstock) -> None:
    run = await ended(platform, key="k")
    await keep(platform, Action.PRUNE, forget=1)
    done = await go(platform, None)
    assert (done.pruned, done.forgotten) == (2, 2)
    assert await platform.journal.get_run("default", run) is None
    assert sum(total.runs for total in await platform.journal.retention.forgotten("default")) == 2
    assert await platform.submit(outer, "hello", key="k") != run


async def test_only_one_round_at_a_time(platform: Penstock) -> None:
    mine = Round(platform.services, None, 0)
    assert await platform.journal.retention.take_turn(UUID(int=7), 60, due=False)
    assert await mine.run() is None
    await platform.journal.retention.end_turn(UUID(int=7), 60)
    assert await mine.run(due=True) is None
    assert await mine.run() is not None


async def test_a_worker_makes_rounds_by_itself(tmp_path: Path) -> None:
    settings = Settings(poll_seconds=0.01, retention_every_seconds=1, archive_dir=tmp_path)
    async with open_in_memory(settings) as platform:
        run = await ended(platform, inner)
        await keep(platform, Action.ARCHIVE)
        while (row := await platform.journal.get_run("default", run)) is not None and row.pruned_at is None:
            await platform.services.clock.sleep(0.02)
    assert tenant_of(only(tmp_path)) == "default"


async def test_a_hold_that_comes_while_an_archive_is_written_keeps_the_run_out_of_it(
    platform: Penstock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, gone = await ended(platform, inner), await ended(platform, inner)
    read_back = archiving._read_back

    def hold_then(path: Path, tenant: str) -> list[UUID]:
        found = read_back(path, tenant)
        store_of: Any = platform.journal.retention
        store_of.held["default", held] = None
        return found

    monkeypatch.setattr(archiving, "_read_back", hold_then)
    await keep(platform, Action.ARCHIVE)
    assert (await go(platform, tmp_path)).archived == 1
    with Archive(only(tmp_path)) as archive:
        assert [part.run for part in archive.parts] == [gone]
    assert (await platform.result(held)).output == "hellohello"


async def test_a_tenant_on_hold_keeps_everything(platform: Penstock) -> None:
    await ended(platform)
    await platform.journal.retention.hold("default", TENANT, "ada", "")
    await keep(platform, Action.PRUNE)
    assert (await go(platform, None)).pruned == 0


async def test_a_wait_for_a_run_whose_record_is_gone_fails_in_words(platform: Penstock) -> None:
    @agent("follower", version="1")
    async def follower(run: Run, value: str) -> str:
        try:
            await run.wait_run(UUID(value))
        except WaitFailed as failed:
            return failed.what
        return "it is there"

    gone = await ended(platform, inner)
    assert (await platform.result(await platform.submit(follower, str(gone)))).output == "it is there"
    await platform.journal.retention.put_policy(Policy("default", "inner", Action.PRUNE, 0))
    await go(platform, None)
    later = await platform.result(await platform.submit(follower, str(gone)))
    assert "its record was pruned" in later.output


async def test_the_first_cause_is_looked_for_as_far_as_records_go(platform: Penstock) -> None:
    @agent("failing", version="1")
    async def failing(run: Run, value: str) -> str:
        raise ValueError("the cause")

    @agent("top", version="1")
    async def top(run: Run, value: str) -> str:
        return str(await run.call(failing, value))

    run = await ended(platform, top)
    await platform.journal.retention.put_policy(Policy("default", "failing", Action.PRUNE, 0))
    assert (await go(platform, None)).pruned == 1
    tree = await read_failure_tree(platform.journal, "default", run)
    assert tree is not None
