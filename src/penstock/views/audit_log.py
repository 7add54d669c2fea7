"""What people and programs ask of an audit log: its head, its keys, proofs, and the signatures of witnesses."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from penstock.journal.leaves import base_of
from penstock.journal.notes import (
    COSIGNATURE,
    Checkpoint,
    Note,
    Verifier,
    origin_of,
    parse_signatures,
    verify_signature,
)
from penstock.journal.proofs import Inclusion, Tree
from penstock.kernel.errors import CheckpointForeign, NotSealed, SignatureRefused
from penstock.ports.audit import LogKey, StoredCheckpoint
from penstock.ports.journal import Journal
from penstock.views.exports import held_size, newest

WITNESSES_MAX = 16


@dataclass(slots=True, frozen=True)
class Proved:
    """That a run's chain, up to an event, is in the log that a checkpoint commits to."""

    run: UUID
    seq: int  # the last event that the leaf covers
    inclusion: Inclusion
    checkpoint: StoredCheckpoint


@dataclass(slots=True, frozen=True)
class Grown:
    """That the log of an older checkpoint is the beginning of the log of the newest one."""

    old: int
    size: int
    proof: Sequence[bytes]
    checkpoint: StoredCheckpoint


async def log_keys(journal: Journal, tenant: str) -> list[tuple[LogKey, Verifier]]:
    """The keys of a tenant's log, oldest first, as verifiers of its checkpoints.

    Raises:
        NotSealed: no log has been begun here.
    """
    keys = await journal.audit.keys()
    if not keys:
        raise NotSealed("nothing has been sealed here yet: there are no keys")
    origin = origin_of(base_of(keys[0]), tenant)
    return [(key, Verifier(origin, key.public)) for key in keys]


async def prove_run(journal: Journal, tenant: str, run: UUID, seq: int = 0) -> Proved:
    """The proof for a run up to event ``seq`` at least; 0 = as far as it is sealed.

    Raises:
        NotSealed: it is not in the log that far.
    """
    point = await newest(journal, tenant)
    leaves = [leaf for leaf in await journal.audit.leaves_of(tenant, [run]) if leaf.index < point.size]
    fitting = [leaf for leaf in leaves if leaf.seq >= seq] if seq else leaves[-1:]
    if not fitting:
        raise NotSealed(f"run {run} is not in the audit log of {tenant!r}" + (f" up to event {seq}" if seq else ""))
    inclusion = await Tree(journal.audit, tenant, point.size).inclusion(fitting[0].index)
    return Proved(run, fitting[0].seq, inclusion, point)


async def prove_growth(journal: Journal, tenant: str, note: str) -> Grown:
    """The proof that the log has only grown since a checkpoint that somebody holds.

    Raises:
        NoteInvalid, CheckpointForeign, SignatureRefused: it is none of this log.
        LogForked: it has not: its history was rewritten.
    """
    old = await held_size(journal, tenant, note)
    return await grown_since(journal, tenant, old)


async def grown_since(journal: Journal, tenant: str, old: int) -> Grown:
    """The same from a size.

    Raises:
        NotSealed: the log is not that large.
    """
    point = await newest(journal, tenant)
    if not 0 <= old <= point.size:
        raise NotSealed(f"the audit log of {tenant!r} has {point.size} leaves, not {old}")
    return Grown(old, point.size, await Tree(journal.audit, tenant, point.size).consistency(old), point)


def witnesses_of(setting: str) -> list[Verifier]:
    """The witnesses whose keys a setting holds.

    Raises:
        NoteInvalid: one is no key.
    """
    return [Verifier.parse(text) for text in setting.split()][:WITNESSES_MAX]


async def take_cosignatures(
    journal: Journal, tenant: str, lines: str, witnesses: Sequence[Verifier], size: int | None = None
) -> list[str]:
    """Keep the signatures of known witnesses with a checkpoint; the names of those whose signatures were taken.

    Args:
        lines: signature lines, or a whole checkpoint with them.
        size: of the checkpoint, where ``lines`` is none; None = the newest one.

    Raises:
        NoteInvalid: that is no signature.
        CheckpointForeign: the checkpoint is of another log.
        SignatureRefused: a signature is of no known witness, or does not fit the checkpoint.
        NotSealed: the checkpoint is not kept.
    """
    if "\n\n" in lines:
        note = Note.parse(lines)
        size, signatures = Checkpoint.parse(note.text).size, list(note.signatures)
    else:
        signatures = parse_signatures(lines)
    stored = await journal.audit.checkpoint(tenant, size)
    if stored is None:
        raise NotSealed(f"there is no checkpoint of size {size} here" if size else "there is no checkpoint yet")
    known = Note.parse(stored.note)
    if "\n\n" in lines and Note.parse(lines).text != known.text:
        raise CheckpointForeign("this is no checkpoint of this log")
    own = {(item.name, item.key_id) for item in known.signatures}
    by_key = {(item.name, item.key_id): item for item in witnesses if item.kind == COSIGNATURE}
    taken = [item for item in signatures if (item.name, item.key_id) not in own]
    for item in taken:
        verifier = by_key.get((item.name, item.key_id))
        if verifier is None:
            raise SignatureRefused(f"{item.name!r} is not a witness that is known here")
        if not verify_signature(verifier, item, known.text):
            raise SignatureRefused(f"the signature of {item.name!r} does not fit the checkpoint of size {stored.size}")
    if not taken:
        raise SignatureRefused("there is no signature of a witness")
    await journal.audit.cosign(tenant, stored.size, [item.line() for item in taken])
    return [item.name for item in taken]


def witness_request(grown: Grown) -> str:
    """The body of an ``add-checkpoint`` request to a witness (c2sp.org/tlog-witness)."""
    proof = "".join(base64.b64encode(node).decode() + "\n" for node in grown.proof)
    return f"old {grown.old}\n{proof}\n{grown.checkpoint.note}"
