"""The content of documents: packed for the store, and proved on the way back."""

import hashlib
import hmac
from typing import Any

import msgspec

from penstock.journal.payloads import make_payload, unpack
from penstock.kernel.canonical import check_plain
from penstock.kernel.errors import DocumentUnreadable, EventUnreadable, InputInvalid
from penstock.ports.documents import Content, Version
from penstock.ports.records import Payload


def pack(data: bytes, subject: str = "") -> Content:
    """A document's JSON as it is stored: compressed when that makes it smaller."""
    digest = hashlib.sha256(data).digest()
    packed = make_payload("", subject, digest, data)
    return Content(packed.data, packed.codec, packed.size, digest, subject)


def read(version: Version) -> bytes | None:
    """The JSON of a version; None when it was erased.

    Raises:
        DocumentUnreadable: it is missing, damaged, not what was written, or no JSON.
    """
    where = f"version {version.version} of the {version.kind} document {version.name}"
    content = version.content
    if content is None:
        if version.erased:
            return None
        raise DocumentUnreadable(f"the content of {where} {'was pruned' if version.pruned else 'is missing'}")
    try:
        data = unpack(Payload("", "", content.digest, content.data, content.codec, content.size))
    except EventUnreadable as error:
        raise DocumentUnreadable(f"{where} cannot be read: {error.what}") from error
    if not hmac.compare_digest(hashlib.sha256(data).digest(), content.digest):
        raise DocumentUnreadable(f"{where} is not what was written: its bytes do not match its digest")
    try:
        check_plain(_decoded(data), "a document")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, InputInvalid) as error:
        raise DocumentUnreadable(f"{where} is no JSON that can be used: {str(error)[:200]}") from error
    return data


def _decoded(data: bytes) -> Any:
    return msgspec.json.decode(data)
