"""Sealing as a worker does it: with the right key, none, a wrong and a retired one; nothing is lost meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from penstock import Run, Settings, agent, tool
from penstock.cli.audit.options import write_key
from penstock.journal.leaves import rotation_statement
from penstock.journal.merkle import leaf_hash, verify_consistency, verify_inclusion
from penstock.journal.notes import COSIGNATURE, Checkpoint, Note, SigningKey, Verifier, verify_ed25519
from penstock.kernel.errors import (
    AuditKeyMissing,
    AuditKeyWrong,
    CheckpointForeign,
    InputInvalid,
    LogForked,
    NoteInvalid,
    NotSealed,
    SignatureRefused,
    SpanUnknown,
)
from penstock.ports.audit import LogKey
from penstock.runs.client import Penstock
from penstock.runs.sealing import Sealing, open_signer, seal_now
from penstock.verifier import ed25519
from penstock.views.accountability import account_of, accounts_of, owners_in
from penstock.views.audit_log import (
    grown_since,
    log_keys,
    prove_growth,
    prove_run,
    take_cosignatures,
    witness_request,
    witnesses_of,
)
from penstock.views.exports import newest
from penstock.wiring import open_in_memory


@tool(effect="read", labels={"owner": "payments team", "reviewed": "2026-10-01", "reviewed_by": "security"})
async def look_up(order: int) -> int:
    return order


@agent("clerk", version="1")
async def clerk(run: Run, orders: int) -> int:
    return sum([await run.call(look_up, order) for order in range(orders)])


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Penstock]:
    (tmp_path / "key.pem").write_bytes(SigningKey.make().pem())
    settings = Settings(audit_key_file=tmp_path / "key.pem", audit_origin="audit.example/log", audit_seal_seconds=3600)
    async with open_in_memory(Settings()) as opened:
        await ended(opened)  # the duties of its own worker have begun: without a key, it seals nothing
        opened.services.settings = settings
        yield opened


async def ended(platform: Penstock, orders: int = 2) -> object:
    run = await platform.submit(clerk, orders, tags={"customer": "acme"}, behalf="ann")
    await platform.result(run, timeout_seconds=20)
    return run


async def sizes(platform: Penstock) -> int:
    heads = await platform.journal.audit.heads(["default"])
    return heads["default"].size if heads else 0


async def test_a_worker_seals_what_has_gone_on_and_nothing_twice(platform: Penstock) -> None:
    await ended(platform)
    sealing = Sealing(platform.services)
    assert not await sealing.look()
    size = await sizes(platform)
    assert size >= 2  # the key, the run, perhaps the run earlier
    await sealing.look()
    assert await sizes(platform) == size
    await ended(platform)
    await sealing.look()
    assert await sizes(platform) > size


async def test_without_the_key_nothing_is_sealed_and_with_it_all_is(platform: Penstock, tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    right = path.read_bytes()
    sealing, audit = Sealing(platform.services), platform.journal.audit
    path.unlink()
    await ended(platform)
    await sealing.look()
    state = await audit.state()
    assert "cannot be read" in state.problem
    assert "[audit_key_missing]" in state.problem
    path.write_text("no key")
    await sealing.look()
    assert "holds no Ed25519 key" in (await audit.state()).problem
    assert await sizes(platform) == 0
    path.write_bytes(right)
    run = await ended(platform)
    await sealing.look()
    assert (await audit.state()).problem == ""
    assert (await prove_run(platform.journal, "default", run)).seq > 0  # type: ignore[arg-type]
    assert (await audit.state()).leaves >= 3


async def test_a_wrong_key_seals_nothing_and_leaves_the_turn_to_others(platform: Penstock, tmp_path: Path) -> None:
    sealing, audit = Sealing(platform.services), platform.journal.audit
    await ended(platform)
    await sealing.look()
    size = await sizes(platform)
    (tmp_path / "other.pem").write_bytes(SigningKey.make().pem())
    wrong = replace(platform.services.settings, audit_key_file=tmp_path / "other.pem")
    await audit.end_turn(sealing._holder)
    other = Sealing(replace(platform.services, settings=wrong))
    await ended(platform)
    await other.look()
    assert "is not the one that signs" in (await audit.state()).problem
    assert await sizes(platform) == size
    await sealing.look()
    assert await sizes(platform) > size
    assert (await audit.state()).problem == ""
    with pytest.raises(AuditKeyWrong, match="not the one that signs"):
        await seal_now(platform.journal, wrong, "default")
    with pytest.raises(AuditKeyWrong, match=r"are named 'audit\.example/log'"):
        await open_signer(platform.journal, replace(platform.services.settings, audit_origin="other.example"))
    with pytest.raises(AuditKeyMissing, match="is not set"):
        await open_signer(platform.journal, replace(platform.services.settings, audit_key_file=None))


async def test_a_key_is_rotated_in_the_log(platform: Penstock, tmp_path: Path) -> None:
    journal, settings = platform.journal, platform.services.settings
    await ended(platform)
    await seal_now(journal, settings, "default")
    held = (await newest(journal, "default")).whole
    old, new = await open_signer(journal, settings), SigningKey.make()
    await journal.audit.add_key(LogKey(2, new.public, rotation_statement(old.base, old.key, new)))
    with pytest.raises(AuditKeyWrong, match="is key 1 of the audit logs, which was retired"):
        await seal_now(journal, settings, "default")
    (tmp_path / "new.pem").write_bytes(new.pem())
    renewed = replace(settings, audit_key_file=tmp_path / "new.pem")
    await ended(platform)
    await seal_now(journal, renewed, "default")
    keys = [verifier for _, verifier in await log_keys(journal, "default")]
    assert [Note.parse((await newest(journal, "default")).note).is_signed_by(key) for key in keys] == [False, True]
    grown = await prove_growth(journal, "default", held)
    before, after = (Checkpoint.parse(Note.parse(note).text) for note in (held, grown.checkpoint.note))
    assert verify_consistency(grown.old, grown.size, grown.proof, before.root, after.root)
    kinds = [leaf.kind for leaf in await journal.audit.leaves("default", 0, 100)]
    assert kinds.count("key") == 2


async def test_proofs_and_what_is_not_proved(platform: Penstock) -> None:
    journal, settings = platform.journal, platform.services.settings
    run = await ended(platform)
    with pytest.raises(NotSealed, match="no checkpoint yet"):
        await prove_run(journal, "default", run)  # type: ignore[arg-type]
    await seal_now(journal, settings, "default")
    proved = await prove_run(journal, "default", run)  # type: ignore[arg-type]
    told = Checkpoint.parse(Note.parse(proved.checkpoint.note).text)
    inclusion = proved.inclusion
    leaf = leaf_hash(inclusion.data)
    assert verify_inclusion(leaf, inclusion.index, inclusion.size, inclusion.proof, told.root)
    with pytest.raises(NotSealed, match="up to event 999"):
        await prove_run(journal, "default", run, 999)  # type: ignore[arg-type]
    with pytest.raises(NotSealed):
        await prove_run(journal, "zeta", run)  # type: ignore[arg-type]


async def test_a_held_checkpoint_that_the_log_cannot_answer_for(platform: Penstock) -> None:
    journal, settings = platform.journal, platform.services.settings
    await ended(platform)
    await seal_now(journal, settings, "default")
    signer = await open_signer(journal, settings)
    origin = "audit.example/log/default"

    def note(name: str, size: int, root: bytes, key: SigningKey = signer.key) -> str:
        text = Checkpoint(name, size, root).text()
        return str(Note(text, [key.sign_note(name, text)]))

    with pytest.raises(LogForked, match="are not those of the checkpoint"):
        await prove_growth(journal, "default", note(origin, 1, b"\1" * 32))
    with pytest.raises(LogForked, match="has signed a checkpoint over 999"):
        await prove_growth(journal, "default", note(origin, 999, b"\1" * 32))
    with pytest.raises(CheckpointForeign, match=r"of the log 'audit\.example/log/zeta'"):
        await prove_growth(journal, "default", note("audit.example/log/zeta", 1, b"\1" * 32))
    with pytest.raises(SignatureRefused):
        await prove_growth(journal, "default", note(origin, 1, b"\1" * 32, SigningKey.make()))
    for text in ("", "x", "a\n\nb\n", "a\n01\nAA==\n\n— a AAAA\n"):
        with pytest.raises(NoteInvalid):
            await prove_growth(journal, "default", text)


async def test_witnesses(platform: Penstock) -> None:
    """What a witness of c2sp.org/tlog-witness is sent, and its cosignature/v1 taken in."""
    journal, settings = platform.journal, platform.services.settings
    await ended(platform)
    await seal_now(journal, settings, "default")
    first = await newest(journal, "default")
    await ended(platform)
    await seal_now(journal, settings, "default")
    request = witness_request(await grown_since(journal, "default", first.size))
    head, _, rest = request.partition("\n\n")
    assert head.splitlines()[0] == f"old {first.size}"
    note = Note.parse(rest)
    key = SigningKey.make()
    witness = Verifier("witness.example/w1", key.public, COSIGNATURE)
    known = witnesses_of(f"{witness.text()} {Verifier('w2', SigningKey.make().public, COSIGNATURE).text()}")
    good = key.cosign(witness.name, note.text, 1_795_000_000)
    with pytest.raises(SignatureRefused, match="not a witness that is known"):
        await take_cosignatures(journal, "default", good.line(), [])
    with pytest.raises(SignatureRefused, match="does not fit"):
        await take_cosignatures(journal, "default", key.cosign(witness.name, "other\n", 1).line(), known)
    with pytest.raises(NoteInvalid):
        await take_cosignatures(journal, "default", "nonsense", known)
    assert await take_cosignatures(journal, "default", good.line(), known) == ["witness.example/w1"]
    assert await take_cosignatures(journal, "default", f"{note.text}\n{good.line()}", known) == ["witness.example/w1"]
    whole = Note.parse((await newest(journal, "default")).whole)
    assert whole.is_signed_by(witness)
    assert len(whole.signatures) == 2


def test_the_published_example_of_a_cosigned_checkpoint_is_read() -> None:
    """c2sp.org/tlog-cosignature: name, key id and form of both kinds of signatures."""
    text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    note = Note.parse(
        f"{text}\n"
        "— example.com/behind-the-sofa "
        "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
        "— witness.example.com/w1 "
        "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
    )
    assert note.text == text
    assert [(item.name, len(item.raw)) for item in note.signatures] == [
        ("example.com/behind-the-sofa", 64),
        ("witness.example.com/w1", 72),
    ]
    assert int.from_bytes(note.signatures[1].raw[:8], "big") == 1679315147
    assert Checkpoint.parse(note.text).size == 20852163
    with pytest.raises(NoteInvalid):
        Verifier.parse(Verifier("a", b"\1" * 32).text().replace("a+", "b+", 1))


async def test_who_answers_for_a_call(platform: Penstock) -> None:
    run = await ended(platform, 2)
    row = await platform.journal.get_run("default", run)  # type: ignore[arg-type]
    assert row is not None
    accounts = await accounts_of(platform.journal, row)
    assert [(item.what, item.name) for item in accounts] == [("tool", "look_up")] * 2
    said = {(party.part, party.who) for party in accounts[0].parties}
    assert said >= {
        ("built", "payments team"),
        ("reviewed", "security"),
        ("responsible", "payments team"),
        ("beneficiary", "acme"),
        ("beneficiary", "ann"),
    }
    assert accounts[0].missing == ["released"]
    assert await account_of(platform.journal, row, accounts[1].path) == [accounts[1]]
    assert await account_of(platform.journal, row, str(accounts[1].seq)) == [accounts[1]]
    with pytest.raises(SpanUnknown, match="has no call '99'"):
        await account_of(platform.journal, row, "99")


def test_notes_and_keys_of_others_are_verified() -> None:
    """The example of golang.org/x/mod/sumdb/note: another implementation's key, text and signature."""
    key = Verifier.parse("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
    line = (
        "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
    )
    assert Note.parse(f"{text}\n{line}").is_signed_by(key)
    assert not Note.parse(f"{text.replace('you', 'we')}\n{line}").is_signed_by(key)
    assert ed25519.opened(f"{text}\n{line}", "PeterNeumann", [key.public])[0].startswith("If you think")


def test_a_cosignature_signs_what_the_specification_says() -> None:
    key, text = SigningKey.from_seed(b"c" * 32), "example.com/log\n1\nAAAA\n"
    signature = key.cosign("w", text, 1679315147)
    assert signature.raw[:8] == (1679315147).to_bytes(8, "big")
    message = f"cosignature/v1\ntime 1679315147\n{text}".encode()
    assert verify_ed25519(key.public, message, signature.raw[8:])
    assert signature.key_id == sha256(b"w\n\x04" + key.public).digest()[:4]


async def test_who_answers_for_a_call_that_was_held(tmp_path: Path) -> None:
    """By a policy whose rule has an owner, and allowed by a person; another version of the policy names nobody."""
    rules = """
version: 1
rules:
  - name: refunds-are-held
    owner: payments-risk
    reviewed: 2026-11-01
    reason: A refund moves money.
    when: {tool: refund}
    then: hold
"""
    (tmp_path / "refunds.yaml").write_text(rules)
    async with open_in_memory(Settings(policy=tmp_path / "refunds.yaml")) as platform:
        run = await platform.submit(refunder, 7)
        async with asyncio.timeout(20):
            while not (asked := await platform.approvals()):
                await asyncio.sleep(0.01)
        await platform.decide(asked[0], "approve", actor="ann")
        await platform.result(run, timeout_seconds=20)
        row = await platform.journal.get_run("default", run)
        assert row is not None
        assert platform.services.policy is not None
        policy = platform.services.policy.current
        accounts = await accounts_of(platform.journal, row, owner_of=owners_in(policy))
        account = next(item for item in accounts if item.what == "tool")
        parties = {(party.part, party.who, party.detail.split(":")[0]) for party in account.parties}
        assert ("approved", "ann", "approve") in parties
        assert ("policy", "payments-risk", "hold") in parties
        assert owners_in(policy)("0" * 64, "refunds-are-held") == ""


@tool(effect="write")
async def refund(order: int) -> int:
    return order


@agent("refunder", version="1")
async def refunder(run: Run, order: int) -> int:
    done: int = await run.call(refund, order)
    return done


def test_a_new_key_is_its_owners_alone_and_never_in_place_of_another(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    write_key(path, SigningKey.make())
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.read_bytes()
    with pytest.raises(InputInvalid, match="exists already"):
        write_key(path, SigningKey.make())
    assert path.read_bytes() == before
