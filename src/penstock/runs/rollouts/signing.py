"""Who vouches for a release: Ed25519 (RFC 8032) over its canonical form.

A worker runs no release that a key it trusts has not signed, so that whoever can write to the database cannot change
what agents are told. Keys are rotated by trusting both for a while: the id of the key is in the release.
"""

import hashlib
import os
import re
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from penstock.journal.notes import SigningKey
from penstock.kernel.errors import ReleaseKeyInvalid, ReleaseKeyMissing
from penstock.ports.rollouts import Release
from penstock.runs.rollouts.manifest import address
from penstock.settings import Settings

CONTEXT = b"penstock release 1\n"
"""Before what is signed, so that a signature of something else by the same key is none of a release."""
FILE_MAX_BYTES = 256 * 1024
_PUBLIC = re.compile(rb"-----BEGIN PUBLIC KEY-----.+?-----END PUBLIC KEY-----", re.DOTALL)


class Keyring:
    """The key that signs here, if there is one, and those that are trusted here, by id.

    Args:
        private: signs; its public half is trusted.
        trusted: further keys.
    """

    def __init__(self, private: SigningKey | None = None, trusted: tuple[Ed25519PublicKey, ...] = ()) -> None:
        self._private = private
        known = (*trusted, _public(private)) if private is not None else trusted
        self._trusted = {key_id(key): key for key in known}

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Those that the settings name.

        Raises:
            ReleaseKeyInvalid: a file cannot be read, or holds no such key.
        """
        private = _private(settings.release_key_file) if settings.release_key_file is not None else None
        trusted = _trusted(settings.release_trusted_file) if settings.release_trusted_file is not None else ()
        return cls(private, trusted)

    @property
    def trusted(self) -> list[str]:
        """Ids of the keys that are trusted here."""
        return sorted(self._trusted)

    def sign(self, manifest: bytes) -> tuple[str, bytes]:
        """The id of the key, and the signature of a manifest.

        Raises:
            ReleaseKeyMissing: there is no key to sign with.
        """
        if self._private is None:
            raise ReleaseKeyMissing("releases cannot be signed here: there is no private key")
        return key_id(_public(self._private)), self._private.sign(CONTEXT + manifest)

    def objection(self, release: Release) -> str:
        """Why a release is not to be believed; "" = it is what was signed, by a key that is trusted here."""
        if address(release.manifest) != release.id:
            return "its content is not what its id says"
        key = self._trusted.get(release.key)
        if key is None:
            known = "the keys trusted here are others" if self._trusted else "no key is trusted here"
            return f"it was signed by the key {release.key}; {known}"
        try:
            key.verify(release.signature, CONTEXT + release.manifest)
        except InvalidSignature:
            return f"its signature is not by the key {release.key}"
        return ""


def key_id(key: Ed25519PublicKey) -> str:
    """The first 16 hex digits of SHA-256 of the raw public key."""
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()[:16]


def make_key(path: Path) -> tuple[str, str]:
    """Make a private key in a new file that only its owner may read; its id, and the public key in PEM.

    Raises:
        ReleaseKeyInvalid: the file is there already, or cannot be written.
    """
    key = SigningKey.make()
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(key.pem())
    except OSError as error:
        raise ReleaseKeyInvalid(f"{path} cannot be written: {error}", hint="name a new file") from error
    return key_id(_public(key)), public_pem(_public(key))


def public_pem(key: Ed25519PublicKey) -> str:
    """The public key in PEM, for a file of trusted keys."""
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def _public(key: SigningKey) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(key.public)


def _private(path: Path) -> SigningKey:
    try:
        return SigningKey.from_pem(_content(path))
    except (ValueError, TypeError) as error:
        raise ReleaseKeyInvalid(f"{path} holds no private key of Ed25519: {error}") from error


def _trusted(path: Path) -> tuple[Ed25519PublicKey, ...]:
    keys = []
    for block in _PUBLIC.findall(_content(path)):
        try:
            key = serialization.load_pem_public_key(block)
        except ValueError as error:
            raise ReleaseKeyInvalid(f"a public key in {path} cannot be read: {error}") from error
        if not isinstance(key, Ed25519PublicKey):
            raise ReleaseKeyInvalid(f"a public key in {path} is not of Ed25519")
        keys.append(key)
    if not keys:
        raise ReleaseKeyInvalid(f"{path} holds no public key")
    return tuple(keys)


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(FILE_MAX_BYTES)
    except OSError as error:
        raise ReleaseKeyInvalid(f"{path} cannot be read: {error}") from error
