"""Payloads: addresses that commit and hide, compression that cannot be turned against the reader, a bounded cache."""

import asyncio
import hashlib
import hmac
from collections.abc import Sequence

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from penstock.adapters.memory import MemoryJournal
from penstock.journal.payloads import (
    COMPRESS_FROM,
    HELD_OVERHEAD,
    MAX_SIZE,
    Committer,
    PayloadReader,
    address,
    make_payload,
    ref_address,
    ref_text,
    unpack,
)
from penstock.kernel.errors import ChainBroken, EventUnreadable, PayloadMissing
from penstock.ports.records import Payload, PayloadKey

KEY = bytes(range(32))


@given(st.binary(max_size=2000), st.integers(1, 40))
def test_what_was_stored_is_given_back(data: bytes, times: int) -> None:
    whole = data * times
    payload = make_payload("t", "s", address(KEY, whole), whole)
    assert unpack(payload, KEY) == whole
    assert payload.size == len(whole)
    assert len(payload.data) <= len(whole)


@given(st.binary(max_size=100))
def test_an_address_is_an_hmac_under_the_subjects_key(data: bytes) -> None:
    assert address(KEY, data) == hmac.new(KEY, data, hashlib.sha256).digest()
    assert address(KEY, data) != address(bytes(32), data), "nobody without the key can test a guess"


@given(st.binary(max_size=100), st.binary(max_size=300))
def test_a_committer_gives_the_same_addresses(key: bytes, data: bytes) -> None:
    committer = Committer(key)
    assert [committer.address(data), committer.address(b""), committer.address(data)] == [
        address(key, data),
        address(key, b""),
        address(key, data),
    ]


@given(st.binary(min_size=32, max_size=32))
def test_a_reference_is_short_and_safe_in_urls(where: bytes) -> None:
    text = ref_text(where)
    assert len(text) == 43
    assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert ref_address(text) == where


@pytest.mark.parametrize("bad", ["", "x", "a" * 42, "a" * 44, "é" * 43, "a" * 42 + "=", "!" * 43, "a b" + "c" * 40])
def test_what_is_no_reference_is_refused(bad: str) -> None:
    with pytest.raises(EventUnreadable, match="not a reference"):
        ref_address(bad)


def test_only_what_gets_smaller_is_compressed() -> None:
    short = b"a" * (COMPRESS_FROM - 1)
    long = b"a" * COMPRESS_FROM
    noise = b"".join(hashlib.sha256(bytes([number])).digest() for number in range(20))
    assert make_payload("t", "s", b"", short).codec == "raw"
    assert make_payload("t", "s", b"", long).codec == "zstd"
    assert make_payload("t", "s", b"", noise).codec == "raw"


def bomb(size: int) -> bytes:
    """A small frame that expands to ``size`` zeros."""
    return zstandard.ZstdCompressor(level=1).compress(bytes(size))


def test_a_payload_that_would_expand_beyond_its_row_is_not_expanded() -> None:
    frame = bomb(50_000_000)
    assert len(frame) < 5000
    with pytest.raises(EventUnreadable, match="would expand to 50000000"):
        unpack(Payload("t", "s", b"", frame, "zstd", 100))


def test_a_frame_that_hides_its_size_is_not_expanded() -> None:
    hidden = zstandard.ZstdCompressor(level=1, write_content_size=False).compress(bytes(50_000_000))
    with pytest.raises(EventUnreadable):
        unpack(Payload("t", "s", b"", hidden, "zstd", 100))


def test_nothing_is_expanded_beyond_the_bound_whatever_its_row_says() -> None:
    header = zstandard.ZstdCompressor(level=1).compress(b"x")
    size = MAX_SIZE + 1
    # A frame header with a content size of four bytes: magic, descriptor 0xA0 (single segment), size.
    forged = header[:4] + b"\xa0" + size.to_bytes(4, "little") + b"\x01\x00\x00"
    assert zstandard.frame_content_size(forged) == size
    with pytest.raises(EventUnreadable, match="would expand"):
        unpack(Payload("t", "s", b"", forged, "zstd", size))


@pytest.mark.parametrize(
    "damaged",
    [
        Payload("t", "s", b"", b"not a frame", "zstd", 11),
        Payload("t", "s", b"", bomb(1000)[:-3], "zstd", 1000),
        Payload("t", "s", b"", b"abc", "raw", 4),
        Payload("t", "s", b"", b"abc", "lzma", 3),
        Payload("t", "s", b"", b"", "zstd", 0),
    ],
)
def test_a_damaged_payload_is_an_error_in_words(damaged: Payload) -> None:
    with pytest.raises(EventUnreadable):
        unpack(damaged)


def test_with_the_key_a_changed_payload_is_found() -> None:
    payload = make_payload("t", "s", address(KEY, b"true"), b"true")
    assert unpack(payload, KEY) == b"true"
    with pytest.raises(ChainBroken):
        unpack(structs.replace(payload, data=b"lies"), KEY)


class Counting(MemoryJournal):
    """Counts what is asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []

    async def fetch_payloads(self, wanted: Sequence[PayloadKey]) -> dict[PayloadKey, Payload]:
        self.asked.append(len(wanted))
        return await super().fetch_payloads(wanted)


async def stored(journal: MemoryJournal, *items: bytes, tenant: str = "t", subject: str = "s") -> list[bytes]:
    addresses = [address(KEY, item) for item in items]
    made = [make_payload(tenant, subject, where, item) for where, item in zip(addresses, items, strict=True)]
    await journal.put_payloads(made)
    return addresses


async def test_the_reader_asks_once_for_what_it_holds() -> None:
    journal = Counting()
    one, two = await stored(journal, b"one", b"two")
    reader = PayloadReader(journal)
    assert await reader.read("t", "s", one) == b"one"
    assert await reader.read("t", "s", one) == b"one"
    assert await reader.read_many("t", "s", [two, one, two]) == {one: b"one", two: b"two"}
    assert journal.asked == [1, 1]


async def test_the_reader_holds_no_more_than_its_capacity() -> None:
    journal = Counting()
    items = [bytes([number]) * 100 for number in range(10)]
    addresses = await stored(journal, *items, b"x" * 2000)
    reader = PayloadReader(journal, capacity=3 * (100 + HELD_OVERHEAD))
    for where in addresses:
        await reader.read("t", "s", where)
    journal.asked.clear()
    for where in addresses[7:10]:
        await reader.read("t", "s", where)
    assert journal.asked == [], "the last three; the large one passed through"
    await reader.read("t", "s", addresses[6])
    assert journal.asked == [1]


async def test_the_reader_keeps_tenants_and_subjects_apart() -> None:
    journal = Counting()
    (where,) = await stored(journal, b"secret")
    reader = PayloadReader(journal)
    await reader.read("t", "s", where)
    for tenant, subject in (("u", "s"), ("t", "r")):
        with pytest.raises(PayloadMissing):
            await reader.read(tenant, subject, where)


async def test_what_is_asked_in_one_step_of_the_loop_is_read_in_one_request() -> None:
    journal = Counting()
    one, two = await stored(journal, b"one", b"two")
    (other,) = await stored(journal, b"other", tenant="u")
    reader = PayloadReader(journal)
    asked = [("t", "s", one), ("t", "s", two), ("u", "s", other), ("t", "s", one), ("t", "s", b"x" * 32)]
    results = await asyncio.gather(*(reader.read(*key) for key in asked), return_exceptions=True)
    assert results[:4] == [b"one", b"two", b"other", b"one"]
    assert isinstance(results[4], PayloadMissing)
    assert journal.asked == [4]


async def test_the_reader_forgets_an_erased_subject() -> None:
    journal = Counting()
    (where,) = await stored(journal, b"secret")
    await stored(journal, b"secret", subject="other")
    reader = PayloadReader(journal)
    await reader.read("t", "s", where)
    await reader.read("t", "other", where)
    await journal.erase_subject("t", "s")
    reader.forget("t", "s")
    with pytest.raises(PayloadMissing):
        await reader.read("t", "s", where)
    assert await reader.read("t", "other", where) == b"secret"
