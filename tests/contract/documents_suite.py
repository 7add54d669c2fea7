"""What every store of documents must do: versions in order, each write once, nothing guessed at."""

import asyncio
from typing import Any
from uuid import uuid4

import msgspec
from tests.contract.journal_world import Holder, World

from penstock.journal.documents import pack, read
from penstock.kernel.canonical import stable_json
from penstock.kernel.randomness import token_bytes
from penstock.ports.controls import of_all
from penstock.ports.documents import PRUNE_AT_ONCE, Documents, Kind, Write, Written
from penstock.ports.records import Move, Status, Stop

KEEP = 3
LONG = "x" * 2000


def write(holder: Holder, expected: int, value: Any, path: str = "0", **fields: Any) -> Write:
    """The write that the call at ``path`` makes."""
    kind: Kind = fields.pop("kind", "shared")
    content = pack(stable_json(value), fields.pop("subject", ""))
    epoch = fields.pop("epoch", holder.claim.epoch)
    name = fields.pop("name", "cart")
    return Write(holder.tenant, kind, name, expected, content, holder.run, path, epoch, "clerk")


async def value_of(documents: Documents, tenant: str = "acme", kind: Kind = "shared", name: str = "cart") -> Any:
    """What a document holds, or its absence."""
    found = await documents.get(tenant, kind, name)
    if found is None:
        return "no document"
    data = read(found.latest)
    return "erased" if data is None else msgspec.json.decode(data)


async def end(holder: Holder) -> None:
    await holder.append(move=Move(Status.ENDED, outcome="succeeded"))


class DocumentsSuite:
    """Subclasses give the fixture ``world``."""

    async def numbers(self, world: World, kept_only: bool = False) -> list[int]:
        history = await world.journal.documents.history("acme", "shared", "cart", 0, 1000)
        return [version.version for version in history if not kept_only or version.content is not None]

    async def test_versions_follow_one_another_and_say_who_wrote_them(self, world: World) -> None:
        holder = await world.held()
        documents = world.journal.documents
        assert await documents.get("acme", "shared", "cart") is None
        before = await world.journal.now()
        assert await documents.put(write(holder, 0, {"a": 1}, "0"), KEEP) == Written("written", 1)
        assert await documents.put(write(holder, 1, {"a": LONG}, "1"), KEEP) == Written("written", 2)
        found = await documents.get("acme", "shared", "cart")
        assert found is not None
        latest = found.latest
        assert (latest.version, latest.run, latest.path, latest.by) == (2, holder.run, "1", "clerk")
        assert before <= latest.at <= await world.journal.now()
        assert latest.content is not None
        assert latest.content.codec == "zstd"
        assert await value_of(documents) == {"a": LONG}
        old = await documents.version("acme", "shared", "cart", 1)
        assert old is not None
        assert read(old) == b'{"a":1}'
        assert await documents.version("acme", "shared", "cart", 3) is None

    async def test_a_write_over_another_version_is_a_conflict_that_names_it(self, world: World) -> None:
        holder = await world.held()
        documents = world.journal.documents
        assert await documents.put(write(holder, 4, 1), KEEP) == Written("conflict", 0)
        assert await documents.get("acme", "shared", "cart") is None
        assert await documents.list_documents("acme", "shared", "", 10) == []
        await documents.put(write(holder, 0, 1, "1"), KEEP)
        for expected in (0, 2):
            assert await documents.put(write(holder, expected, 2, f"2{expected}"), KEEP) == Written("conflict", 1)
        assert await value_of(documents) == 1

    async def test_a_write_made_again_is_the_version_that_it_made(self, world: World) -> None:
        one, other = await world.claimed(2)
        documents = world.journal.documents
        first = write(one, 0, "mine")
        assert await documents.put(first, KEEP) == Written("written", 1)
        assert await documents.put(write(other, 1, "theirs"), KEEP) == Written("written", 2)
        assert await documents.put(first, KEEP) == Written("written", 1)
        assert await value_of(documents) == "theirs"
        assert await self.numbers(world) == [2, 1]

    async def test_a_write_made_again_is_known_however_many_came_after_it(self, world: World) -> None:
        one, other = await world.claimed(2)
        documents = world.journal.documents
        first = write(one, 0, "mine")
        await documents.put(first, KEEP)
        for number in range(1, 2 * PRUNE_AT_ONCE):
            await documents.put(write(other, number, number, str(number)), KEEP)
        assert await documents.put(first, KEEP) == Written("written", 1)

    async def test_content_of_old_versions_goes_and_they_with_the_runs_that_made_them(self, world: World) -> None:
        one, other = await world.claimed(2)
        documents = world.journal.documents
        for number in range(6):
            await documents.put(write(one, number, number, str(number)), KEEP)
        assert await self.numbers(world, kept_only=True) == [6, 5, 4]
        assert await self.numbers(world) == [6, 5, 4, 3, 2, 1]
        await end(one)
        await documents.put(write(other, 6, 6), KEEP)
        assert await self.numbers(world) == [7, 6, 5]

    async def test_what_was_left_over_goes_with_later_writes(self, world: World) -> None:
        one, other = await world.claimed(2)
        documents = world.journal.documents
        many = 2 * PRUNE_AT_ONCE + 5
        for number in range(many):
            await documents.put(write(one, number, number, str(number)), 1000)
        await end(one)
        for number in range(many, many + 4):
            await documents.put(write(other, number, number, str(number)), KEEP)
        assert len(await self.numbers(world, kept_only=True)) == KEEP

    async def test_only_the_holder_of_the_run_writes(self, world: World) -> None:
        holder = await world.held()
        documents = world.journal.documents
        stale = write(holder, 0, 1, epoch=holder.claim.epoch - 1)
        assert (await documents.put(stale, KEEP)).answer == "fenced"
        await end(holder)
        assert (await documents.put(write(holder, 0, 1), KEEP)).answer == "fenced"
        assert await documents.get("acme", "shared", "cart") is None

    async def test_a_kill_or_cancel_that_covers_the_run_stops_its_write(self, world: World) -> None:
        one, other = await world.claimed(2)
        documents = world.journal.documents
        await world.journal.stop_run("acme", one.run, Stop.CANCEL, "ann", "")
        assert await documents.put(write(one, 0, 1), KEEP) == Written("stopped", 0, "cancel")
        await world.journal.stop_scope(of_all("acme"), Stop.KILL, "ann", "")
        assert await documents.put(write(other, 0, 1), KEEP) == Written("stopped", 0, "kill")
        await world.journal.resume_scope(of_all("acme"), "ann")
        assert (await documents.put(write(other, 0, 1), KEEP)).answer == "written"

    async def test_a_pause_lets_a_write_end_whose_intent_came_before_it(self, world: World) -> None:
        holder = await world.held()
        await world.journal.stop_run("acme", holder.run, Stop.PAUSE, "ann", "")
        assert (await world.journal.documents.put(write(holder, 0, 1), KEEP)).answer == "written"

    async def test_a_quarantined_document_is_not_written_until_it_is_released(self, world: World) -> None:
        holder = await world.held()
        documents = world.journal.documents
        await documents.put(write(holder, 0, 1), KEEP)
        assert not await documents.quarantine("acme", "shared", "cart", 2, "bad", holder.run)
        assert await documents.quarantine("acme", "shared", "cart", 1, "bad", holder.run)
        assert not await documents.quarantine("acme", "shared", "cart", 1, "worse", None)
        found = await documents.get("acme", "shared", "cart")
        assert found is not None
        assert (found.state, found.reason, found.reason_run) == ("quarantined", "bad", holder.run)
        assert await documents.put(write(holder, 1, 2, "1"), KEEP) == Written("quarantined", 1, "bad")
        assert [each.name for each in await documents.list_documents("acme", "shared", "", 10, "quarantined")] == [
            "cart"
        ]
        assert await documents.release("acme", "shared", "cart")
        assert not await documents.release("acme", "shared", "cart")
        assert (await documents.put(write(holder, 1, 2, "2"), KEEP)).answer == "written"

    async def test_a_restored_version_is_a_new_one_with_the_old_content(self, world: World) -> None:
        holder = await world.held()
        documents = world.journal.documents
        await documents.put(write(holder, 0, "good"), KEEP)
        await documents.put(write(holder, 1, "bad", "1"), KEEP)
        await documents.quarantine("acme", "shared", "cart", 2, "bad", None)
        assert await documents.restore("acme", "shared", "cart", 9, "ann", KEEP) is None
        assert await documents.restore("acme", "shared", "cart", 1, "ann", KEEP) == 3
        found = await documents.get("acme", "shared", "cart")
        assert found is not None
        assert (found.state, found.latest.by, found.latest.run) == ("ok", "ann", None)
        assert await value_of(documents) == "good"
        assert (await documents.put(write(holder, 2, 0, "2"), KEEP)).answer == "conflict"
        assert await documents.restore("acme", "shared", "none", 1, "ann", KEEP) is None

    async def test_erasing_a_person_erases_what_was_written_with_that_subject(self, world: World) -> None:
        holder = await world.held(subject="p-7")
        documents = world.journal.documents
        await documents.put(write(holder, 0, "secret", subject="p-7"), KEEP)
        await documents.put(write(holder, 0, "kept", "1", name="other"), KEEP)
        await world.journal.erase_subject("zeta", "p-7")
        assert await value_of(documents) == "secret"
        await world.journal.erase_subject("acme", "p-7")
        assert await value_of(documents) == "erased"
        assert await value_of(documents, name="other") == "kept"
        late = write(holder, 1, "secret again", "2", subject="p-7")
        assert await documents.put(late, KEEP) == Written("written", 2)
        assert await value_of(documents) == "erased"
        assert await documents.restore("acme", "shared", "cart", 1, "ann", KEEP) is None
        await world.journal.ensure_subject("acme", "p-7", token_bytes(32))
        assert (await documents.put(write(holder, 2, "new", "3", subject="p-7"), KEEP)).answer == "written"
        assert await value_of(documents) == "new"

    async def test_a_document_is_erased_by_its_name(self, world: World) -> None:
        holder = await world.held()
        documents = world.journal.documents
        for number in range(2):
            await documents.put(write(holder, number, "secret", str(number)), KEEP)
        assert await documents.erase("acme", "shared", "none") == 0
        assert await documents.erase("acme", "shared", "cart") == 2
        assert await documents.erase("acme", "shared", "cart") == 0
        assert await value_of(documents) == "erased"
        assert await self.numbers(world) == [2, 1]

    async def test_lists_are_by_name_after_a_name_and_bounded(self, world: World) -> None:
        holder = await world.held()
        documents = world.journal.documents
        for number, name in enumerate(["b", "a", "é", "Z"]):
            await documents.put(write(holder, 0, 1, str(number), name=name), KEEP)
        await documents.put(write(holder, 0, 1, "9", name="s", kind="session"), KEEP)
        names = [each.name for each in await documents.list_documents("acme", "shared", "", 10)]
        assert names == ["Z", "a", "b", "é"]
        some = await documents.list_documents("acme", "shared", "Z", 2)
        assert [each.name for each in some] == ["a", "b"]
        assert all(each.latest.content is not None and each.latest.content.data == b"" for each in some)
        history = await documents.history("acme", "shared", "a", 0, 1)
        assert [version.version for version in history] == [1]
        assert await documents.history("acme", "shared", "a", 1, 5) == []

    async def test_kinds_and_tenants_have_names_of_their_own(self, world: World) -> None:
        mine, theirs = await world.held(), await world.held(tenant="zeta")
        documents = world.journal.documents
        await documents.put(write(mine, 0, "mine"), KEEP)
        await documents.put(write(mine, 0, "session", "1", kind="session"), KEEP)
        assert await documents.get("zeta", "shared", "cart") is None
        assert await documents.version("zeta", "shared", "cart", 1) is None
        assert await documents.history("zeta", "shared", "cart", 0, 10) == []
        assert await documents.list_documents("zeta", "shared", "", 10) == []
        assert not await documents.quarantine("zeta", "shared", "cart", 1, "bad", None)
        assert not await documents.release("zeta", "shared", "cart")
        assert await documents.restore("zeta", "shared", "cart", 1, "eve", KEEP) is None
        assert await documents.erase("zeta", "shared", "cart") == 0
        assert (await documents.put(write(theirs, 0, "theirs"), KEEP)).version == 1
        assert await value_of(documents) == "mine"
        assert await value_of(documents, kind="session") == "session"
        assert await value_of(documents, "zeta") == "theirs"
        crossing = write(theirs, 1, "crossing", "1")
        crossing = Write("acme", *(getattr(crossing, name) for name in list(crossing.__slots__)[1:]))
        assert (await documents.put(crossing, KEEP)).answer == "fenced"

    async def test_of_writers_at_once_each_version_has_one(self, world: World) -> None:
        holders = await world.claimed(6)
        documents = world.journal.documents

        async def count_up(holder: Holder, times: int) -> None:
            done = 0
            for attempt in range(10_000):
                found = await documents.get("acme", "shared", "cart")
                known = 0 if found is None else found.latest.version
                value = 0 if found is None else await value_of_version(documents, known)
                if value is None:
                    continue
                answer = await documents.put(write(holder, known, value + 1, f"{attempt}"), 5)
                done += answer.answer == "written"
                if done == times:
                    return

        await asyncio.gather(*(count_up(holder, 8) for holder in holders))
        assert await value_of(documents) == 48
        found = await documents.get("acme", "shared", "cart")
        assert found is not None
        assert found.latest.version == 48

    async def test_a_run_that_does_not_exist_writes_nothing(self, world: World) -> None:
        holder = await world.held()
        ghost = write(holder, 0, 1)
        ghost = Write(
            ghost.tenant, ghost.kind, ghost.name, 0, ghost.content, uuid4(), ghost.path, ghost.epoch, ghost.by
        )
        assert (await world.journal.documents.put(ghost, KEEP)).answer == "fenced"


async def value_of_version(documents: Documents, number: int) -> int | None:
    """What that version holds; None when it is gone by now."""
    version = await documents.version("acme", "shared", "cart", number)
    if version is None or version.content is None:
        return None
    data = read(version)
    assert data is not None
    return int(data)
