"""Where decisions have to be signed, what was written into the store without the key is none."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest
from tests.sim.tapes import TENANT, Tape, cut, open_on

from penstock import OutcomeUnknown, Run, Settings, agent, tool
from penstock.adapters.memory import MemoryJournal
from penstock.cli.signing_checks import check_signatures
from penstock.events import (
    ApprovalDecided,
    ApprovalEdited,
    ApprovalRequested,
    ApprovalVoted,
    Event,
    RunSubmitted,
    Signed,
    decode,
    encode,
)
from penstock.gates.tool.approval import Decision
from penstock.journal.chain import genesis, link
from penstock.journal.decisions import CONTEXT, DecisionKeys
from penstock.journal.keyring import make_key_file
from penstock.journal.notes import SigningKey
from penstock.kernel.errors import ApprovalMismatch, CallDenied, DecisionKeyInvalid, DecisionKeyMissing
from penstock.ports.journal import Journal
from penstock.ports.questions import Decided, Vote, Voter
from penstock.ports.records import Post
from penstock.rules.policy.policy_set import PolicySet
from penstock.runs.approvals import Approval
from penstock.runs.approving import deciding
from penstock.runs.approving.deciding import decide
from penstock.runs.client import Penstock
from penstock.runs.replaying.replay import replay
from penstock.views.accountability import accounts_of
from penstock.wiring import open_penstock

QUICK = Settings(poll_seconds=0.01, drain_seconds=0.1, start_allowance_seconds=0.1, doubt_margin_seconds=0.1)
KEYS = DecisionKeys(SigningKey.from_seed(b"k" * 32))
NEXT = DecisionKeys(SigningKey.from_seed(b"n" * 32))
THIEF = DecisionKeys(SigningKey.from_seed(b"t" * 32))
UNTRUSTED = DecisionKeys()
POLICY = """
version: 1
rules:
  - {{name: payouts, owner: finance, reviewed: 2026-11-01, reason: money leaves, when: {{tool: pay_out}}, then: hold,
     approvers: {{count: {count}}}}}
  - {{name: letters, owner: post, reviewed: 2026-11-01, reason: they may, when: {{tool: send_letter}}, then: allow}}
"""
made: list[tuple[str, int]] = []
broken: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_yet() -> None:
    made.clear()
    broken.clear()


@tool(effect="write", risk="high", in_doubt="idempotent")
async def pay_out(order: str, cents: int) -> str:
    """Pays."""
    made.append((order, cents))
    return "paid"


@tool(effect="write", permission="auto", in_doubt="escalate", timeout_seconds=0.1)
async def send_letter(order: str) -> str:
    """Is lost on the way."""
    broken.append(order)
    raise OutcomeUnknown("the line went dead")


@agent("payer", version="1")
async def payer(run: Run, order: str) -> str:
    try:
        return str(await run.call(pay_out, order, 900))
    except CallDenied as error:
        return str(error)


@agent("asker", version="1")
async def asker(run: Run, order: str) -> str:
    return await run.ask_person("how much?")


@agent("writer", version="1")
async def writer(run: Run, order: str) -> str:
    return str(await run.call(send_letter, order))


class Guard:
    """A policy that asks so many people."""

    def __init__(self, count: int = 1) -> None:
        self.policy = PolicySet.compile({"a.yaml": POLICY.format(count=count)})

    def for_run(self, agent: str, release: str, environment: str) -> PolicySet:
        return self.policy


@contextlib.asynccontextmanager
async def opened(
    journal: MemoryJournal | None = None, keys: DecisionKeys = KEYS, count: int = 1
) -> AsyncIterator[Penstock]:
    """A worker that holds the public keys of these only."""
    trusted = DecisionKeys(None, [key.private.public for key in (keys,) if key.private is not None])
    async with open_on(journal or MemoryJournal(), [payer, asker, writer], settings=QUICK, person=None) as platform:
        platform.services.policy = Guard(count)  # type: ignore[assignment]
        platform.services.decisions = trusted
        yield platform


async def question(platform: Penstock, run: UUID, but: str = "") -> Approval:
    """What the run asks, as soon as that is another question than ``but``."""
    async with asyncio.timeout(20):
        while True:
            for item in await platform.approvals():
                if item.run == run and item.id != but:
                    return item
            await asyncio.sleep(0.005)


async def events(journal: Journal, run: UUID) -> list[Event]:
    return [decode(row.body) for row in await journal.tape(TENANT, run)]


async def signed(platform: Penstock, approval: Approval, answer: str = "approve", **said: Any) -> Decision:
    """A genuine decision that was not delivered."""
    keys, voter = said.pop("keys", KEYS), said.pop("voter", Voter("ann", ("approver",)))
    words, args = said.get("reason", ""), said.get("args")
    voter = await deciding._signed(platform.journal, approval, voter, answer, args, words, keys)
    return Decision(answer, voter.actor, words, approval.digest, voter, args, approval.policy)


async def deliver(journal: Journal, approval: Approval, body: bytes | Decision, actor: str = "eve") -> None:
    """Write it where the run looks, as whoever reaches the store can."""
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    post = Post(approval.tenant, approval.run, f"approval:{approval.id}", "approval", raw)
    said = Decided(
        approval.tenant,
        approval.id,
        approval.run,
        approval.agent,
        approval.tool,
        approval.question,
        "approve",
        actor,
        approval.subject,
        b"",
    )
    assert (await journal.questions.decide(post, said)).counts


def by(decision: Decision, **changes: Any) -> Decision:
    """The same with another voter, and the signature it had."""
    assert decision.voter is not None
    return msgspec.structs.replace(decision, voter=msgspec.structs.replace(decision.voter, **changes))


def resigned(decision: Decision, key: str | None = None, **changes: Any) -> Decision:
    """What was signed is changed, and the signature is the old one."""
    assert decision.voter is not None
    assert decision.voter.signed is not None
    plain = {**msgspec.json.decode(decision.voter.signed.statement), **changes}
    text = msgspec.json.encode(plain, order="sorted").decode()
    old = decision.voter.signed
    return by(decision, signed=Signed(key or old.key, old.signature, text))


Forge = Callable[[Penstock, Approval, Approval], Any]


async def stripped(platform: Penstock, here: Approval, other: Approval) -> Decision:
    return by(await signed(platform, here), signed=None)


async def nobodys(platform: Penstock, here: Approval, other: Approval) -> Decision:
    return Decision("approve", "ann", "", here.digest, None, None, here.policy)


async def of_another_run(platform: Penstock, here: Approval, other: Approval) -> Decision:
    return await signed(platform, other)


async def of_another_tenant(platform: Penstock, here: Approval, other: Approval) -> Decision:
    return await signed(platform, replace(here, tenant="zeta"))


async def of_other_arguments(platform: Penstock, here: Approval, other: Approval) -> Decision:
    return await signed(platform, replace(here, digest=other.digest, args=other.args))


async def of_another_policy(platform: Penstock, here: Approval, other: Approval) -> Decision:
    return await signed(platform, replace(here, policy="0" * 64))


async def a_denial(platform: Penstock, here: Approval, other: Approval) -> Decision:
    return msgspec.structs.replace(await signed(platform, here, "deny"), decision="approve")


async def other_words(platform: Penstock, here: Approval, other: Approval) -> Decision:
    return msgspec.structs.replace(await signed(platform, here, reason="checked"), reason="checked twice")


async def an_edit_of_more(platform: Penstock, here: Approval, other: Approval) -> Decision:
    edit = await signed(platform, here, "edit", args={**here.args, "cents": 400})
    return msgspec.structs.replace(edit, args={**here.args, "cents": 9_000_000})


async def another_person(platform: Penstock, here: Approval, other: Approval) -> Decision:
    return by(msgspec.structs.replace(await signed(platform, here), actor="bob"), actor="bob")


async def more_roles(platform: Penstock, here: Approval, other: Approval) -> Decision:
    return by(await signed(platform, here), roles=("approver", "finance"))


async def anothers_right(platform: Penstock, here: Approval, other: Approval) -> Decision:
    return by(await signed(platform, here), behalf="bob", delegation="1")


async def a_thief(platform: Penstock, here: Approval, other: Approval) -> Decision:
    return await signed(platform, here, keys=THIEF)


async def a_thief_who_says_otherwise(platform: Penstock, here: Approval, other: Approval) -> Decision:
    theirs = await signed(platform, here, keys=THIEF)
    return resigned(theirs, KEYS.trusted[0])


async def changed_afterwards(platform: Penstock, here: Approval, other: Approval) -> Decision:
    edit = await signed(platform, here, "deny")
    return resigned(msgspec.structs.replace(edit, decision="approve"), answer="approve")


async def of_another_kind(platform: Penstock, here: Approval, other: Approval) -> Decision:
    """The key signs something else with just these bytes in it."""
    real = await signed(platform, here)
    assert KEYS.private is not None
    assert real.voter is not None
    assert real.voter.signed is not None
    text = real.voter.signed.statement
    signature = base64.b64encode(KEYS.private.sign(b"penstock release 1\n" + text.encode())).decode()
    assert CONTEXT != b"penstock release 1\n"
    return by(real, signed=Signed(real.voter.signed.key, signature, text))


async def nonsense(platform: Penstock, here: Approval, other: Approval) -> bytes:
    return b'{"decision": 3'


async def nonsense_signed(platform: Penstock, here: Approval, other: Approval) -> Decision:
    return by(await signed(platform, here), signed=Signed(KEYS.trusted[0], "?", "[]"))


FORGERIES: list[Forge] = [
    stripped,
    nobodys,
    of_another_run,
    of_another_tenant,
    of_other_arguments,
    of_another_policy,
    a_denial,
    other_words,
    an_edit_of_more,
    another_person,
    more_roles,
    anothers_right,
    a_thief,
    a_thief_who_says_otherwise,
    changed_afterwards,
    of_another_kind,
    nonsense,
    nonsense_signed,
]


async def test_what_was_forged_is_not_counted_and_is_asked_anew(caplog: pytest.LogCaptureFixture) -> None:
    async with opened() as platform:
        other = await question(platform, await platform.submit(payer, "other"))
        for forge in FORGERIES:
            caplog.clear()
            run = await platform.submit(payer, forge.__name__)
            first = await question(platform, run)
            await deliver(platform.journal, first, await forge(platform, first, other))
            second = await question(platform, run, but=first.id)
            assert made == [], forge.__name__
            assert second.again, "people see that something was wrong"
            *_, void, again = await said_of(platform, run)
            assert isinstance(void, ApprovalDecided)
            assert (void.decision, void.actor, void.problem) == ("void", "penstock", second.again)
            assert isinstance(again, ApprovalRequested)
            assert any("does not count" in record.message for record in caplog.records)
            await decide(platform.journal, second, "approve", Voter("ann"), reason="checked", keys=KEYS)
            await platform.result(run, timeout_seconds=20)
            assert made == [(forge.__name__, 900)]
            made.clear()
            row = await platform.journal.get_run(TENANT, run)
            assert row is not None
            assert (await replay(platform.services, row, [payer])).same
        assert other.again == ""


async def said_of(platform: Penstock, run: UUID) -> list[Event]:
    kinds = ApprovalRequested | ApprovalDecided | ApprovalEdited | ApprovalVoted
    return [event for event in await events(platform.journal, run) if isinstance(event, kinds)]


async def test_a_signed_decision_counts_once_and_says_by_which_key() -> None:
    async with opened() as platform:
        run = await platform.submit(payer, "o-1")
        asked = await question(platform, run)
        await decide(platform.journal, asked, "edit", Voter("ann"), args={"order": "o-1", "cents": 300}, keys=KEYS)
        await platform.result(run, timeout_seconds=20)
        edit = next(event for event in await events(platform.journal, run) if isinstance(event, ApprovalEdited))
        assert edit.signed is not None
        run = await platform.submit(payer, "o-2")
        asked = await question(platform, run)
        await decide(platform.journal, asked, "approve", Voter("ann"), reason="less", keys=KEYS)
        await platform.result(run, timeout_seconds=20)
        row = await platform.journal.get_run(TENANT, run)
        assert row is not None
        told = [party for party in (await accounts_of(platform.journal, row))[0].parties if party.part == "approved"]
        assert [party.detail for party in told][-1] == f"approve, signed by key {KEYS.trusted[0]}"
        assert b"less" not in msgspec.json.encode(await events(platform.journal, run)), "words can be erased"
    assert made == [("o-1", 300), ("o-2", 900)]


async def test_without_the_key_nobody_decides_where_decisions_have_to_be_signed() -> None:
    async with opened() as platform:
        asked = await question(platform, await platform.submit(payer, "o-1"))
        with pytest.raises(DecisionKeyMissing):
            await platform.decide(asked, "approve", actor="ann")
        assert (await question(platform, asked.run)).id == asked.id, "nothing was delivered"
    with pytest.raises(DecisionKeyInvalid):
        DecisionKeys.of(Settings(decision_key_file=__file__))  # type: ignore[arg-type]


async def test_keys_are_rotated_by_trusting_both_and_a_revoked_one_counts_no_more() -> None:
    public = [key.private.public for key in (KEYS, NEXT) if key.private is not None]
    async with opened() as platform:
        platform.services.decisions = DecisionKeys(None, public)
        for keys in (KEYS, NEXT):
            run = await platform.submit(payer, keys.trusted[0])
            await decide(platform.journal, await question(platform, run), "approve", Voter("ann"), keys=keys)
            await platform.result(run, timeout_seconds=20)
        assert len(made) == 2
        platform.services.decisions = DecisionKeys(None, public[1:])
        run = await platform.submit(payer, "late")
        asked = await question(platform, run)
        await decide(platform.journal, asked, "approve", Voter("ann"), keys=KEYS)
        assert "trusted here are others" in (await question(platform, run, but=asked.id)).again
    assert len(made) == 2


async def test_of_several_people_only_those_count_whose_vote_was_signed() -> None:
    async with opened(count=2) as platform:
        run = await platform.submit(payer, "o-1")
        asked = await question(platform, run)
        real = await signed(platform, asked)
        await vote(
            platform.journal, asked, Decision("approve", "eve", "", asked.digest, Voter("eve"), None, asked.policy)
        )
        asked = await question(platform, run)
        assert deciding.vote_problem(asked, asked.votes[0], KEYS) == "it is not signed"
        taken = await decide(platform.journal, asked, "approve", Voter("ann"), reason="fine", keys=KEYS)
        assert (taken.counts, taken.allowed) == (False, ("ann",)), "the forged one is struck"
        taken = await decide(platform.journal, asked, "approve", Voter("bob"), keys=KEYS)
        assert taken.counts
        await platform.result(run, timeout_seconds=20)
        votes = [event for event in await said_of(platform, run) if isinstance(event, ApprovalVoted)]
        assert [(event.actor, event.problem) for event in votes if event.problem] == [("eve", "it is not signed")]

        run = await platform.submit(payer, "o-2")
        asked = await question(platform, run)
        real = await signed(platform, asked)
        await vote(platform.journal, asked, real)
        await deliver(platform.journal, asked, real)  # the same again, where the last one is expected
        second = await question(platform, run, but=asked.id)
        await vote(
            platform.journal, second, Decision("approve", "eve", "", second.digest, Voter("eve"), None, second.policy)
        )
        await deliver(platform.journal, second, await signed(platform, second))  # the store says that it was two
        assert (await question(platform, run, but=second.id)).id not in (asked.id, second.id)
        decided = [event.decision for event in await said_of(platform, run) if isinstance(event, ApprovalDecided)]
        assert decided == ["void", "void"]
    assert made == [("o-1", 900)]


async def vote(journal: Journal, approval: Approval, decision: Decision) -> None:
    """Write a vote where the store counts it and the run sees it."""
    assert decision.voter is not None
    body = msgspec.json.encode(decision)
    post = Post(approval.tenant, approval.run, f"approval:{approval.id}", "approval", body)
    letter = Post(approval.tenant, approval.run, f"vote:{approval.id}:{decision.actor}", "approval", body)
    said = Decided(
        approval.tenant,
        approval.id,
        approval.run,
        approval.agent,
        approval.tool,
        "may_run",
        "approve",
        decision.actor,
        approval.subject,
        b"",
    )
    kept = Vote(approval.tenant, approval.id, approval.run, decision.voter, (decision.actor,))
    assert (await journal.questions.vote(post, said, kept, letter, 2)).answer == "kept"


async def test_answers_and_settled_doubts_are_signed_too() -> None:
    async with opened() as platform:
        run = await platform.submit(asker, "o-1")
        asked = await question(platform, run)
        real = await signed(platform, asked, "answer", reason="10")
        await deliver(platform.journal, asked, msgspec.structs.replace(real, reason="1000000"))
        second = await question(platform, run, but=asked.id)
        await decide(platform.journal, second, "answer", Voter("ann"), reason="10", keys=KEYS)
        assert (await platform.result(run, timeout_seconds=20)).output == "10"

        run = await platform.submit(writer, "o-2")
        asked = await question(platform, run)
        assert asked.question == "did_it_happen"
        forged = Decision("did_not_happen", "ann", "", asked.digest, Voter("ann"))
        await deliver(platform.journal, asked, forged)
        second = await question(platform, run, but=asked.id)
        assert broken == ["o-2"], "it is not made again because somebody wrote so"
        await decide(platform.journal, second, "happened", Voter("ann"), keys=KEYS)
        assert (await platform.result(run, timeout_seconds=20)).outcome == "succeeded"
        assert broken == ["o-2"]


@pytest.mark.parametrize("count", [1, 2])
async def test_what_the_tape_says_was_allowed_is_held_against_its_signature_before_it_is_done(count: int) -> None:
    """So that a rewritten tape allows nothing, and what was allowed before keys were set is asked anew."""
    journal = MemoryJournal()
    async with opened(journal, count=count) as platform:
        run = await platform.submit(payer, "o-1")
        asked = await question(platform, run)
        for who in ("ann", "bob")[:count]:
            await decide(journal, asked, "approve", Voter(who), keys=KEYS)
        await platform.result(run, timeout_seconds=20)
    tape = Tape(run, journal)
    decided = next(seq for seq, event in enumerate(tape.events, 1) if isinstance(event, ApprovalDecided))
    for keys, asks in ((KEYS, False), (UNTRUSTED, False), (NEXT, True)):
        made.clear()
        copy = cut(tape, decided)
        async with opened(copy, keys, count) as platform:
            if asks:
                assert (await question(platform, run)).id != asked.id
                assert made == []
            else:
                await platform.result(run, timeout_seconds=20)
                assert made == [("o-1", 900)]


def rewritten(journal: MemoryJournal, run: UUID, vote: Event, into: Event) -> MemoryJournal:
    """The tape with another event, and a chain that fits."""
    stored = journal._store.runs[TENANT, run]
    head, rows = genesis(TENANT, run), []
    for row in stored.tape:
        body = encode(into) if row.seq == vote.seq else row.body
        head = link(head, body)
        rows.append(msgspec.structs.replace(row, body=body, hash=head))
    stored.tape[:] = rows
    return journal


async def test_a_vote_that_was_written_onto_the_tape_does_not_count() -> None:
    journal = MemoryJournal()
    async with opened(journal, count=2) as platform:
        run = await platform.submit(payer, "o-1")
        asked = await question(platform, run)
        for who in ("ann", "bob"):
            await decide(journal, asked, "approve", Voter(who), keys=KEYS)
        await platform.result(run, timeout_seconds=20)
    tape = Tape(run, journal)
    decided = next(seq for seq, event in enumerate(tape.events, 1) if isinstance(event, ApprovalDecided))
    (ann, *_) = [event for event in tape.events if isinstance(event, ApprovalVoted)]
    bob = next(event for event in tape.events if isinstance(event, ApprovalDecided))
    for into in (
        ann,
        msgspec.structs.replace(ann, signed=None),
        msgspec.structs.replace(ann, actor="eve"),
        msgspec.structs.replace(ann, actor="bob", signed=bob.signed),
    ):
        made.clear()
        async with opened(rewritten(cut(tape, decided), run, ann, into), count=2) as platform:
            if into is ann:
                await platform.result(run, timeout_seconds=20)
            else:
                assert (await question(platform, run)).id != asked.id
            assert made == ([("o-1", 900)] if into is ann else [])


async def test_a_question_that_was_rewritten_on_the_tape_is_not_the_one_that_counts() -> None:
    """Somebody makes one person of the two that the policy asks for, and that one allows it."""
    journal = MemoryJournal()
    async with opened(journal, count=2) as platform:
        run = await platform.submit(payer, "o-1")
        await question(platform, run)
    tape = Tape(run, journal)
    asked = next(event for event in tape.events if isinstance(event, ApprovalRequested))
    assert asked.terms is not None
    forged = msgspec.structs.replace(asked, terms=msgspec.structs.replace(asked.terms, count=1))
    async with opened(rewritten(cut(tape, asked.seq), run, asked, forged), count=2) as platform:
        first = await question(platform, run)
        assert (await decide(platform.journal, first, "approve", Voter("ann"), keys=KEYS)).counts
        second = await question(platform, run, but=first.id)
        assert second.terms == asked.terms
        assert made == []


async def test_what_the_tape_says_of_a_doubt_is_held_against_its_signature() -> None:
    """A write that happened is not made again because somebody wrote that it had not."""
    journal = MemoryJournal()
    async with opened(journal) as platform:
        run = await platform.submit(writer, "o-1")
        await decide(journal, await question(platform, run), "happened", Voter("ann"), keys=KEYS)
        await platform.result(run, timeout_seconds=20)
    tape = Tape(run, journal)
    said = next(event for event in tape.events if isinstance(event, ApprovalDecided))
    for into, asks in ((said, False), (msgspec.structs.replace(said, decision="did_not_happen"), True)):
        async with opened(rewritten(cut(tape, said.seq), run, said, into)) as platform:
            if asks:
                assert (await question(platform, run)).id != said.approval
            else:
                await platform.result(run, timeout_seconds=20)
    assert broken == ["o-1"]


async def test_nobody_signs_what_is_not_what_they_were_shown() -> None:
    """Arguments that were changed where they are kept."""
    async with opened() as platform:
        asked = await question(platform, await platform.submit(payer, "o-1"))
        shown = replace(asked, args={**asked.args, "cents": 1})
        with pytest.raises(ApprovalMismatch):
            await decide(platform.journal, shown, "approve", Voter("ann"), keys=KEYS)


async def test_whoever_writes_to_the_database_allows_nothing(journal_dsn: str, tmp_path: Path) -> None:
    """The rows that `penstock.decide` would write, and a decision that was signed for something else."""
    settings = Settings(database_url=journal_dsn, poll_seconds=0.05, database_pool_size=3)
    async with open_penstock(settings, agents=[payer], worker="w") as platform:
        platform.services.policy = Guard()  # type: ignore[assignment]
        platform.services.decisions = DecisionKeys(None, [KEYS.private.public] if KEYS.private is not None else [])
        run, other = [await platform.submit(payer, name) for name in ("o-1", "o-2")]
        first = await question(platform, run)
        stolen = await signed(platform, await question(platform, other))
        connection = await asyncpg.connect(journal_dsn)
        for forged in (await stripped(platform, first, first), stolen):
            await connection.execute(
                "INSERT INTO penstock.inbox (tenant, run_id, dedup, kind, body) VALUES ($1, $2, $3, 'approval', $4)",
                TENANT,
                run,
                f"approval:{first.id}",
                msgspec.json.encode(forged),
            )
            wake = "UPDATE penstock.runs SET status = 'queued', wake_at = now() WHERE id = $1 AND status = 'parked'"
            await connection.execute(wake, run)
            first = await question(platform, run, but=first.id)
            assert made == []
            assert first.again
        await connection.close()
        make_key_file(tmp_path / "key.pem", DecisionKeyInvalid)
        looked = Settings(database_url=journal_dsn, decision_key_file=tmp_path / "key.pem")
        (line,) = await check_signatures(journal_dsn, looked)
        assert (line.state, "1 question asked anew" in line.words) == ("fail", True)
        await decide(platform.journal, first, "approve", Voter("ann"), keys=KEYS)
        await platform.result(run, timeout_seconds=20)
        assert isinstance((await events(platform.journal, run))[0], RunSubmitted)
    assert made == [("o-1", 900)]
