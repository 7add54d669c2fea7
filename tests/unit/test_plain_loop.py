"""The loop that Penstock is compared with, and the meter that counts all modes at the wire."""

import asyncio
from typing import Any

import pytest

from penstock.demo.meter import MeteredModel
from penstock.demo.plain_loop import PlainEnd, work
from penstock.demo.support import SupportDesk, customer_of, instructions, message
from penstock.demo.support_tools import BankTools, own_records, within_refund_bounds
from penstock.events import Amount, Failure
from penstock.events.messages import Message, Text, ToolCall, ToolResult, say
from penstock.ports.model import ModelError, ModelRequest, ModelResponse, ModelSettings, Price
from penstock.testing import ScriptedModel, tool_call

CUSTOMER = "C-test-00001"
TEXT = message(CUSTOMER, "Where is my card?")
ANSWER = {"category": "card_arrival", "reply": "On its way.", "confidence": 0.9, "actions": [], "left_to_do": []}


class FakeBank:
    """Notes what it is asked; a key is honoured once."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, tuple[Any, ...]]] = []
        self.keys: set[str] = set()
        self.replies = 0

    async def get_account(self, *args: Any) -> dict[str, Any]:
        self.asked.append(("get_account", args))
        return {"cards": []}

    async def search_help(self, *args: Any) -> dict[str, Any]:
        self.asked.append(("search_help", args))
        raise ConnectionError("the help pages are down")

    async def send_reply(self, customer_id: str, body: str, key: str) -> dict[str, Any]:
        self.asked.append(("send_reply", (customer_id, body)))
        self.replies += key not in self.keys
        self.keys.add(key)
        return {"status": "done"}

    async def count(self, customer_id: str, effect: str) -> int:
        assert (customer_id, effect) == (CUSTOMER, "reply")
        return self.replies


def play(*script: Any, max_steps: int = 10) -> tuple[PlainEnd, FakeBank, ScriptedModel]:
    bank, model = FakeBank(), ScriptedModel(script)
    desk = SupportDesk(BankTools(bank), model)  # type: ignore[arg-type]
    return asyncio.run(work(desk, model, TEXT, max_steps=max_steps)), bank, model


def results(model: ScriptedModel, call: int) -> list[ToolResult]:
    """The tool results that the n-th call was sent last."""
    return [part for part in model.calls[call].messages[-1].parts if isinstance(part, ToolResult)]


def test_tools_run_and_the_answer_is_taken() -> None:
    end, bank, model = play(
        [tool_call("get_account", customer_id=CUSTOMER)],
        [tool_call("send_reply", customer_id=CUSTOMER, text="On its way.")],
        [tool_call("final_answer", **ANSWER)],
    )
    assert end == PlainEnd("answered", 3, ANSWER)
    assert bank.asked == [("get_account", (CUSTOMER,)), ("send_reply", (CUSTOMER, "On its way."))]
    assert results(model, 1)[0].text == '{"cards":[]}'


def test_an_answer_that_was_not_sent_is_sent_once() -> None:
    _, bank, _ = play([tool_call("final_answer", **ANSWER)])
    assert bank.asked == [("send_reply", (CUSTOMER, "On its way."))]
    _, bank, _ = play("A plain answer.")
    assert bank.asked == [("send_reply", (CUSTOMER, "A plain answer."))]


def test_mistakes_go_back_to_the_model() -> None:
    end, _, model = play(
        [
            tool_call("get_customer_profile", customer_id=CUSTOMER),
            ToolCall("broken", "get_account", '{"customer_id": '),
            tool_call("get_account", customer=CUSTOMER),
            tool_call("search_help", query="card"),
        ],
        [tool_call("final_answer", **ANSWER)],
    )
    assert end.reason == "answered"
    said = results(model, 1)
    assert [result.status for result in said] == ["error"] * 4
    assert "no tool named get_customer_profile" in said[0].text
    assert "not valid" in said[1].text
    assert "not valid" in said[2].text
    assert said[3].text == "ConnectionError: the help pages are down"


def test_each_call_carries_a_key_of_its_own() -> None:
    again = [tool_call("send_reply", customer_id=CUSTOMER, text="On its way.")]
    _, bank, _ = play(again, again, [tool_call("final_answer", **ANSWER)])
    assert bank.replies == 2


def test_the_step_limit_ends_it_without_an_answer() -> None:
    script = [[tool_call("get_account", customer_id=CUSTOMER)]] * 9
    end, bank, model = play(*script, max_steps=4)
    assert end == PlainEnd("step_limit", 4)
    assert len(model.calls) == 4
    assert bank.replies == 0


def test_what_is_escalated_or_left_to_do_goes_to_a_person() -> None:
    end, bank, _ = play([tool_call("escalate", reason="not confident")])
    assert (end.reason, bank.replies) == ("escalated", 0)
    end, bank, _ = play([tool_call("final_answer", **{**ANSWER, "left_to_do": ["refund"]})])
    assert (end.reason, bank.replies) == ("escalated", 1)


@pytest.mark.parametrize(
    ("args", "fits"),
    [
        ({"customer_id": "C-1", "transaction_id": "C-1-T01"}, True),
        ({"customer_id": "C-1", "transaction_id": "C-10-T01"}, False),
        ({"customer_id": "C-1", "transaction_id": "C-1"}, False),
        ({"customer_id": "C-1", "card_id": "C-1-P"}, True),
        ({"customer_id": "C-1", "card_id": "C-2-P"}, False),
    ],
)
def test_records_must_be_the_customers_own(args: dict[str, Any], fits: bool) -> None:
    assert (own_records(args) is None) == fits


@pytest.mark.parametrize(("cents", "fits"), [(1, True), (20_000, True), (0, False), (-5, False), (20_001, False)])
def test_refunds_have_bounds(cents: int, fits: bool) -> None:
    assert (within_refund_bounds({"amount_cents": cents}) is None) == fits


def test_a_message_names_its_customer() -> None:
    assert customer_of(TEXT) == CUSTOMER
    with pytest.raises(ValueError, match="Customer"):
        customer_of("Where is my card?")
    assert "card_arrival" in instructions()


def metered(*script: Any, price: Price | None = None) -> MeteredModel:
    return MeteredModel(ScriptedModel(script, price=price or Price(1000.0, 2000.0)))


def ask(model: MeteredModel, *more: Message, customer: str = CUSTOMER) -> None:
    talk = [say("system", "S"), say("user", message(customer, "Customer C-other-1 writes: a trick")), *more]
    asyncio.run(model.request(ModelRequest(talk, [], ModelSettings(100))))


def test_the_meter_counts_by_customer() -> None:
    used = Amount(tokens_in=10, tokens_out=5)
    model = metered(
        ModelResponse(say("assistant", "Category: card_arrival (confidence 0.9)."), used),
        ModelResponse(
            Message("assistant", [ToolCall("1", "close_account", '{"category": "terminate_account"}')]), used
        ),
        ModelResponse(say("assistant", "x"), used),
    )
    ask(model)
    ask(model)
    ask(model, customer="C-test-00002")
    reading = model.readings[CUSTOMER]
    assert set(model.readings) == {CUSTOMER, "C-test-00002"}
    assert (reading.model_calls, reading.tokens, reading.nano) == (2, 30, 2 * (10 * 1000 + 5 * 2000))
    assert reading.category == "terminate_account"
    assert reading.asked_for(["close_account"]) == 1
    assert not reading.spiral


def test_a_call_of_unknown_use_is_charged_its_maximum() -> None:
    model = metered(ModelResponse(say("assistant", "x"), None), ModelError(Failure("lost", "unknown"), billed=None))
    ask(model)
    once = model.readings[CUSTOMER].tokens
    assert once >= 100
    with pytest.raises(ModelError):
        ask(model)
    assert model.readings[CUSTOMER].tokens == 2 * once
    refused = metered(ModelError(Failure("refused", "permanent"), billed=False))
    with pytest.raises(ModelError):
        ask(refused)
    assert refused.readings[CUSTOMER].tokens == 0


def test_spirals_are_known_by_their_mark_and_their_end_by_an_intervention() -> None:
    round_ = ModelResponse(Message("assistant", [Text("Hm.", {"simulated_spiral": 1})]), Amount(1, 1))
    model = metered(ModelResponse(say("assistant", "x"), Amount(1, 1)), round_, round_, round_)
    denied = Message("tool", [ToolResult("1", "get_account", "no", "denied")])
    ask(model, denied)
    ask(model)
    assert (model.readings[CUSTOMER].spiral_until, model.readings[CUSTOMER].interrupted) == (2, False)
    ask(model, say("note", "[budget left: 3 steps]"))
    assert not model.readings[CUSTOMER].interrupted
    ask(model, denied)
    assert (model.readings[CUSTOMER].spiral_until, model.readings[CUSTOMER].interrupted) == (4, True)
