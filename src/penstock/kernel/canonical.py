"""Two byte forms of a JSON value.

``stable_json`` is what is stored and hashed: msgspec's JSON with sorted keys, about 1 microsecond for a small object.
``canonical_json`` is RFC 8785, for what leaves the system or is bound by digest (approvals, exports): any language can
reproduce it, at twenty times the price. Both refuse what JSON cannot carry from one machine to another unchanged.
"""

import hashlib
import math
from collections.abc import Callable
from typing import Any

import msgspec
import rfc8785

from penstock.kernel.errors import InputInvalid, InputTooLarge

MAX_DEPTH = 64
NAME_MAX_CHARS = 256  # of what stands in keys and indexes
MAX_SAFE_INTEGER = 2**53 - 1  # RFC 8785, section 3.2.2.3: beyond it a JSON number may change on its way

_encoder = msgspec.json.Encoder(order="sorted", decimal_format="string", uuid_format="canonical")

Plain = None | bool | int | float | str | list[Any] | dict[str, Any]


stable_json: Callable[[object], bytes] = _encoder.encode
"""The stored form of a plain value or msgspec struct. Does not check it: see `check_plain`."""


def canonical_json(value: object) -> bytes:
    """The RFC 8785 form of a plain value.

    Raises:
        InputInvalid: the value holds what JSON cannot carry.
    """
    check_plain(value)
    try:
        return rfc8785.dumps(value)  # type: ignore[arg-type]
    except rfc8785.CanonicalizationError as error:
        raise InputInvalid(f"a value has no canonical form: {error}") from error


def digest(value: object) -> str:
    """SHA-256 of the stored form, 32 hex digits (128 bits): tells two argument lists apart."""
    return stored_digest(_encoder.encode(value))


def stored_digest(data: bytes) -> str:
    """The same of a value whose stored form is at hand."""
    return hashlib.sha256(data).hexdigest()[:32]


def canonical_digest(value: object) -> str:
    """SHA-256 of the RFC 8785 form, 64 hex digits: what an approval is bound to."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def check_plain(value: object, where: str = "value") -> None:
    """Refuse what cannot be stored and given back unchanged.

    Raises:
        InputInvalid: NUL or lone surrogate in a string, NaN, infinity, an integer beyond 2**53, a key that is no
            string, a type that is not JSON's, nesting deeper than ``MAX_DEPTH``. The message says where.
    """
    if not _is_plain(value, MAX_DEPTH):
        _find_unplain(value, where, MAX_DEPTH)


def check_finite(value: object, where: str = "value") -> None:
    """Refuse NaN and infinities in containers and in objects with fields, before a serialiser makes null of them.

    Raises:
        InputInvalid: one was found; the message says where.
    """
    if type(value) not in _WITHOUT_FLOATS:
        _find_infinite(value, where, MAX_DEPTH)


_WITHOUT_FLOATS = frozenset((str, int, bool, bytes, type(None)))


def _is_plain(value: Any, depth: int) -> bool:
    """The same question without the words: nearly all values are plain, and building the words is most of the price."""
    kind = type(value)
    if kind is str:
        return "\x00" not in value and (value.isascii() or _encodable(value))
    if kind is dict:
        if depth == 0:
            return False
        for key, item in value.items():
            # Words of ASCII, which nearly all keys and most values are, are not worth a call each.
            if type(key) is not str or not ((key.isascii() and "\x00" not in key) or _is_plain(key, depth)):
                return False
            if not ((type(item) is str and item.isascii() and "\x00" not in item) or _is_plain(item, depth - 1)):
                return False
        return True
    if kind is list or kind is tuple:
        return depth > 0 and all(_is_plain(item, depth - 1) for item in value)
    if kind is int:
        return bool(-MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER)
    if kind is float:
        return math.isfinite(value)
    return value is None or kind is bool


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _find_unplain(value: object, where: str, depth: int) -> None:
    kind = type(value)
    if kind is str:
        _check_text(value, where)  # type: ignore[arg-type]
    elif kind is dict:
        if depth == 0:
            raise InputInvalid(f"{where} is nested deeper than {MAX_DEPTH} levels")
        for key, item in value.items():  # type: ignore[attr-defined]
            if type(key) is not str:
                raise InputInvalid(f"{where} has the key {key!r}, which is not a string")
            _check_text(key, where)
            _find_unplain(item, f"{where}.{key}", depth - 1)
    elif kind is list or kind is tuple:
        if depth == 0:
            raise InputInvalid(f"{where} is nested deeper than {MAX_DEPTH} levels")
        for index, item in enumerate(value):  # type: ignore[arg-type]
            _find_unplain(item, f"{where}[{index}]", depth - 1)
    elif kind is int:
        if not -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER:  # type: ignore[operator]
            raise InputInvalid(f"{where} is an integer beyond 2**53", hint="send large numbers as strings")
    elif kind is float:
        if not math.isfinite(value):  # type: ignore[arg-type]
            raise InputInvalid(f"{where} is {value}, which JSON cannot carry", hint="send null or a string instead")
    elif value is not None and kind is not bool:
        raise InputInvalid(f"{where} is a {kind.__name__}, which is not a JSON value")


def _find_infinite(value: object, where: str, depth: int) -> None:
    kind = type(value)
    if kind is dict and depth and _WITHOUT_FLOATS.issuperset(map(type, value.values())):  # type: ignore[attr-defined]
        return
    if isinstance(value, float):
        check_plain(float(value), where)
    elif depth and isinstance(value, dict):
        for key, item in value.items():
            if type(item) not in _WITHOUT_FLOATS:
                _find_infinite(item, f"{where}.{key}", depth - 1)
    elif depth and isinstance(value, list | tuple | set | frozenset):
        for index, item in enumerate(value):
            if type(item) not in _WITHOUT_FLOATS:
                _find_infinite(item, f"{where}[{index}]", depth - 1)
    elif depth and hasattr(value, "__dict__") and not isinstance(value, type):
        _find_infinite(vars(value), where, depth - 1)


def check_size(data: bytes, limit: int, what: str, setting: str) -> bytes:
    """``data`` itself when it is at most ``limit`` bytes.

    Raises:
        InputTooLarge: it is not; the message names the setting that bounds it.
    """
    if len(data) > limit:
        raise InputTooLarge(
            f"{what} has {len(data):,} bytes; the bound is {limit:,}",
            hint=f"send less, or raise PENSTOCK_{setting.upper()}",
        )
    return data


def check_name(name: object, what: str, most: int = NAME_MAX_CHARS) -> None:
    """Refuse what cannot stand in an event, an index and a line of text as a name.

    Raises:
        InputInvalid: no text, an empty or long one, or one with control characters or lone surrogates.
    """
    if not isinstance(name, str) or not 0 < len(name) <= most or not name.isprintable():
        raise InputInvalid(f"the {what} must be a text of 1 to {most} printable characters")


def clean_text(text: object, most: int) -> str:
    """At most ``most`` characters of ``str(text)`` in a form that can be stored anywhere: what cannot be is escaped."""
    if type(text) is str and text.isascii() and "\x00" not in text:
        return text[:most]
    try:
        words = str(text)[:most]
    except Exception:  # noqa: BLE001 - errors of users' code may have no words
        words = f"a {type(text).__name__} that has no words"
    return words.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\0")[:most]


def describe(error: BaseException, most: int = 300) -> str:
    """An error of foreign code in words that can be stored."""
    return clean_text(f"{type(error).__name__}: {clean_text(error, most)}", most)


def _check_text(text: str, where: str) -> None:
    if "\x00" in text:
        raise InputInvalid(f"{where} contains a NUL character")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InputInvalid(f"{where} contains a lone surrogate at character {error.start}") from error
