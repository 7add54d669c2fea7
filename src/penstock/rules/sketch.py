"""Short keyed hashes of what a call was asked and what came back, so that calls can be compared from the tape alone.

A leaf is a value in a JSON document that is no list or object, with the place it stands at. Its hash is keyed with the
run's subject key: without that key, as after an erasure, it says nothing of the value, and none is made. 24 bits
suffice: among the 3,200 hashes that a window holds at most, one in 5,000 comparisons errs.

The sample of a large result is its smallest hashes (bottom-k sketch: A. Broder, *On the resemblance and containment of
documents*, 1997), so that two results with the same leaves have the same sample.
"""

import base64
import hashlib
import re
from collections.abc import Iterator
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
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\S*")
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")


def shape_of(args: Any, key: bytes) -> str:
    """The arguments of a call: a hash a leaf; of its one long text, if it has just one, the hash comes last, and what
    numbers it holds and a sample of its words follow.

    Two shapes are compared by `penstock.rules.spiral_detector.near`. "" = nothing to compare.
    """
    if not key:
        return ""
    leaves: list[bytes] = []
    texts: list[tuple[str, str]] = []
    for place, value in _leaves(args):
        if len(leaves) + len(texts) >= LEAVES_MAX:
            return ""
        if isinstance(value, str) and len(value) >= 2 * TEXT_WORDS and len(_WORD.findall(value)) >= TEXT_WORDS:
            texts.append((place, value))
            continue
        leaves.append(_hash(place + "\x1f" + _plain(value), key))
    shape = _packed([*leaves, *(_hash(place + "\x1f" + _plain(text), key) for place, text in texts)])
    if len(texts) != 1:
        return shape
    words = set(_WORD.findall(texts[0][1].casefold()))
    with_digits = {word for word in words if any(map(str.isdigit, word))}
    words -= with_digits
    numbers = " ".join(sorted(with_digits))
    sample = sorted(_hash(word, key) for word in words)[:TEXT_SAMPLE]
    return f"{shape}.{_packed([_hash(numbers, key)])}.{_packed(sample)}"


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
    for count, (place, leaf) in enumerate(_leaves(_opened(value))):
        if max(count, len(facts)) >= FACTS_READ_MAX:
            break
        name = place.rpartition("/")[2]
        if name.casefold() in VOLATILE:
            continue
        if type(leaf) is str and len(leaf) >= 4 * TEXT_WORDS:
            facts.update(f"{name}\x1f{piece}" for piece in islice(_pieces(leaf), FACTS_READ_MAX))
        else:
            facts.add(f"{name}\x1f{_plain(leaf)}")
    kept = sorted({_hash(fact, key) for fact in facts or {"nothing"}})
    return _packed(kept[:FACTS_MAX]) + ("~" if len(kept) > FACTS_MAX else "")


def words_of(text: str, key: bytes) -> str:
    """What was said, whatever the numbers in it, the case and the spaces; "" = nothing."""
    plain = re.sub(r"\d+", "#", " ".join(text.split()).casefold())
    return _packed([_hash(plain, key)]) if plain and key else ""


def unpacked(sketch: str) -> list[bytes]:
    """The hashes of one part of a sketch; none of what is not one."""
    try:
        data = base64.urlsafe_b64decode(sketch.removesuffix("~"))
    except ValueError:
        return []
    return [data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)]


def _opened(value: Any) -> Any:
    """JSON that a tool gave as text is read as what it is."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
            return value
    return value


def _leaves(value: Any) -> Iterator[tuple[str, Any]]:
    """Leaves with their places; the place of a list's item is the list's, so that order and position say nothing."""
    stack: list[tuple[str, Any]] = [("", value)]
    while stack:
        place, item = stack.pop()
        if isinstance(item, dict):
            stack.extend((f"{place}/{name}", item[name]) for name in sorted(item, reverse=True))
        elif isinstance(item, list):
            stack.extend((place, one) for one in reversed(item))
        else:
            yield place, item


def _pieces(text: str) -> Iterator[str]:
    for piece in _SENTENCE.split(text):
        plain = _plain(_MOMENT.sub("", piece))
        if plain:
            yield plain


def _plain(value: Any) -> str:
    return " ".join(value.split()).casefold() if isinstance(value, str) else repr(value)


def _hash(text: str, key: bytes) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=HASH_BYTES, key=key[:64]).digest()


def _packed(hashes: list[bytes]) -> str:
    return base64.urlsafe_b64encode(b"".join(hashes)).decode()
