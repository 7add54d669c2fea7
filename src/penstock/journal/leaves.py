"""What the leaves of an audit log say, and the statements by which a key comes to sign one."""

import base64
from uuid import UUID

import msgspec

from penstock.journal.notes import Note, SigningKey, Verifier
from penstock.kernel.errors import NoteInvalid
from penstock.ports.audit import Leaf, LogKey

STATEMENT = "penstock.audit.key/v1"


class LeafData(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind"):
    """What every leaf says. What is hashed is JSON with sorted keys; fields are only ever added, with defaults."""

    tenant: str
    at: int  # when it was appended, microseconds since the epoch, by the store's clock


class RunLeaf(LeafData, frozen=True, tag="run"):
    """A run's chain had come so far: ``hash`` (hex) is that of event ``seq``, and covers all before it."""

    run: UUID
    seq: int
    hash: str


class ActionsLeaf(LeafData, frozen=True, tag="actions"):
    """The tenant's list of actions had come so far."""

    seq: int
    hash: str


class KeyLeaf(LeafData, frozen=True, tag="key"):
    """From here on checkpoints are signed with another key: ``statement`` is the note that says so."""

    number: int
    statement: str


AnyLeaf = RunLeaf | ActionsLeaf | KeyLeaf

_encoder = msgspec.json.Encoder(order="sorted")
_decoder = msgspec.json.Decoder(AnyLeaf)


def make_leaf(index: int, data: AnyLeaf) -> Leaf:
    """A leaf for its place."""
    body = _encoder.encode(data)
    if isinstance(data, RunLeaf):
        return Leaf(index, body, "run", data.run, data.seq)
    if isinstance(data, ActionsLeaf):
        return Leaf(index, body, "actions", None, data.seq)
    return Leaf(index, body, "key")


def read_leaf(data: bytes) -> AnyLeaf:
    """What a leaf says.

    Raises:
        msgspec.DecodeError: it is none of ours.
    """
    leaf: AnyLeaf = _decoder.decode(data)
    return leaf


def first_statement(base: str, key: SigningKey) -> str:
    """The note by which the first key of the logs of that name says that it is."""
    text = f"{STATEMENT}\n{base}\nfirst\n{_text(key.public)}\n"
    return str(Note(text, [key.sign_note(base, text)]))


def rotation_statement(base: str, old: SigningKey, new: SigningKey) -> str:
    """The note by which a key hands over to another. Signed by both: the new one is not somebody else's."""
    text = f"{STATEMENT}\n{base}\n{_text(old.public)}\n{_text(new.public)}\n"
    return str(Note(text, [old.sign_note(base, text), new.sign_note(base, text)]))


def base_of(key: LogKey) -> str:
    """The name that the logs have, as a key's statement says."""
    return key.statement.split("\n", 2)[1]


def check_statement(statement: str, base: str, previous: bytes | None) -> bytes:
    """The public key that a statement brings in.

    Args:
        previous: the key before it; None = it is the first one.

    Raises:
        NoteInvalid: it does not say so, or is not signed by those that it must be signed by.
    """
    note = Note.parse(statement)
    lines = note.text.split("\n")
    before = "first" if previous is None else _text(previous)
    if len(lines) != 5 or lines[:3] != [STATEMENT, base, before]:
        raise NoteInvalid("this is no statement of a key of this log that follows the one before")
    try:
        public = base64.b64decode(lines[3], validate=True)
    except ValueError as error:
        raise NoteInvalid("a statement holds no key") from error
    for signer in (previous, public):
        if signer is not None and not note.is_signed_by(Verifier(base, signer)):
            raise NoteInvalid("a statement of a key is not signed by the key before it and the key itself")
    return public


def _text(public: bytes) -> str:
    return base64.b64encode(public).decode()
