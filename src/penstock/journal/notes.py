"""Signed notes and checkpoints of logs, in the forms of C2SP (c2sp.org/signed-note, /tlog-checkpoint,
/tlog-cosignature), signed with Ed25519 (RFC 8032)."""

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from penstock.kernel.errors import NoteInvalid

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ED25519 = 0x01
COSIGNATURE = 0x04
"""Signature types of c2sp.org/signed-note."""

NOTE_MAX_BYTES = 64 * 1024
SIGNATURES_MAX = 64
_DASH = "— "  # an em dash and a space
_SIGNATURE_BYTES = 64


@dataclass(slots=True, frozen=True)
class Signature:
    """One signature line: whose it is, and its bytes without the key's id."""

    name: str
    key_id: bytes
    raw: bytes

    def line(self) -> str:
        """As a note has it, with its end of line."""
        return f"{_DASH}{self.name} {_encode(self.key_id + self.raw)}\n"


@dataclass(slots=True, frozen=True)
class Verifier:
    """A public key under a name; ``kind`` is `ED25519` for logs, `COSIGNATURE` for witnesses."""

    name: str
    public: bytes
    kind: int = ED25519

    @property
    def key_id(self) -> bytes:
        """The first four bytes of a hash of name, kind and key."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:4]

    def text(self) -> str:
        """The key in one line: ``name+id+key``."""
        return f"{self.name}+{self.key_id.hex()}+{_encode(bytes([self.kind]) + self.public)}"

    @classmethod
    def parse(cls, text: str) -> "Verifier":
        """A key of one line.

        Raises:
            NoteInvalid: it is none.
        """
        name, _, rest = text.strip().partition("+")
        key_id, _, encoded = rest.partition("+")
        data = _decode(encoded)
        if data is None or len(data) != 1 + 32 or data[0] not in (ED25519, COSIGNATURE) or not is_name(name):
            raise NoteInvalid(f"{text.strip()[:200]!r} is no public key of a log or witness")
        found = cls(name, data[1:], data[0])
        if found.key_id.hex() != key_id:
            raise NoteInvalid(f"the public key of {name!r} does not have the id {key_id!r}: it is damaged")
        return found


class SigningKey:
    """An Ed25519 key. The library is loaded when there is one: most processes sign nothing."""

    def __init__(self, key: "Ed25519PrivateKey") -> None:
        self._key = key
        self.public = key.public_key().public_bytes_raw()

    @classmethod
    def make(cls) -> "SigningKey":
        """A new one."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_seed(cls, seed: bytes) -> "SigningKey":
        """The key of 32 bytes (RFC 8032, 5.1.5)."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    @classmethod
    def from_pem(cls, pem: bytes) -> "SigningKey":
        """The key of a PEM file (PKCS 8, without a password).

        Raises:
            ValueError, TypeError: it holds none.
        """
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        key = load_pem_private_key(pem, password=None)
        if not isinstance(key, Ed25519PrivateKey):
            raise TypeError("it is no Ed25519 key")
        return cls(key)

    def pem(self) -> bytes:
        """The key as a PEM file has it."""
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def sign(self, message: bytes) -> bytes:
        """64 bytes."""
        return self._key.sign(message)

    def sign_note(self, name: str, text: str) -> Signature:
        """The signature of a note under a name."""
        return Signature(name, Verifier(name, self.public).key_id, self.sign(text.encode()))

    def cosign(self, name: str, text: str, at_seconds: int) -> Signature:
        """A witness's signature of a checkpoint: it was seen at that time, consistent with all that was seen before."""
        raw = at_seconds.to_bytes(8, "big") + self.sign(_cosigned(text, at_seconds))
        return Signature(name, Verifier(name, self.public, COSIGNATURE).key_id, raw)


@dataclass(slots=True, frozen=True)
class Note:
    """A text and its signatures. Nothing is verified yet."""

    text: str
    signatures: Sequence[Signature]

    def __str__(self) -> str:
        return f"{self.text}\n{''.join(item.line() for item in self.signatures)}"

    @classmethod
    def parse(cls, note: str) -> "Note":
        """A note as it is handed around.

        Raises:
            NoteInvalid: it is none.
        """
        if len(note.encode()) > NOTE_MAX_BYTES:
            raise NoteInvalid("a note is too large")
        text, gap, lines = note.rpartition("\n\n")
        if not gap or not text or not lines.endswith("\n") or any(c < " " and c != "\n" for c in note):
            raise NoteInvalid("this is no signed note: a text, an empty line, and signatures")
        return cls(text + "\n", parse_signatures(lines))

    def is_signed_by(self, verifier: Verifier) -> bool:
        """Whether that key, or witness, has signed it."""
        found = [item for item in self.signatures if (item.name, item.key_id) == (verifier.name, verifier.key_id)]
        return bool(found) and all(verify_signature(verifier, item, self.text) for item in found)


def parse_signatures(lines: str) -> list[Signature]:
    """Signature lines.

    Raises:
        NoteInvalid: one is none.
    """
    found = []
    for line in lines.splitlines():
        name, _, encoded = line.removeprefix(_DASH).partition(" ")
        data = _decode(encoded)
        if not line.startswith(_DASH) or not is_name(name) or data is None or len(data) <= 4:
            raise NoteInvalid(f"{line[:200]!r} is no signature line")
        found.append(Signature(name, data[:4], data[4:]))
    if not 0 < len(found) <= SIGNATURES_MAX:
        raise NoteInvalid(f"there are {len(found)} signatures; there must be one, and at most {SIGNATURES_MAX}")
    return found


def verify_signature(verifier: Verifier, signature: Signature, text: str) -> bool:
    """Whether the signature is of that key and text."""
    raw, message = signature.raw, text.encode()
    if verifier.kind == COSIGNATURE:
        if len(raw) != 8 + _SIGNATURE_BYTES:
            return False
        message, raw = _cosigned(text, int.from_bytes(raw[:8], "big")), raw[8:]
    return verify_ed25519(verifier.public, message, raw)


def verify_ed25519(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the signature is of that key and message."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


@dataclass(slots=True, frozen=True)
class Checkpoint:
    """The head of a log: whose, how many leaves, and the tree's root."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{_encode(self.root)}\n"

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        """The head that a note's text tells. Lines beyond the third are taken note of by their signatures only.

        Raises:
            NoteInvalid: it is no checkpoint.
        """
        lines = text.split("\n")
        root = _decode(lines[2]) if len(lines) > 3 else None
        size = lines[1] if len(lines) > 3 else ""
        if root is None or len(root) != 32 or not size.isascii() or not size.isdigit() or not lines[0]:
            raise NoteInvalid("this is no checkpoint: origin, size and root, each in a line")
        if size != str(int(size)) or len(size) > 18:
            raise NoteInvalid(f"{size[:30]!r} is no size of a tree")
        return cls(lines[0], int(size), root)


def is_name(name: str) -> bool:
    """Whether a key may be called so."""
    return bool(name) and "+" not in name and not any(c.isspace() or c < " " for c in name)


def origin_of(base: str, tenant: str) -> str:
    """The name of a tenant's log, and of the key that signs it."""
    return f"{base}/{quote(tenant, safe='')}"


def _cosigned(text: str, at_seconds: int) -> bytes:
    return f"cosignature/v1\ntime {at_seconds}\n{text}".encode()


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decode(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
