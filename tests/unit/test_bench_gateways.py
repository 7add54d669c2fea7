"""What stands on both sides of the gateways in the benchmark: the simulated provider, and the callers."""

import http.client
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from benchmarks.child import Child
from benchmarks.gateway import body
from benchmarks.load import Load, ask
from benchmarks.upstream import PRICES

IN, OUT = PRICES["gpt-4o-mini"]
CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"


@pytest.fixture
async def provider() -> AsyncIterator[tuple[Child, int]]:
    child = await Child.start("upstream")
    port = child.said["port"]
    yield child, port
    await child.stop()


def posted(port: int, path: str, **request: Any) -> bytes:
    """The body of the answer to a request that is answered with 30 tokens unless it has a lower maximum."""
    whole = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "[[tokens=30]] hello"}], **request}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", path, json.dumps(whole), {"Authorization": "Bearer k"})
        answer = connection.getresponse()
        assert answer.status == 200
        return answer.read()
    finally:
        connection.close()


async def counted(child: Child) -> dict[str, int]:
    """What the key was charged with since the last time."""
    counts: dict[str, int] = (await child.asked("counts"))["by_key"]["k"]
    await child.asked("reset")
    return counts


def events(stream: bytes) -> list[dict[str, Any]]:
    """The objects of a stream of server-sent events."""
    lines = stream.decode().splitlines()
    return [json.loads(line[6:]) for line in lines if line.startswith("data: {")]


async def test_an_answer_is_as_long_as_asked_for_within_its_maximum_and_charged_so(
    provider: tuple[Child, int],
) -> None:
    child, port = provider
    whole = json.loads(posted(port, CHAT))
    assert (whole["usage"]["completion_tokens"], whole["choices"][0]["finish_reason"]) == (30, "stop")
    assert len(whole["choices"][0]["message"]["content"].split()) == 30
    assert (await counted(child))["nano"] == whole["usage"]["prompt_tokens"] * IN + 30 * OUT

    for maximum in ({"max_tokens": 7}, {"max_completion_tokens": 7}):
        cut = json.loads(posted(port, CHAT, **maximum))
        assert (cut["usage"]["completion_tokens"], cut["choices"][0]["finish_reason"]) == (7, "length")
        assert (await counted(child))["output_tokens"] == 7

    message = json.loads(posted(port, MESSAGES, max_tokens=7))
    assert (message["usage"]["output_tokens"], message["stop_reason"]) == (7, "max_tokens")
    assert (await counted(child))["output_tokens"] == 7


@pytest.mark.parametrize("wanted", [False, True])
async def test_a_streamed_answer_is_cut_into_pieces_and_tells_its_usage_when_asked(
    provider: tuple[Child, int], wanted: bool
) -> None:
    child, port = provider
    chunks = events(posted(port, CHAT, stream=True, stream_options={"include_usage": wanted}))
    words = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks if chunk["choices"])
    assert len(words.split()) == 30
    assert [chunk["usage"]["completion_tokens"] for chunk in chunks if not chunk["choices"]] == [30] * wanted
    assert (await counted(child))["output_tokens"] == 30

    messages = events(posted(port, MESSAGES, stream=True, max_tokens=9))
    said = "".join(event["delta"]["text"] for event in messages if event["type"] == "content_block_delta")
    assert len(said.split()) == messages[-2]["usage"]["output_tokens"] == 9
    assert (await counted(child))["output_tokens"] == 9


async def test_a_stream_whose_client_has_gone_is_generated_no_further(provider: tuple[Child, int]) -> None:
    child, port = provider
    request = json.loads(body(max_tokens=1000, tokens=1000, latency_ms=4_000))
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("POST", CHAT, json.dumps({**request, "stream": True}), {"Authorization": "Bearer k"})
    answer = connection.getresponse()
    answer.read1()
    while (await child.asked("counts"))["by_key"]["k"]["output_tokens"] == 0:
        pass
    answer.close()
    connection.close()
    while (counts := await child.asked("counts"))["in_flight"]:
        pass
    assert 0 < counts["by_key"]["k"]["output_tokens"] < 1000


async def test_callers_ask_again_once_answered_until_the_time_is_over(provider: tuple[Child, int]) -> None:
    child, port = provider
    callers = await Child.start("load")
    asked = Load([port], CHAT, {"Authorization": "Bearer k"}, body(max_tokens=5), connections=3, seconds=0.3, warm=0.1)
    told = await ask(callers, asked)
    assert set(told.statuses) == {"200"}
    assert told.rate == pytest.approx(told.statuses["200"] / 0.3, rel=0.05)
    assert 0 < told.p50 <= told.p99
    counts = await counted(child)
    assert counts["requests"] == told.answers >= told.statuses["200"]
    assert counts["output_tokens"] == 5 * told.answers

    # Nobody listens at the first port: those that begin there go on at the other.
    told = await ask(callers, Load([9, port], CHAT, asked.headers, asked.body, connections=4, seconds=0.3))
    assert set(told.statuses) == {"200"}
    await callers.stop()


async def test_a_refused_caller_tires_and_the_first_refusal_stops_all_when_told_so(
    provider: tuple[Child, int],
) -> None:
    _, port = provider
    callers = await Child.start("load")
    refused = Load([port], "/nothing", {}, body(max_tokens=5), connections=3, seconds=20, refusals=2, pause=0.01)
    told = await ask(callers, refused)
    assert (told.statuses, told.first_refusal[:4], told.seconds < 10) == ({"404": 6}, "404 ", True)
    told = await ask(callers, Load([port], "/nothing", {}, body(max_tokens=5), connections=3, seconds=20, first=True))
    assert 1 <= told.statuses["404"] <= 3
    assert told.seconds < 10
    await callers.stop()
