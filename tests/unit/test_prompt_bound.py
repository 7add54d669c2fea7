"""The bound of a prompt against a real tokenizer (the one in wordllama's wheel, a byte-level fallback BPE)."""

import importlib.util
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models.function import AgentInfo, FunctionModel
from tokenizers import Tokenizer

from penstock.adapters.providers.bound import PromptBound
from penstock.events.messages import Message, Text, Thinking, ToolCall, ToolResult, say
from penstock.ports.model import ToolSpec


def _nothing(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    raise AssertionError("nobody calls")


@cache
def tokenizer() -> Tokenizer:
    spec = importlib.util.find_spec("wordllama")
    assert spec is not None
    assert spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0])
    return Tokenizer.from_file(str(folder / "tokenizers" / "l2_supercat_tokenizer_config.json"))


def count(text: str) -> int:
    return len(tokenizer().encode(text, add_special_tokens=False).ids)


@pytest.fixture(params=[False, True], ids=["as is", "prepared"])
def bound(request: pytest.FixtureRequest) -> PromptBound:
    return PromptBound(FunctionModel(_nothing), prepared=request.param)


PLAIN_BOUND = PromptBound(FunctionModel(_nothing), prepared=False)
PREPARED_BOUND = PromptBound(FunctionModel(_nothing), prepared=True)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
arguments = st.dictionaries(texts, values, max_size=4)


@given(st.lists(texts, max_size=5))
def test_no_text_has_more_tokens(words: list[str]) -> None:
    rendered = "".join(f"<|start|>user<|message|>{word}<|end|>" for word in words)
    messages = [say("user", word) for word in words]
    assert count(rendered) - 12 * len(words) <= PLAIN_BOUND(messages, ()) <= PREPARED_BOUND(messages, ())


@pytest.mark.parametrize(
    "text",
    [
        "\ufdfa" * 50,  # one character that NFKC makes eighteen of
        "🏳️‍🌈" * 20,
        "ก็" * 60,
        "\x00\x01\x1f" * 30,
        "aaaa" * 200,
        "{" * 300,
        "   \n\t" * 80,
    ],
)
def test_texts_that_tokenizers_are_bad_at(text: str, bound: PromptBound) -> None:
    import unicodedata

    for form in (text, unicodedata.normalize("NFKC", text)):
        assert count(form) <= bound([say("user", form)], ())
    assert len(unicodedata.normalize("NFKC", text).encode()) <= bound([say("user", text)], ())


@given(arguments, st.booleans())
def test_no_call_has_more_tokens_however_its_arguments_are_written(args: dict[str, Any], ascii_only: bool) -> None:
    """The library reads the model's JSON and writes it anew: numbers and escapes may grow on the way."""
    for raw in (json.dumps(args, ensure_ascii=ascii_only), json.dumps(args, separators=(",", ":"))):
        message = Message("assistant", [ToolCall("call_1", "search", raw)])
        anew = json.dumps(json.loads(raw), ensure_ascii=False, separators=(",", ":"))
        assert max(count(raw), count(anew), len(anew.encode())) <= PLAIN_BOUND([message], ())


@pytest.mark.parametrize(
    "raw", ["1e22", '{"n": 1E15}', '{"n":[1e-7,2.5e300,100000000000000000000.0]}', "{broken \x01", ""]
)
def test_odd_arguments(raw: str, bound: PromptBound) -> None:
    message = Message("assistant", [ToolCall("1", "f", raw)])
    try:
        anew = json.dumps(json.loads(raw))
    except ValueError:
        anew = json.dumps({"INVALID_JSON": raw})
    assert len(anew) <= bound([message], ())


@given(texts)
def test_an_error_result_is_bounded_in_the_form_it_is_sent_in(text: str) -> None:
    for status in ("ok", "error", "denied"):
        message = Message("tool", [ToolResult("call_1", "search", text, status)])
        sent = text if status != "error" else json.dumps({"error": text}, ensure_ascii=False)
        assert count(sent) <= PLAIN_BOUND([message], ())


def test_what_the_provider_keeps_encrypted_counts() -> None:
    open_, sealed = Thinking("Look first."), Thinking("", {"signature": "x" * 5000})
    assert PLAIN_BOUND([Message("assistant", [sealed])], ()) > PLAIN_BOUND([Message("assistant", [open_])], ()) + 4900
    # What is only for the record is not sent, and does not count.
    recorded = Text("Hi", {"response": {"id": "r" * 5000}})
    assert PLAIN_BOUND([Message("assistant", [recorded])], ()) == PLAIN_BOUND([say("assistant", "Hi")], ())


def test_a_tools_whole_definition_counts_and_is_measured_once(bound: PromptBound) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string", "enum": ["Köln", "東京"], "description": "Which – of them?"}},
    }
    tool = ToolSpec("weather", "The weather." * 20, schema)
    rendered = json.dumps(
        {"name": tool.name, "description": tool.description, "parameters": schema}, ensure_ascii=False
    )
    assert count(rendered) <= bound([], [tool]) - bound([], [])
    assert bound([], [tool, tool]) - bound([], [tool]) == bound([], [tool, tool, tool]) - bound([], [tool, tool])
    schema["properties"] = {}
    assert bound([], [tool]) == bound([], [tool]), "definitions do not change once they are offered"
    other = ToolSpec("weather", "The weather.", schema)
    assert bound([], [other]) < bound([], [tool])


def test_the_tools_that_are_kept_are_bounded(bound: PromptBound, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.adapters.providers.bound._TOOLS_KEPT", 8)
    for number in range(100):
        assert bound([], [ToolSpec(f"tool_{number}", "x" * number, {"type": "object"})]) > number
    assert len(bound._tools) <= 8


def test_openais_published_counts() -> None:
    """The examples of OpenAI's cookbook and API reference: 129 tokens for six messages, 82 with one function."""
    six = [
        say(
            "system",
            "You are a helpful, pattern-following assistant that translates corporate jargon into plain English.",
        ),
        say("user", "New synergies will help drive top-line growth."),
        say("assistant", "Things working well together will increase revenue."),
        say(
            "user",
            "Let's circle back when we have more bandwidth to touch base on opportunities for increased leverage.",
        ),
        say("assistant", "Let's talk later when we're less busy about how to do better."),
        say(
            "user",
            "This late pivot means we don't have time to boil the ocean for the client deliverable.",
        ),
    ]
    assert 129 <= PLAIN_BOUND(six, ()) < 129 * 6
    weather = ToolSpec(
        "get_current_weather",
        "Get the current weather in a given location",
        {
            "type": "object",
            "properties": {
                "location": {"type": "string", "description": "The city and state, e.g. San Francisco, CA"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            },
            "required": ["location"],
        },
    )
    assert PLAIN_BOUND([say("user", "What is the weather like in Boston?")], [weather]) >= 82
