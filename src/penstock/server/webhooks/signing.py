"""Signatures as Standard Webhooks has them: https://www.standardwebhooks.com, symmetric, version 1.

The signed content is ``id.timestamp.body``; the signature is ``v1,`` and the base64 of its HMAC-SHA256. While a secret
is being replaced, a message has one of each, with a space between.
"""

import base64
import binascii
import hmac
from collections.abc import Sequence

from penstock.kernel.errors import InputInvalid
from penstock.kernel.randomness import token_bytes

PREFIX = "whsec_"
SECRET_BYTES = 32
"""The specification asks for 24 to 64."""
_MIN_BYTES, _MAX_BYTES = 24, 64


def new_secret() -> bytes:
    """Random bytes for a new endpoint."""
    return token_bytes(SECRET_BYTES)


def secret_text(secret: bytes) -> str:
    """A secret as it is shown, once."""
    return PREFIX + base64.b64encode(secret).decode()


def secret_of(text: str) -> bytes:
    """The bytes of a secret that was shown.

    Raises:
        InputInvalid: it is none.
    """
    try:
        secret = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (ValueError, binascii.Error):
        secret = b""
    if not text.startswith(PREFIX) or not _MIN_BYTES <= len(secret) <= _MAX_BYTES:
        raise InputInvalid("this is no webhook secret", hint="one looks like whsec_… and holds 24 to 64 bytes")
    return secret


def signature(secret: bytes, identifier: str, timestamp: int, body: bytes) -> str:
    """One signature. ``timestamp``: seconds since the epoch."""
    signed = f"{identifier}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(secret, signed, "sha256")).decode()


def signed_headers(secrets: Sequence[bytes], identifier: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers that go with a message."""
    return {
        "webhook-id": identifier,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signature(secret, identifier, timestamp, body) for secret in secrets),
    }
