"""The scripted model: what users' own tests rely on."""

import pytest

from penstock.events import Amount, Failure
from penstock.events.messages import ToolCall, say
from penstock.ports.model import (
    Model,
    ModelError,
    ModelRequest,
    ModelResponse,
    ModelSettings,
    Price,
    ToolSpec,
)
from penstock.testing import ScriptedModel, tool_call

SEARCH = ToolSpec("search", "Search.", {"type": "object", "properties": {"query": {"type": "string"}}})


def asking(text: str = "Hello", max_tokens: int = 100) -> ModelRequest:
    return ModelRequest([say("user", text)], [SEARCH], ModelSettings(max_tokens))


async def test_each_kind_of_answer_in_its_turn() -> None:
    given = ModelResponse(say("assistant", "given"), None)
    failure = ModelError(Failure("model_rate_limited", "rate_limited"), billed=False)
    model: Model = ScriptedModel(
        [
            tool_call("search", query="fees"),
            [ToolCall("mine", "search", "{"), tool_call("search")],
            "words",
            given,
            failure,
            lambda request: f"you said {request.messages[0].text}",
        ]
    )
    assert (model.name, model.simulated) == ("scripted:model", True)
    first = await model.request(asking())
    assert [(call.id, call.name, call.args) for call in first.message.tool_calls] == [
        ("call-1-1", "search", '{"query":"fees"}')
    ]
    second = await model.request(asking())
    assert [call.id for call in second.message.tool_calls] == ["mine", "call-2-2"]
    assert (first.finish, second.finish) == ("tool_calls", "tool_calls")
    third = await model.request(asking())
    assert (third.message.text, third.finish, third.provider_id) == ("words", "stop", "scripted-3")
    assert await model.request(asking()) is given
    with pytest.raises(ModelError) as caught:
        await model.request(asking())
    assert caught.value is failure
    assert (await model.request(asking("please"))).message.text == "you said please"


async def test_the_end_of_the_script_is_an_error_and_every_call_is_kept() -> None:
    model = ScriptedModel(["only"])
    await model.request(asking("one"))
    with pytest.raises(ModelError, match="no answer for call 2") as caught:
        await model.request(asking("two"))
    assert (caught.value.failure.cause, caught.value.billed) == ("permanent", False)
    assert [call.messages[0].text for call in model.calls] == ["one", "two"]
    with pytest.raises(ValueError, match="at least one"):
        ScriptedModel([])


async def test_it_can_repeat_itself() -> None:
    model = ScriptedModel(["a", "b"], repeat=True)
    assert [(await model.request(asking())).message.text for _ in range(5)] == ["a", "b", "a", "b", "a"]


@pytest.mark.parametrize("text", ["", "a", "Grüße aus Köln 🚚", "x" * 10_000])
async def test_tokens_follow_one_rule_and_stay_inside_the_bound(text: str) -> None:
    model = ScriptedModel([text], price=Price(2.0, 3.0), repeat=True)
    request = asking(text)
    used = (await model.request(request)).used
    assert used is not None
    assert used == (await model.request(request)).used
    assert 0 < used.tokens_in <= model.prompt_bound(request.messages, request.tools)
    assert used.tokens_out == min(-(-len(text.encode()) // 4), 100)
    price = model.price()
    assert price is not None
    assert price.of(used) <= price.at_most(model.prompt_bound(request.messages, request.tools), 100)


async def test_text_beyond_the_limit_breaks_off_as_with_a_real_model() -> None:
    response = await ScriptedModel(["ö" * 100]).request(asking(max_tokens=5))
    assert (response.message.text, response.finish) == ("ö" * 10, "length")
    assert response.used == Amount(response.used.tokens_in if response.used else 0, 5)


async def test_a_stream_is_the_same_answer_in_pieces() -> None:
    model = ScriptedModel(["a text longer than one piece"])
    *pieces, whole = [item async for item in model.stream(asking())]
    assert isinstance(whole, ModelResponse)
    assert len(pieces) > 1
    assert "".join(str(piece) for piece in pieces) == whole.message.text == "a text longer than one piece"
