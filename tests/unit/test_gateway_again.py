"""Answers given again in another way than they came: whole as a stream, and a stream whole."""

import json
from pathlib import Path
from typing import Any

import pytest

from penstock.integrations.gateway.again import AGAIN, can_be_given_again
from penstock.integrations.gateway.exchange import data_of

WIRE = Path(__file__).parents[1] / "contract" / "wire"
CHAT, RESPONSES, MESSAGES = AGAIN["openai.chat"], AGAIN["openai.responses"], AGAIN["anthropic.messages"]


def events(text: bytes) -> list[Any]:
    said = [data_of(event) for event in text.replace(b"\r\n", b"\n").split(b"\n\n") if event.strip()]
    return [json.loads(data) for data in said if data not in (b"", b"[DONE]")]


def wire(name: str) -> Any:
    return json.loads((WIRE / name).read_bytes())


@pytest.mark.parametrize(
    ("name", "again"),
    [
        ("openai/chat_plain.json", CHAT),
        ("openai/chat_tools.json", CHAT),
        ("openai/chat_refusal.json", CHAT),
        ("openai/responses_plain.json", RESPONSES),
        ("openai/responses_tools.json", RESPONSES),
        ("anthropic/plain.json", MESSAGES),
        ("anthropic/tools.json", MESSAGES),
    ],
)
def test_a_whole_answer_comes_back_whole_from_its_stream(name: str, again: Any) -> None:
    whole = wire(name)
    assert again.join(events(again.render(again.split(whole, usage=True)))) == whole
    assert can_be_given_again(again, whole)


@pytest.mark.parametrize(
    ("name", "again", "said"),
    [
        ("openai/chat_stream.sse", CHAT, lambda whole: whole["choices"][0]["message"]["content"]),
        ("openai/chat_stream_tools.sse", CHAT, lambda whole: whole["choices"][0]["message"]["tool_calls"]),
        ("openai/responses_stream.sse", RESPONSES, lambda whole: whole["output"]),
        ("anthropic/stream.sse", MESSAGES, lambda whole: whole["content"]),
        ("anthropic/stream_tools.sse", MESSAGES, lambda whole: whole["content"]),
    ],
)
def test_a_streamed_answer_is_joined_and_can_be_given_again(name: str, again: Any, said: Any) -> None:
    whole = again.join(events((WIRE / name).read_bytes()))
    assert said(whole)
    assert whole["usage"]
    assert can_be_given_again(again, whole)


def test_all_of_a_messages_blocks_are_given_again() -> None:
    whole = wire("anthropic/plain.json")
    whole["content"] = [
        {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "eHg="},
        {"type": "text", "text": "as it says", "citations": [{"type": "char_location", "cited_text": "it"}]},
        {"type": "tool_use", "id": "toolu_1", "name": "look_up", "input": {"b": 1, "a": [1.5, None]}},
        {"type": "tool_use", "id": "toolu_2", "name": "look_up", "input": {}},
    ]
    assert can_be_given_again(MESSAGES, whole)
    whole["content"].append({"type": "server_tool_use", "id": "srv", "name": "web_search", "input": {}})
    assert not can_be_given_again(MESSAGES, whole)


def test_all_of_a_responses_items_are_given_again() -> None:
    whole = wire("openai/responses_plain.json")
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}]}
    whole["output"].insert(0, {**reasoning, "encrypted_content": "eHg="})
    assert can_be_given_again(RESPONSES, whole)
    kinds = [event["type"] for event in RESPONSES.split(whole, usage=True)]
    assert "response.reasoning_summary_text.delta" in kinds
    more: list[dict[str, Any]] = [
        {"annotations": [{"type": "url_citation"}]},
        {"logprobs": [{"token": "a"}]},
        {"type": "refusal", "refusal": "no"},
    ]
    for change in more:
        other = json.loads(json.dumps(whole))
        other["output"][1]["content"][0] |= change
        assert not can_be_given_again(RESPONSES, other)


@pytest.mark.parametrize(
    "change",
    [
        lambda whole: whole["choices"][0].update(logprobs={"content": [{"token": "a", "logprob": -0.1}]}),
        lambda whole: whole["choices"].append({**whole["choices"][0], "index": 1}),
        lambda whole: whole["choices"][0]["message"].update(audio={"id": "a"}),
        lambda whole: whole["choices"][0]["message"].update(annotations=[{"type": "url_citation"}]),
        lambda whole: whole["choices"][0]["message"].update(tool_calls=[{"id": "a", "type": "custom", "custom": {}}]),
        lambda whole: whole["choices"][0].update(content_filter_results={"hate": {"filtered": False}}),
        lambda whole: whole.pop("choices"),
    ],
)
def test_what_would_be_lost_is_not_kept(change: Any) -> None:
    whole = wire("openai/chat_plain.json")
    change(whole)
    assert not can_be_given_again(CHAT, whole)


def test_a_stream_that_says_more_than_is_known_is_not_kept() -> None:
    said = events((WIRE / "openai/chat_stream.sse").read_bytes())
    said[1]["choices"][0]["logprobs"] = {"content": [{"token": "a"}]}
    with pytest.raises(ValueError, match="logprobs"):
        CHAT.join(said)
    said = events((WIRE / "anthropic/stream.sse").read_bytes())
    with pytest.raises(ValueError, match="is not known"):
        MESSAGES.join([*said, {"type": "something_new"}])
