"""Messages of a server that is a process: lines with a bound."""

import random

import pytest
from mcp_types import JSONRPCError, JSONRPCResponse

from penstock.integrations.mcp.stdio import TOO_LARGE, Lines, read_line


def test_lines_are_cut_wherever_the_chunks_end() -> None:
    text = b"".join(b"%d%s\n" % (number, b"x" * (number % 40)) for number in range(200))
    for seed in range(20):
        chance, lines, place = random.Random(seed), Lines(100), 0
        found: list[tuple[bytes, bool]] = []
        while place < len(text):
            step = chance.randrange(1, 90)
            found += lines.feed(text[place : place + step])
            place += step
        assert b"".join(line + b"\n" for line, _ in found) == text
        assert all(whole for _, whole in found)


def test_a_line_beyond_the_bound_is_let_go_of_and_the_next_is_read() -> None:
    lines = Lines(1000)
    found = list(lines.feed(b'{"id": 7, "result": "'))
    for _ in range(1000):
        found += lines.feed(b"x" * 1000)
    held = len(lines._held)
    found += lines.feed(b'"}\n{"id": 8}\n')
    assert [whole for _, whole in found] == [False, True]
    assert held <= 5096
    assert found[1][0] == b'{"id": 8}'


def test_a_call_whose_answer_is_too_large_is_answered_with_an_error() -> None:
    message = read_line(b'{"jsonrpc":"2.0","id":7,"result":{"content":[{"text":"xxxx', 1000, whole=False)
    assert not isinstance(message, Exception)
    assert isinstance(message.message, JSONRPCError)
    assert (message.message.id, message.message.error.code) == (7, TOO_LARGE)


@pytest.mark.parametrize("line", [b"hello", b"{}", b"[]", b'{"jsonrpc": "2.0"}', b"\xff\xfe", b'{"id": {}}'])
def test_a_line_that_is_no_message_is_an_error_and_no_end(line: bytes) -> None:
    assert isinstance(read_line(line, 1000, whole=True), Exception)
    assert isinstance(read_line(line, 1000, whole=False), Exception)


def test_a_message_is_read() -> None:
    message = read_line(b'{"jsonrpc":"2.0","id":"a","result":{}}', 1000, whole=True)
    assert not isinstance(message, Exception)
    assert isinstance(message.message, JSONRPCResponse)
