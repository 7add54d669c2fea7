"""How much a model call may use, whether it must be the last, and what the model is told."""

from types import SimpleNamespace
from typing import Any

import pytest

from penstock.events import BudgetRecord
from penstock.events.messages import Message, ToolCall, ToolResult, say
from penstock.gates.model.conversation import Conversation
from penstock.gates.model.plan import FINAL_OUTPUT_TOKENS, ModelCall, Plan, make_plan
from penstock.gates.run.words import NOTE_70, NOTE_90
from penstock.ports.model import ModelSettings, Price, ToolSpec
from penstock.rules.past import PastCall
from penstock.rules.spiral import LAST, NUDGE
from penstock.rules.spiral_detector import Detector
from penstock.rules.spirals import DEFAULT
from penstock.rules.verdict import RunFacts
from penstock.testing import ScriptedModel

PRICE = Price(1.0, 2.0)
model = ScriptedModel(["-"], price=PRICE)
LOOK = ToolSpec("look", "Looks.", {"type": "object"})


def talk(exchanges: int = 0) -> Conversation:
    made = Conversation([say("system", "Be brief."), say("user", "Well?")])
    for number in range(exchanges):
        call = ToolCall(f"c{number}", "look", "{}")
        made.add(Message("assistant", [call]), Message("tool", [ToolResult(call.id, "look", "result " * 40)]))
    return made


class Ended(Exception):
    """The run was ended, with this code."""


def plan(asked: ModelCall, limits: dict[str, Any], price: Price | None = PRICE, **used: Any) -> tuple[Plan, RunFacts]:
    def end(outcome: str, code: str, what: str, **fields: Any) -> None:
        raise Ended(code)

    facts = RunFacts(BudgetRecord(**limits), **used)
    context: Any = SimpleNamespace(facts=facts, end=end)
    return make_plan(context, asked, price), facts


def test_without_limits_it_is_as_the_agent_wants_it() -> None:
    asked = ModelCall(model, talk(2), [LOOK], settings=ModelSettings(300))
    made, _ = plan(asked, {})
    bound = model.prompt_bound(asked.conversation.messages, [LOOK])
    assert (made.final, made.level, made.max_tokens, made.note) == (False, 0, 300, None)
    assert (made.reserved.tokens_in, made.reserved.tokens_out) == (bound, 300)
    assert made.reserved.nano == PRICE.at_most(bound, 300)
    assert made.messages is asked.conversation.messages


def test_room_for_a_last_answer_is_set_aside_once_and_not_for_one_shot_calls() -> None:
    asked = ModelCall(model, talk(2), [LOOK], settings=ModelSettings(10_000))
    _, facts = plan(asked, {"tokens": 50_000})
    opening = model.prompt_bound([*talk().messages, say("note", NOTE_90)], [LOOK])
    assert facts.aside_tokens == opening + FINAL_OUTPUT_TOKENS
    assert facts.aside_nano == PRICE.at_most(opening, FINAL_OUTPUT_TOKENS)
    _, facts = plan(ModelCall(model, talk(2), can_answer_last=False), {"tokens": 50_000})
    assert facts.aside_tokens == 0


def test_output_shrinks_to_what_still_fits_beside_spent_held_and_set_aside() -> None:
    asked = ModelCall(model, talk(), settings=ModelSettings(1024))
    made, facts = plan(asked, {"tokens": 2_000}, tokens=300, held_tokens=200)
    assert 32 <= made.max_tokens < 1024
    assert made.reserved.tokens <= 2_000 - 500 - facts.aside_tokens
    made, facts = plan(asked, {"nano": 3_500}, nano=300, held_nano=200)
    assert 32 <= made.max_tokens < 1024
    assert made.reserved.nano <= 3_500 - 500 - facts.aside_nano


@pytest.mark.parametrize(
    ("used", "level", "note"), [(0, 0, None), (7_000, 70, NOTE_70), (9_000, 90, NOTE_90), (9_400, 90, NOTE_90)]
)
def test_thresholds_add_a_note_and_from_90_on_the_answer_is_the_last(used: int, level: int, note: str | None) -> None:
    made, _ = plan(ModelCall(model, talk(), [LOOK], settings=ModelSettings(100)), {"tokens": 10_000}, tokens=used)
    assert (made.level, made.final) == (level, level >= 90)
    assert (made.note.text if made.note else None) == note
    assert not made.looping


def test_a_note_is_given_once() -> None:
    conversation = talk()
    conversation.level = 70
    made, _ = plan(ModelCall(model, conversation, settings=ModelSettings(100)), {"tokens": 10_000}, tokens=7_500)
    assert (made.level, made.note) == (70, None)


def test_the_last_answer_may_use_what_was_set_aside() -> None:
    asked = ModelCall(model, talk(), [LOOK], settings=ModelSettings(1024))
    made, facts = plan(asked, {"tokens": 1_400}, tokens=700)
    assert made.final
    assert made.reserved.tokens > 1_400 - 700 - facts.aside_tokens
    assert made.reserved.tokens <= 1_400 - 700


def test_where_the_whole_conversation_does_not_fit_any_more_the_last_answer_gets_a_shortened_one() -> None:
    asked = ModelCall(model, talk(12), [LOOK], settings=ModelSettings(1024))
    made, _ = plan(asked, {"tokens": 3_000}, tokens=2_000)
    assert made.final
    assert made.shortened
    assert made.max_tokens == FINAL_OUTPUT_TOKENS
    assert made.reserved.tokens <= 1_000
    assert made.messages[:2] == talk().messages
    assert len(made.messages) < len(asked.conversation.messages)
    assert made.messages[-1].text == NOTE_90


def test_a_call_that_cannot_be_the_last_is_planned_as_it_is_and_the_rule_judges() -> None:
    asked = ModelCall(model, talk(), settings=ModelSettings(100), can_answer_last=False)
    made, _ = plan(asked, {"tokens": 100}, tokens=99)
    assert (made.final, made.max_tokens) == (False, 1)


def test_a_single_question_is_not_told_to_wrap_up() -> None:
    asked = ModelCall(model, talk(), settings=ModelSettings(100), can_answer_last=False)
    stretch = Detector(PastCall("look", str(number), ok=False, turn=number) for number in range(8)).stretch
    for limits, used in (({"tokens": 10_000}, {"tokens": 9_500}), ({}, {"stretch": stretch, "spirals": DEFAULT})):
        made, _ = plan(asked, limits, **used)
        assert (made.final, made.note) == (False, None)


@pytest.mark.parametrize("limits", [{"tokens": 100}, {"nano": 100}])
def test_a_budget_too_small_for_one_answer_ends_the_run_before_anything_is_spent(limits: dict[str, int]) -> None:
    with pytest.raises(Ended, match="budget_invalid"):
        plan(ModelCall(model, talk(), [LOOK]), limits)


def test_the_next_to_last_step_must_answer() -> None:
    made, _ = plan(ModelCall(model, talk(), [LOOK]), {"steps": 3}, steps=2)
    assert made.final


@pytest.mark.parametrize(
    ("vain", "told", "heard", "level"),
    [
        (3, 0, False, 0),
        (4, 0, False, NUDGE),
        (5, NUDGE, False, NUDGE),
        (6, NUDGE, False, LAST),
        (6, 70, False, LAST),
        (8, 0, False, NUDGE),  # told first, however many calls came at once
        (8, NUDGE, True, 0),
    ],
)
def test_circles_are_told_then_the_answer_is_due(vain: int, told: int, heard: bool, level: int) -> None:
    stretch = Detector(PastCall("look", str(number), ok=False, turn=number) for number in range(vain)).stretch
    conversation = talk()
    conversation.level = told
    asked = ModelCall(model, conversation, [LOOK], heard=heard)
    made, _ = plan(asked, {}, stretch=stretch, spirals=DEFAULT)
    assert (made.level, made.final, made.looping) == (level, level == LAST, level > 0)
    assert (made.note is not None) == (level > told)
    made, _ = plan(asked, {}, stretch=stretch, spirals=None)
    assert (made.level, made.final) == (0, False)


def test_no_price_reserves_tokens_alone() -> None:
    made, _ = plan(ModelCall(model, talk()), {"tokens": 5_000}, price=None)
    assert made.reserved.nano == 0
    assert made.reserved.tokens > 0


def test_the_definition_of_the_output_tool_is_paid_for_too() -> None:
    output = ToolSpec("final_answer", "Ends.", {"type": "object", "description": "x" * 400})
    plain, _ = plan(ModelCall(model, talk()), {})
    made, _ = plan(ModelCall(model, talk(), output_tool=output), {})
    assert made.reserved.tokens_in >= plain.reserved.tokens_in + 100
