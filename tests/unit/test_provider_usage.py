"""Providers' usage bodies are read and rated exactly, and what cannot be is refused."""

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.adapters.providers.usage import SHAPES, StreamUsage, read_usage
from penstock.events import Amount
from penstock.kernel.errors import UsageUnreadable
from penstock.ports.price import Price, TieredPrice, price_of_text

FOLDER = Path(__file__).parents[1] / "data" / "usage"
BODIES = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}


def read(case: dict[str, Any]) -> Amount:
    if "body" in case:
        return read_usage(case["shape"], case["body"])
    stream = StreamUsage(case["shape"])
    for event in case["events"]:
        stream.see(event)
    return stream.read()


@pytest.mark.parametrize("name", BODIES)
def test_each_body_is_rated_to_the_nano_dollar(name: str) -> None:
    case = BODIES[name]
    used = read(case)
    assert used == Amount(**case["amount"])
    price = Price(**case["price"])
    assert price.of(used) == case["nano"], case["how"]
    also: list[Any] = [
        field
        for field in ("audio_in", "audio_out", "image_in", "image_out", "written_hour")
        if case["amount"].get(field)
    ]
    assert price.of(used) <= price.at_most(used.tokens_in, used.tokens_out, also)


def test_every_shape_has_a_whole_body_and_a_stream() -> None:
    whole = {case["shape"] for case in BODIES.values() if "body" in case}
    streamed = {case["shape"] for case in BODIES.values() if "events" in case}
    assert whole == set(SHAPES)
    assert streamed == set(SHAPES) - {"openai-embeddings"}


@pytest.mark.parametrize("name", [name for name, case in BODIES.items() if "body" in case])
def test_the_usage_alone_reads_like_the_whole_answer(name: str) -> None:
    case = BODIES[name]
    [alone] = [case["body"][key] for key in ("usage", "usageMetadata") if key in case["body"]]
    assert read_usage(case["shape"], alone) == read(case)


@pytest.mark.parametrize("name", [name for name, case in BODIES.items() if "events" in case])
def test_a_stream_that_is_cut_has_no_usage(name: str) -> None:
    """Wherever it is cut before the event that says the whole."""
    case = BODIES[name]
    stream, said = StreamUsage(case["shape"]), 0
    for number, event in enumerate(case["events"]):
        try:
            assert stream.read() == read(case)
            said = said or number
        except UsageUnreadable:
            assert not said, "what was said once stays"
        stream.see(event)
    assert stream.read() == read(case)
    assert said in (0, len(case["events"]) - 1), "only the very last events say it"


def damaged(case: dict[str, Any]) -> list[dict[str, Any]]:
    """The body with each of its required figures spoilt in each way."""
    found = []
    key = "usageMetadata" if "usageMetadata" in case["body"] else "usage"
    for name, value in case["body"][key].items():
        if isinstance(value, int) and not name.startswith(("total", "candidates")):
            for wrong in (-1, 1.5, "7", True, 10**12, float("nan"), [1]):
                body = copy.deepcopy(case["body"])
                body[key][name] = wrong
                found.append(body)
    return found


@pytest.mark.parametrize("name", [name for name, case in BODIES.items() if "body" in case])
def test_figures_that_cannot_be_are_refused(name: str) -> None:
    case = BODIES[name]
    bodies = damaged(case)
    assert len(bodies) >= 7
    for body in bodies:
        with pytest.raises(UsageUnreadable):
            read_usage(case["shape"], body)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "body", [{}, {"usage": None}, {"usage": "many"}, {"usage": {}}, {"usage": []}, {"usageMetadata": None}]
)
def test_missing_usage_is_refused(shape: str, body: dict[str, Any]) -> None:
    with pytest.raises(UsageUnreadable):
        read_usage(shape, body)


def test_what_is_not_charged_by_token_is_refused() -> None:
    body = {"usage": {"input_tokens": 5, "output_tokens": 5, "server_tool_use": {"web_search_requests": 1}}}
    with pytest.raises(UsageUnreadable, match="not charged by token"):
        read_usage("anthropic-messages", body)


def test_parts_larger_than_their_whole_are_refused() -> None:
    body = {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 11}}
    with pytest.raises(UsageUnreadable, match="contradict"):
        read_usage("openai-chat", body)


def test_a_class_without_a_rate_has_no_price() -> None:
    """Audio at the rate of words would be a bill that nobody can explain; nothing at all would be worse."""
    plain = Price(1000.0, 2000.0, 100.0, 1250.0)
    assert plain.rate(Amount(10, 5)) == 20_000
    for used in (
        Amount(10, 5, audio_in=1),
        Amount(10, 5, audio_out=1),
        Amount(10, 5, image_out=1),
        Amount(10, 5, written=2, written_hour=1),
    ):
        assert plain.rate(used) is None
        with pytest.raises(ValueError, match="no price"):
            plain.of(used)
    assert plain.rate(Amount(10, 5, image_in=4)) == 20_000, "an image that is read costs what words cost"
    assert plain.rate(Amount(10, 5, reasoning=5)) == 20_000
    assert not plain.covers(["audio_in"])
    assert plain.covers(["image_in"])


rates = st.one_of(st.none(), st.integers(0, 10**6).map(float), st.decimals(0, 10**4, places=4).map(float))
known = st.one_of(st.integers(0, 10**6).map(float), st.decimals(0, 10**4, places=4).map(float))


@given(
    st.builds(Price, known, known, rates, rates, st.text(max_size=20), rates, rates, rates, rates, rates, rates, rates),
    st.lists(st.tuples(st.integers(1, 10**6), st.builds(Price, known, known, rates)), max_size=2),
)
def test_a_price_is_read_back_from_a_record(price: Price, tiers: list[tuple[int, Price]]) -> None:
    if tiers:
        fields = {field.name: getattr(price, field.name) for field in dataclasses.fields(Price) if field.init}
        price = TieredPrice(**fields, tiers=tuple(tiers))
    found = price_of_text(price.text)
    assert found is not None
    used = Amount(10_000, 700, cached=100, written=50, reasoning=30)
    assert found.rate(used) == price.rate(used)
    assert found.text.split(" @")[0] == price.text.split(" @")[0]


@pytest.mark.parametrize(
    "text", ["", "nonsense", "in=1", "in=1 out=x @", "in=1 out=2 >a in=1 out=1", "in=1 out=1 far=2"]
)
def test_what_is_no_price_is_none(text: str) -> None:
    assert price_of_text(text) is None


counts = st.integers(0, 50_000)


@given(st.tuples(counts, counts, counts, counts, counts), st.tuples(counts, counts, counts))
def test_no_usage_costs_more_than_the_most(into: tuple[int, ...], out: tuple[int, ...]) -> None:
    (plain, cached, minutes, hour, audio), (words, thoughts, spoken) = into, out
    price = Price(2.7, 13.1, 0.3, 3.375, "", 5.4, 20.9, 40.1, 10.5, 80.3)
    used = Amount(
        plain + cached + minutes + hour + audio,
        words + thoughts + spoken,
        cached=cached,
        written=minutes + hour,
        written_hour=hour,
        reasoning=thoughts,
        audio_in=audio,
        audio_out=spoken,
    )
    assert used.is_sound
    most = price.at_most(used.tokens_in, used.tokens_out, ("audio_in", "audio_out", "written_hour"))
    assert 0 <= price.of(used) <= most


@pytest.mark.parametrize(
    ("shape", "events"),
    [
        # Anthropic's first event counts the output it begins with; what ends without a count leaves that standing.
        (
            "anthropic-messages",
            [
                {"type": "message_start", "message": {"usage": {"input_tokens": 9, "output_tokens": 1}}},
                {"type": "message_delta", "delta": {}, "usage": {"input_tokens": 9, "output_tokens": None}},
            ],
        ),
        ("openai-responses", [{"type": "response.in_progress", "response": {"usage": {"input_tokens": 9}}}]),
        (
            "openai-responses",
            [
                {"type": "response.in_progress", "response": {"usage": {"input_tokens": 9, "output_tokens": 1}}},
                {"type": "response.completed", "response": {"usage": None}},
            ],
        ),
        ("openai-chat", [{"choices": [{"delta": {}}], "usage": {"prompt_tokens": 9, "completion_tokens": 1}}]),
        (
            "openai-chat",
            [{"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 1}}, {"choices": [], "usage": "many"}],
        ),
    ],
)
def test_running_totals_of_a_stream_are_not_its_usage(shape: str, events: list[dict[str, Any]]) -> None:
    stream = StreamUsage(shape)
    for event in events:
        stream.see(event)
    with pytest.raises(UsageUnreadable):
        stream.read()
