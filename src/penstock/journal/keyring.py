"""Keys of Ed25519 (RFC 8032): one that signs here, and those whose signatures count here.

Each kind of statement has a context of its own before what is signed, so that one key may serve several of them: a
signature of one kind is none of another. Keys are rotated by trusting both for a while; the id of the key is kept with
each signature.
"""

import hashlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.journal.notes import SigningKey, verify_ed25519
from penstock.kernel.errors import PenstockError

if TYPE_CHECKING:
    from collections.abc import Iterable

FILE_MAX_BYTES = 256 * 1024
_PUBLIC = re.compile(rb"-----BEGIN PUBLIC KEY-----.+?-----END PUBLIC KEY-----", re.DOTALL)


class Keys:
    """The key that signs here, if there is one, and those that are trusted here, by id.

    Args:
        private: signs; its public half is trusted.
        trusted: further public keys, 32 bytes each.
    """

    def __init__(self, private: SigningKey | None = None, trusted: "Iterable[bytes]" = ()) -> None:
        self.private = private
        known = (*trusted, private.public) if private is not None else tuple(trusted)
        self._trusted = {key_id(key): key for key in known}

    @property
    def trusted(self) -> list[str]:
        """Ids of the keys that are trusted here; where there is one, what it should have signed has to be signed."""
        return sorted(self._trusted)

    def signed(self, context: bytes, message: bytes) -> tuple[str, bytes] | None:
        """The id of the key that signs here, and its signature, 64 bytes; None = there is no such key."""
        if self.private is None:
            return None
        return key_id(self.private.public), self.private.sign(context + message)

    def refusal(self, key: str, signature: bytes, context: bytes, message: bytes) -> str:
        """Why a signature does not count here; "" = it does."""
        public = self._trusted.get(key)
        if public is None:
            known = "the keys trusted here are others" if self._trusted else "no key is trusted here"
            return f"it was signed by the key {key}; {known}" if key else f"it is not signed; {known}"
        if not verify_ed25519(public, context + message, signature):
            return f"its signature is not by the key {key}"
        return ""


def key_id(public: bytes) -> str:
    """The first 16 hex digits of SHA-256 of the raw public key."""
    return hashlib.sha256(public).hexdigest()[:16]


def make_key_file(path: Path, invalid: type[PenstockError]) -> tuple[str, str]:
    """Make a private key in a new file that only its owner may read; its id, and the public key in PEM.

    Raises:
        invalid: the file is there already, or cannot be written.
    """
    key = SigningKey.make()
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(key.pem())
    except OSError as error:
        raise invalid(f"{path} cannot be written: {error}", hint="name a new file") from error
    return key_id(key.public), public_pem(key.public)


def public_pem(public: bytes) -> str:
    """The public key in PEM, for a file of trusted keys."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    key = Ed25519PublicKey.from_public_bytes(public)
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def read_private(path: Path, invalid: type[PenstockError]) -> SigningKey:
    """The private key of a file.

    Raises:
        invalid: it cannot be read, or holds none.
    """
    try:
        return SigningKey.from_pem(_content(path, invalid))
    except (ValueError, TypeError) as error:
        raise invalid(f"{path} holds no private key of Ed25519: {error}") from error


def read_trusted(path: Path, invalid: type[PenstockError]) -> tuple[bytes, ...]:
    """The public keys of a file, one below the other.

    Raises:
        invalid: it cannot be read, holds none, or one of another kind.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    keys = []
    for block in _PUBLIC.findall(_content(path, invalid)):
        try:
            key = serialization.load_pem_public_key(block)
        except ValueError as error:
            raise invalid(f"a public key in {path} cannot be read: {error}") from error
        if not isinstance(key, Ed25519PublicKey):
            raise invalid(f"a public key in {path} is not of Ed25519")
        keys.append(key.public_bytes_raw())
    if not keys:
        raise invalid(f"{path} holds no public key")
    return tuple(keys)


def _content(path: Path, invalid: type[PenstockError]) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(FILE_MAX_BYTES)
    except OSError as error:
        raise invalid(f"{path} cannot be read: {error}") from error
