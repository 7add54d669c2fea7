"""Tokens that stand for values, and the values they stand for.

A token is a keyed hash of its value, so that the same value has the same token in all that is said of one data subject,
and nobody without the subject's key can test a guess. The value is kept beside the subject's payloads, sealed under a
key that is derived from the subject's: what erases the subject erases both.
"""

import base64
import hashlib
import hmac
import re
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from penstock.journal.payloads import address, ref_text
from penstock.kernel.errors import PayloadMissing, TokenUnknown
from penstock.ports.records import Payload

if TYPE_CHECKING:
    from penstock.gates.run.context import RunContext
    from penstock.rules.filters.sift import Tokens

TOKEN = re.compile(r"tok_[a-z][a-z0-9_]{0,31}_[a-z2-7]{16}(?![A-Za-z0-9_])")
"""As models see it: the kind, and 80 bits of a keyed hash."""
_HASHED = b"penstock token 1\0"
_SEALED = b"penstock vault 1\0"
_PLACE = b"penstock vault place 1\0"


def token(subject_key: bytes, kind: str, value: str) -> str:
    """What stands for a value."""
    digest = hmac.digest(subject_key, b"\0".join((_HASHED, kind.encode(), value.encode())), "sha256")
    return f"tok_{kind}_{base64.b32encode(digest[:10]).decode().lower()}"


def tokens_of(ctx: "RunContext") -> "Tokens | None":
    """What makes tokens in this run; None when its subject was erased, so that values are taken out for good."""
    key = ctx.claim.subject_key
    return (lambda kind, value: token(key, kind, value)) if key else None


def keep(ctx: "RunContext", tokens: dict[str, str]) -> None:
    """Keep what tokens stand for: stored before the next event of the run is."""
    claim = ctx.claim
    for payload in sealed(claim.tenant, claim.subject, claim.subject_key, tokens):
        ctx.log.foreign_payload(payload)


def sealed(tenant: str, subject: str, subject_key: bytes, tokens: dict[str, str]) -> list[Payload]:
    """What tokens stand for, as it is stored under a data subject."""
    kept = [(place(subject_key, name), seal(subject_key, name, value)) for name, value in tokens.items()]
    return [Payload(tenant, subject, where, data, "raw", len(data)) for where, data in kept]


def place(subject_key: bytes, name: str) -> bytes:
    """Where a token's value is kept, 32 bytes."""
    return address(subject_key, _PLACE + name.encode())


def seal(subject_key: bytes, name: str, value: str) -> bytes:
    """A value as it is kept: AES-SIV (RFC 5297), which gives the same bytes for the same value and needs no nonce."""
    return AESSIV(_cipher_key(subject_key)).encrypt(value.encode(), [name.encode()])


def unseal(subject_key: bytes, name: str, data: bytes) -> str:
    """The value again.

    Raises:
        TokenUnknown: sealed under another key or for another token, or damaged.
    """
    try:
        return AESSIV(_cipher_key(subject_key)).decrypt(data, [name.encode()]).decode()
    except (InvalidTag, ValueError) as error:
        raise TokenUnknown(f"what {name} stands for cannot be read") from error


def _cipher_key(subject_key: bytes) -> bytes:
    return hashlib.sha512(_SEALED + subject_key).digest()


async def revealed(ctx: "RunContext", names: tuple[str, ...], args: dict[str, Any]) -> dict[str, Any]:
    """The arguments with the values of the tokens in those that are named. Waits while the store cannot be reached.

    Raises:
        TokenUnknown: nothing is kept for one of them under this run's subject.
    """
    wanted = {name for argument in names for name in _found(args.get(argument))}
    if not wanted:
        return args
    values = {name: await _value(ctx, name) for name in sorted(wanted)}
    return {argument: _put_back(value, values) if argument in names else value for argument, value in args.items()}


async def _value(ctx: "RunContext", name: str) -> str:
    key = ctx.claim.subject_key
    if not key:
        raise TokenUnknown(f"{name} stands for something of a subject that was erased")
    where = ref_text(place(key, name))
    try:
        return unseal(key, name, await ctx.load(where))
    except PayloadMissing:
        await ctx.log.flush()  # it may have been made in this very claim, and not be written yet
    try:
        return unseal(key, name, await ctx.load(where))
    except PayloadMissing as error:
        raise TokenUnknown(f"nothing is known of {name} here") from error


def _found(value: Any) -> list[str]:
    if isinstance(value, str):
        return TOKEN.findall(value)
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [name for item in inside for name in _found(item)]


def _put_back(value: Any, values: dict[str, str]) -> Any:
    if isinstance(value, str):
        return TOKEN.sub(lambda match: values[match[0]], value)
    if isinstance(value, dict):
        return {name: _put_back(item, values) for name, item in value.items()}
    return [_put_back(item, values) for item in value] if isinstance(value, list) else value
