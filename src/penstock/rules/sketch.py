"""Short keyed hashes of what a call was asked and what came back, so that calls can be compared from the tape alone.

A leaf is a value in a JSON document that is no list or object, with the place it stands at. Its hash is keyed with the
run's subject key: without that key, as after an erasure, it says nothing of the value, and none is made. 24 bits
suffice: among the 3,200 hashes that a window holds at most, one in 5,000 comparisons errs.

The sample of a large result is its smallest hashes (bottom-k sketch: A. Broder, *On the resemblance and containment of
documents*, 1997), so that two results with the same leaves have the same sample.
"""

import binascii
import re
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from itertools import islice
from typing import Any

import msgspec

HASH_BYTES = 3
LEAVES_MAX = 24
"""Arguments with more leaves are compared by their digest alone."""
FACTS_MAX = 32
"""Leaves of a result that are kept, at most: a sample of the larger ones."""
FACTS_READ_MAX = 2_000
"""Leaves of a result, and sentences of its texts, that are looked at: the first ones."""
RESULT_MAX_BYTES = 256 * 1024
"""Of a larger result only whether it is the same is known."""
TEXT_WORDS = 8
"""From so many words on a text is compared by its words, too."""
TEXT_SAMPLE = 8
VOLATILE = frozenset(
    (
        "as_of",
        "correlation_id",
        "duration_ms",
        "elapsed",
        "elapsed_ms",
        "etag",
        "fetched_at",
        "generated_at",
        "latency_ms",
        "nonce",
        "now",
        "request_id",
        "retrieved_at",
        "served_at",
        "timestamp",
        "took",
        "took_ms",
        "trace_id",
    )
)
"""Names under which servers say when and how they answered: no fact of what was asked."""

_WORD = re.compile(r"\w+")
_NUMBER = re.compile(r"\d+")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\S*")
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_", b"+/")


def shape_of(args: Any, key: bytes) -> str:
    """The arguments of a call: a hash a leaf; of its one long text, if it has just one, the hash comes last, and what
    numbers it holds and a sample of its words follow.

    Two shapes are compared by `penstock.rules.spiral_detector.near`. "" = nothing to compare.
    """
    if not key:
        return ""
    found = _leaves(args, LEAVES_MAX + 1)
    if len(found) > LEAVES_MAX:
        return ""
    leaves: list[str] = []
    texts: list[str] = []
    longest = ""
    for place, value in found:
        if type(value) is not str:
            leaves.append(f"{place}\x1f{value!r}")
            continue
        leaf = f"{place}\x1f{' '.join(value.split()).casefold()}"
        if len(value) >= 2 * TEXT_WORDS and len(_WORD.findall(value)) >= TEXT_WORDS:
            texts.append(leaf)
            longest = value
        else:
            leaves.append(leaf)
    if len(texts) != 1:
        return _packed(_hashes(leaves + texts, key))
    words = set(_WORD.findall(longest.casefold()))
    with_digits = {word for word in words if not word.isalpha() and any(map(str.isdigit, word))}
    hashes = _hashes([*leaves, *texts, " ".join(sorted(with_digits)), *(words - with_digits)], key)
    whole = len(leaves) + 1
    sample = sorted(hashes[whole + 1 :])[:TEXT_SAMPLE]
    return f"{_packed(hashes[:whole])}.{_packed(hashes[whole : whole + 1])}.{_packed(sample)}"


def facts_of(data: bytes, key: bytes) -> str:
    """What a result says: hashes of its leaves, or of its sentences where it is prose. ``data`` is its stored JSON.

    "" = it says nothing that could be compared. A ``~`` at the end says that it is a sample.
    """
    if not key or not data or len(data) > RESULT_MAX_BYTES:
        return ""
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    facts: set[str] = set()
    for place, leaf in _leaves(_opened(value), FACTS_READ_MAX):
        if len(facts) >= FACTS_READ_MAX:
            break
        name = place[place.rfind("/") + 1 :]
        if name.casefold() in VOLATILE:
            continue
        if type(leaf) is not str:
            facts.add(f"{name}\x1f{leaf!r}")
        elif len(leaf) < 4 * TEXT_WORDS:
            facts.add(f"{name}\x1f{' '.join(leaf.split()).casefold()}")
        else:
            facts.update([f"{name}\x1f{piece}" for piece in islice(_pieces(leaf), FACTS_READ_MAX)])
    kept = sorted(set(_hashes(facts or ("nothing",), key)))
    return _packed(kept[:FACTS_MAX]) + ("~" if len(kept) > FACTS_MAX else "")


def words_of(text: str, key: bytes) -> str:
    """What was said, whatever the numbers in it, the case and the spaces; "" = nothing."""
    if not text or not key:
        return ""
    plain = _NUMBER.sub("#", " ".join(text.split()).casefold())
    return _packed(_hashes((plain,), key)) if plain else ""


def unpacked(sketch: str) -> list[bytes]:
    """The hashes of one part of a sketch; none of what is not one."""
    try:
        data = binascii.a2b_base64(sketch.removesuffix("~").encode("ascii").translate(_FROM_URL))
    except ValueError:
        return []
    return [data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)]


def _opened(value: Any) -> Any:
    """JSON that a tool gave as text is read as what it is."""
    if type(value) is str and value[:1] in ("{", "["):
        try:
            return msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
            return value
    return value


def _leaves(value: Any, most: int) -> list[tuple[str, Any]]:
    """The first leaves with their places, in order; the place of a list's item is the list's, so that order and
    position say nothing."""
    found: list[tuple[str, Any]] = []
    stack: list[tuple[str, Any]] = [("", value)]
    while stack and len(found) < most:
        place, item = stack.pop()
        if type(item) is dict:
            inner = [(f"{place}/{name}", item[name]) for name in sorted(item)]
        elif type(item) is list:
            inner = [(place, one) for one in item]
        else:
            found.append((place, item))
            continue
        for at, leaf in enumerate(inner):
            if type(leaf[1]) in (dict, list):
                stack.extend(reversed(inner[at:]))
                break
            found.append(leaf)
    return found[:most]


def _pieces(text: str) -> Iterator[str]:
    for piece in _SENTENCE.split(text):
        plain = " ".join(_MOMENT.sub("", piece).split()).casefold()
        if plain:
            yield plain


def _hashes(texts: Iterable[str], key: bytes) -> list[bytes]:
    keyed = blake2b(digest_size=HASH_BYTES, key=key[:64])  # what is done with the key alone is done once
    hashes = []
    for text in texts:
        one = keyed.copy()
        one.update(text.encode("utf-8", "replace"))
        hashes.append(one.digest())
    return hashes


def _packed(hashes: list[bytes]) -> str:
    return binascii.b2a_base64(b"".join(hashes), newline=False).translate(_TO_URL).decode()
