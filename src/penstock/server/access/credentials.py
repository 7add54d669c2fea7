"""Texts that open doors: keys, and the cookies of sessions."""

import hashlib
from base64 import b32encode, urlsafe_b64encode

from penstock.kernel.randomness import token_bytes

PREFIX = "pk_"
HANDLE_CHARS = 8
SECRET_CHARS = 43
"""32 bytes as base64url without padding."""


def new_secret() -> str:
    """256 random bits as 43 characters."""
    return urlsafe_b64encode(token_bytes(32)).decode().rstrip("=")


def new_handle() -> str:
    """The public part of a key: 8 characters, 40 random bits."""
    return b32encode(token_bytes(5)).decode().lower()


def digest_of(secret: str) -> bytes:
    """What is stored of a secret: SHA-256."""
    return hashlib.sha256(secret.encode()).digest()


def key_text(handle: str, secret: str) -> str:
    """A key as its holder has it: ``pk_<8 characters>_<43 characters>``."""
    return f"{PREFIX}{handle}_{secret}"


def split_key(text: str) -> tuple[str, str] | None:
    """Handle and secret of a key's text; None when it is none."""
    start, end = len(PREFIX), len(PREFIX) + HANDLE_CHARS
    if len(text) != end + 1 + SECRET_CHARS or not text.isascii() or not text.startswith(PREFIX) or text[end] != "_":
        return None
    return text[start:end], text[end + 1 :]


def token_for(secret: str, purpose: str) -> str:
    """A text that only whoever holds the secret can make, and that does not give it away; 43 characters."""
    digest = hashlib.sha256(f"penstock.{purpose}.1\x00{secret}".encode()).digest()
    return urlsafe_b64encode(digest).decode().rstrip("=")
