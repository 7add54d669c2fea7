"""No tenant sees or touches what is another's, through any method of the platform, on either store.

The journal's own methods are tried in the conformance suite (`journal_suite.JournalSuite`); here is what users hold.
"""

import asyncio
import dataclasses
import inspect
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

import penstock
from penstock import Run, Settings, agent, tool
from penstock.events import decode
from penstock.journal.payloads import ref_address
from penstock.kernel.errors import ApprovalUnknown, DocumentUnknown, PayloadMissing, RunUnknown
from penstock.ports.controls import of_run
from penstock.ports.documents import Kind
from penstock.ports.questions import Voter
from penstock.ports.records import RunFilter, Status
from penstock.runs import approvals as questions
from penstock.runs.approvals import Approval
from penstock.runs.approving.deciding import decide
from penstock.runs.client import Penstock
from penstock.runs.documents import value_of
from penstock.runs.submit import Request
from penstock.wiring import open_in_memory

MINE, THEIRS = "acme", "zeta"


@tool(effect="write", risk="high")
async def pay(amount: int) -> int:
    """Waits for a person."""
    return amount


@agent("inner", version="1")
async def inner(run: Run, value: int) -> str:
    return run.tenant


@agent("payer", version="1")
async def payer(run: Run, value: int) -> list[Any]:
    return [await run.call(inner, value), await run.call(pay, value)]


@agent("notary", version="1")
async def notary(run: Run, value: str) -> list[Any]:
    session, book = await run.session.get(), await run.document("book").get()
    version = await run.session.put(value)
    return [session, book, version, await run.document("book").update(lambda known: value)]


async def waiting(platform: Penstock, tenant: str, **options: Any) -> tuple[UUID, Approval]:
    """A run of that tenant that waits for a person, and its question."""
    run = await platform.submit(payer, 7, tenant=tenant, **options)
    async with asyncio.timeout(30):
        while not (found := [item for item in await platform.approvals(tenant) if item.run == run]):
            await asyncio.sleep(0.01)
    return run, found[0]


class Tried:
    """Notes which methods of the platform were tried."""

    def __init__(self, platform: Penstock) -> None:
        self._platform = platform
        self.names: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        self.names.add(name)
        return getattr(self._platform, name)


def methods_with_tenant() -> set[str]:
    """Of the platform: those that take a tenant, by name or within what they are given."""
    public = {name: member for name, member in vars(Penstock).items() if name[0] != "_" and inspect.isfunction(member)}
    named = {name for name, member in public.items() if "tenant" in inspect.signature(member).parameters}
    return named | {"submit", "submit_many", "decide", "read_result"}


class TenantCrossing:
    """The tests; each store has its fixture ``platform``, whose own tenant is a third one."""

    async def test_no_method_of_the_platform_crosses_tenants(self, platform: Penstock) -> None:
        run, question = await waiting(platform, MINE, key="k")
        tried: Any = Tried(platform)
        assert await tried.approvals(THEIRS) == []
        assert await tried.approvals() == [], "the platform's own tenant is a third one"
        for attempt in (tried.cancel, tried.kill):
            with pytest.raises(RunUnknown):
                await attempt(run, actor="eve", tenant=THEIRS)
            with pytest.raises(RunUnknown):
                await attempt(run, actor="eve")
        for tenant in (THEIRS, None):
            with pytest.raises(RunUnknown):
                await tried.result(run, tenant=tenant, timeout_seconds=5)
            with pytest.raises(RunUnknown):
                await tried.ended(run, tenant=tenant, timeout_seconds=5)
        for tenant in (THEIRS, None):
            with pytest.raises(RunUnknown):
                await tried.send_event(run, "go", 1, tenant=tenant)
        assert await tried.publish_event("go", "k", 1, dedup="d", tenant=THEIRS)
        assert await tried.publish_event("go", "k", 1, dedup="d", tenant=MINE), "a key belongs to its tenant"
        forged = dataclasses.replace(question, tenant=THEIRS)
        with pytest.raises(RunUnknown):
            await tried.decide(forged, "approve", actor="eve")
        assert await platform.quiesced(of_run(THEIRS, run), timeout_seconds=5)
        row = await platform.journal.get_run(MINE, run)
        assert row is not None
        with pytest.raises((RunUnknown, IndexError)):
            await tried.read_result(dataclasses.replace(row, tenant=THEIRS))

        their_run, their_question = await waiting(platform, THEIRS, key="k")
        assert their_run != run, "an idempotency key belongs to its tenant"
        assert (await tried.submit(payer, 7, tenant=MINE, key="k")) == run
        [again] = await tried.submit_many([Request(payer, 7, tenant=THEIRS, key="k")])
        assert again == their_run

        sealed = await tried.kill_everything(actor="eve", tenant=THEIRS)
        assert sealed.sealed
        assert MINE not in {item.tenant for item in sealed.open_intents}
        await platform.decide(question, "approve", actor="ann")
        mine = await tried.run(payer, 7, tenant=MINE, key="k")
        assert (mine.run, mine.output) == (run, [MINE, 7]), "a kill of all that is theirs does not reach what is mine"
        assert await tried.resume_everything(actor="ann", tenant=MINE) == 0
        assert await tried.resume_everything(actor="eve", tenant=THEIRS) == 1
        await platform.decide(their_question, "approve", actor="eve")
        assert (await platform.result(their_run, tenant=THEIRS, timeout_seconds=60)).output == [THEIRS, 7]
        assert tried.names == methods_with_tenant(), "a new method is tried here too"

    async def test_questions_are_found_and_answered_within_their_tenant(self, platform: Penstock) -> None:
        run, question = await waiting(platform, MINE)
        journal, reader = platform.journal, platform.services.reader
        with pytest.raises(ApprovalUnknown):
            await questions.find(journal, reader, THEIRS, question.id)
        assert (await questions.find(journal, reader, MINE, question.id)).run == run
        forged = dataclasses.replace(question, tenant=THEIRS)
        with pytest.raises(RunUnknown):
            await decide(journal, forged, "approve", Voter("eve"))
        row = await journal.get_run(MINE, run)
        assert row is not None
        assert row.status is Status.PARKED

    async def test_payloads_are_read_within_their_tenant(self, platform: Penstock) -> None:
        """Also when the reader holds them in memory already, and when the subjects have one name."""
        mine = await platform.submit(payer, 41, tenant=MINE, subject="ann")
        theirs = await platform.submit(payer, 41, tenant=THEIRS, subject="ann")
        refs = {}
        for tenant, run in ((MINE, mine), (THEIRS, theirs)):
            [first] = await platform.journal.tape(tenant, run, limit=1)
            refs[tenant] = ref_address(decode(first.body).payloads["input"][0])
        assert refs[MINE] != refs[THEIRS], "the same bytes have another address under another tenant's key"
        reader = platform.services.reader
        assert await reader.read(MINE, "ann", refs[MINE]) == b"41"
        with pytest.raises(PayloadMissing):
            await reader.read(THEIRS, "ann", refs[MINE])
        assert await platform.journal.erase_subject(THEIRS, "ann") > 0
        reader.forget(THEIRS, "ann")
        assert await reader.read(MINE, "ann", refs[MINE]) == b"41"

    async def test_everything_that_a_run_makes_is_its_tenants(self, platform: Penstock) -> None:
        run, question = await waiting(platform, MINE)
        await platform.decide(question, "approve", actor="ann")
        await platform.result(run, tenant=MINE, timeout_seconds=60)
        rows = await platform.journal.list_runs(MINE, RunFilter(root=run), 10)
        assert {row.agent for row in rows} == {"payer", "inner"}
        for row in rows:
            assert {decode(stored.body).tenant for stored in await platform.journal.tape(MINE, row.id)} == {MINE}
        assert await platform.journal.list_runs(THEIRS, RunFilter(), 10) == []
        assert await platform.journal.list_runs("own", RunFilter(), 10) == []

    async def test_documents_are_their_tenants_from_inside_and_from_outside(self, platform: Penstock) -> None:
        for tenant in (MINE, THEIRS):
            run = await platform.submit(notary, tenant, tenant=tenant, session="s", subject="ann")
            told = (await platform.result(run, tenant=tenant, timeout_seconds=60)).output
            assert told == [None, None, 1, tenant], "names of documents and sessions belong to their tenant"
        documents = platform.documents
        places: list[tuple[Kind, str]] = [("session", "s"), ("shared", "book")]
        for kind, name in places:
            with pytest.raises(DocumentUnknown):
                await documents.get(kind, name)
            with pytest.raises(DocumentUnknown):
                await documents.erase(kind, name)
            with pytest.raises(DocumentUnknown):
                await documents.history(kind, name)
            with pytest.raises(DocumentUnknown):
                await documents.release(kind, name)
            with pytest.raises(DocumentUnknown):
                await documents.restore(kind, name, 1)
            assert await documents.list_documents(kind) == []
            assert len(await documents.list_documents(kind, tenant=MINE)) == 1
        await documents.erase("shared", "book", tenant=THEIRS)
        await platform.journal.erase_subject(THEIRS, "ann")
        assert value_of((await documents.get("shared", "book", tenant=THEIRS)).latest) is None
        assert value_of((await documents.get("session", "s", tenant=THEIRS)).latest) is None
        assert value_of((await documents.get("shared", "book", tenant=MINE)).latest) == MINE
        assert value_of((await documents.get("session", "s", tenant=MINE)).latest) == MINE


class TestInMemory(TenantCrossing):
    @pytest.fixture
    async def platform(self) -> AsyncIterator[Penstock]:
        async with open_in_memory(Settings(poll_seconds=0.02, tenant="own"), agents=[payer, inner, notary]) as platform:
            yield platform


class TestOnPostgreSQL(TenantCrossing):
    @pytest.fixture
    async def platform(self, database_url: str) -> AsyncIterator[Penstock]:
        settings = Settings(database_url=database_url, poll_seconds=0.02, tenant="own")
        async with penstock.open(settings, agents=[payer, inner, notary], worker="w") as platform:
            yield platform
