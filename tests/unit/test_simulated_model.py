"""The simulated model: what it does at which rates, that it repeats itself exactly, and that it counts honestly."""

import asyncio
import json
import logging
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from penstock.adapters.embeddings import WordLlamaEmbedder
from penstock.adapters.prices import PriceList
from penstock.adapters.simulated import Habits, NearestExamples, Question, SimulatedModel, banking77
from penstock.adapters.simulated.examples import part_of
from penstock.adapters.simulated.playbook import PLAYS
from penstock.events.messages import Message, Text, ToolCall, ToolResult, say
from penstock.kernel.errors import UsageError
from penstock.ports.model import ModelRequest, ModelResponse, ModelSettings, Price, ToolSpec

CUSTOMER = "C-test-0001"
TAME = Habits(spiral=0, unknown_tool=0, malformed=0, overreach=0, careless=0, stubborn=0, unsure_below=0)


def spec(name: str, *properties: str) -> ToolSpec:
    return ToolSpec(name, f"{name}.", {"type": "object", "properties": {key: {} for key in properties}})


TOOLS = [
    spec("get_account", "customer_id"),
    spec("list_transactions", "customer_id", "limit"),
    spec("search_help", "query"),
    spec("send_reply", "customer_id", "text"),
    spec("freeze_card", "customer_id", "card_id"),
    spec("refund", "customer_id", "transaction_id", "amount_cents", "reason"),
    spec("close_account", "customer_id"),
    spec("escalate", "reason"),
]
ANSWER = spec("final_answer", "category", "reply", "confidence", "actions")
ACCOUNT = {
    "cards": [
        {"card_id": "virtual-1", "kind": "virtual", "status": "active"},
        {"card_id": "physical-1", "kind": "physical", "status": "active"},
    ]
}
PAID_TWICE = [
    {"transaction_id": "t1", "kind": "card_payment", "description": "Bakery", "amount_cents": -450},
    {"transaction_id": "t2", "kind": "card_payment", "description": "Hotel", "amount_cents": -9900},
    {"transaction_id": "t3", "kind": "card_payment", "description": "Hotel", "amount_cents": -9900},
]
SHORT_CASH = [
    {"transaction_id": "t4", "kind": "cash_withdrawal", "amount_cents": -8000, "dispensed_cents": 5000},
]


@pytest.fixture(scope="session")
def examples() -> NearestExamples:
    known = NearestExamples(WordLlamaEmbedder())
    known.load()
    return known


@dataclass
class Desk:
    """Plays the tools and the loop. ``status`` and ``notes`` intervene: by tool name, and by turn."""

    model: SimulatedModel
    transactions: list[dict[str, Any]] = field(default_factory=list)
    status: dict[str, str] = field(default_factory=dict)
    deny_repeats: int = 1000
    notes: dict[int, str] = field(default_factory=dict)
    cap: int = 100
    log: list[ModelResponse] = field(default_factory=list)

    def work(self, question: str) -> list[ToolCall]:
        """All calls the model made until its answer."""
        return asyncio.run(self._work(question))

    async def _work(self, question: str) -> list[ToolCall]:
        talk = [say("system", "You are a support agent."), say("user", f"Customer {CUSTOMER} writes:\n\n{question}")]
        made: list[ToolCall] = []
        for turn in range(self.cap):
            if turn in self.notes:
                talk.append(say("note", self.notes[turn]))
            response = await self.model.request(ModelRequest(talk, TOOLS, ModelSettings(1024), output_tool=ANSWER))
            self.log.append(response)
            talk.append(response.message)
            calls = response.message.tool_calls
            made += calls
            if any(call.name in ("final_answer", "escalate") for call in calls) or not calls:
                break
            talk.append(Message("tool", [self._result(call, made) for call in calls]))
        return made

    def _result(self, call: ToolCall, made: list[ToolCall]) -> ToolResult:
        try:
            json.loads(call.args)
        except ValueError:
            return ToolResult(call.id, call.name, "arguments not accepted", "denied")
        if [(past.name, past.args) for past in made].count((call.name, call.args)) > self.deny_repeats:
            return ToolResult(call.id, call.name, "called before; use the earlier result", "denied")
        known = {tool.name for tool in TOOLS}
        status = self.status.get(call.name, "ok" if call.name in known else "denied")
        value = {"get_account": ACCOUNT, "list_transactions": {"transactions": self.transactions}}.get(call.name, {})
        return ToolResult(call.id, call.name, json.dumps(value) if status == "ok" else "no", status)


def names(calls: list[ToolCall]) -> list[str]:
    return [call.name for call in calls]


def args_of(calls: list[ToolCall], name: str) -> list[dict[str, Any]]:
    return [json.loads(call.args) for call in calls if call.name == name]


def question_of(category: str, examples: NearestExamples, model: SimulatedModel | None = None, **wanted: object) -> str:
    """A ticket of the category that the model routes rightly, with the wanted traits."""
    for question in banking77("tickets"):
        if question.category == category and examples.classify(question.text).category == category:
            persona = model.persona(question.text) if model else None
            if all(getattr(persona, trait) == value for trait, value in wanted.items()):
                return question.text
    raise AssertionError(f"no ticket of {category} with {wanted}")


def test_the_parts_are_disjoint_complete_and_follow_the_published_rule() -> None:
    parts = {"examples": banking77("examples"), "tickets": banking77("tickets")}
    assert sum(len(questions) for questions in parts.values()) == 10_003
    for part, questions in parts.items():
        assert {part_of(question.text) for question in questions} == {part}
        assert len({question.category for question in questions}) == 77
    assert part_of("Where  is my\nCARD?") == part_of("where is my card?")


def test_every_intent_is_in_the_playbook() -> None:
    assert set(PLAYS) == {question.category for question in banking77("examples")}


def test_routing_is_as_good_as_nearest_examples_are(examples: NearestExamples) -> None:
    tickets = banking77("tickets")[::5]
    guesses = [examples.classify(ticket.text) for ticket in tickets]
    right = [guess.category == ticket.category for guess, ticket in zip(guesses, tickets, strict=True)]
    assert 0.85 < np.mean(right) < 0.95
    unsure = np.array([guess.margin < 0.25 for guess in guesses])
    assert 0.04 < unsure.mean() < 0.2
    assert np.mean(np.array(right)[unsure]) < np.mean(np.array(right)[~unsure]) - 0.2


def test_a_question_without_words_gets_no_confidence(examples: NearestExamples) -> None:
    assert examples.classify("").confidence == 0
    assert examples.classify(" \n ").margin == 0


def test_vectors_are_unit_float32_and_leave_logging_alone() -> None:
    vectors = WordLlamaEmbedder().embed(["I lost my card", "", "Ich habe meine Karte verloren", "x" * 3000])
    assert vectors.dtype == np.float32
    assert vectors.shape == (4, 256)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 0, 1, 1], abs=1e-5)
    code = (
        "import logging; from penstock.adapters.embeddings import WordLlamaEmbedder; "
        "WordLlamaEmbedder().embed(['x']); root = logging.getLogger(); print(root.level, root.handlers)"
    )
    fresh = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert fresh.stdout.split() == [str(logging.WARNING), "[]"]


def test_importing_the_model_loads_no_weights() -> None:
    code = "import sys, penstock.adapters.simulated; print('wordllama' in sys.modules)"
    fresh = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert fresh.stdout.strip() == "False"


def test_a_tame_model_looks_up_replies_once_and_answers(examples: NearestExamples) -> None:
    desk = Desk(SimulatedModel(1, habits=TAME, examples=examples))
    calls = desk.work(question_of("card_arrival", examples))
    assert names(calls) == ["get_account", "search_help", "send_reply", "final_answer"]
    answer = args_of(calls, "final_answer")[0]
    assert answer["category"] == "card_arrival"
    assert answer["reply"] == args_of(calls, "send_reply")[0]["text"]
    assert answer["reply"].endswith("(simulated)")
    assert answer["actions"] == ["send_reply"]
    assert 0 < answer["confidence"] <= 1


def test_the_same_seed_and_question_give_the_same_words(examples: NearestExamples) -> None:
    texts = [ticket.text for ticket in banking77("tickets")[:40]]
    rough = Habits(spiral=0.5, unknown_tool=0.3, malformed=0.3, careless=0.3)

    def tapes(seed: int, known: NearestExamples) -> list[list[Message]]:
        desks = [Desk(SimulatedModel(seed, habits=rough, examples=known)) for _ in texts]
        for desk, text in zip(desks, texts, strict=True):
            desk.work(text)
        return [[response.message for response in desk.log] for desk in desks]

    first = tapes(3, examples)
    assert tapes(3, NearestExamples(WordLlamaEmbedder())) == first
    assert tapes(4, examples) != first


def test_behaviour_is_the_same_up_to_the_first_intervention(examples: NearestExamples) -> None:
    model = SimulatedModel(5, spiral_rate=1, examples=examples)
    text = question_of("card_arrival", examples, model, late=False, malformed=False, unknown_tool=False)
    free, told = Desk(model), Desk(model, notes={6: "You have used most of what this task may use. Wrap up."})
    free.work(text)
    told.work(text)
    assert [answer.message for answer in told.log[:6]] == [answer.message for answer in free.log[:6]]
    counted = Desk(model, notes=dict.fromkeys(range(1, 9), "[budget left: 10,000 of 20,000 tokens]"))
    counted.work(text)
    assert [answer.message for answer in counted.log] == [answer.message for answer in free.log]


def test_a_higher_spiral_rate_adds_spirals_and_changes_nothing_else() -> None:
    texts = [ticket.text for ticket in banking77("tickets")]
    personas = {rate: [SimulatedModel(9, spiral_rate=rate).persona(text) for text in texts] for rate in (0, 0.15, 0.3)}
    for low, high in ((0, 0.15), (0.15, 0.3)):
        for less, more in zip(personas[low], personas[high], strict=True):
            assert more.spirals or not less.spirals
            assert replace(less, spirals=False) == replace(more, spirals=False)
    assert 0.13 < np.mean([persona.spirals for persona in personas[0.15]]) < 0.17
    assert not any(persona.spirals for persona in personas[0])


@pytest.mark.parametrize("style", ["stuck", "wandering"])
def test_a_spiral_goes_on_for_long_and_its_context_grows(style: str, examples: NearestExamples) -> None:
    model = SimulatedModel(2, habits=replace(TAME, spiral=1), examples=examples)
    text = question_of("pending_transfer", examples, model, style=style, late=False)
    desk = Desk(model)
    calls = desk.work(text)
    assert 30 <= len(desk.log) - 3 <= 80
    assert names(calls)[-2:] == ["send_reply", "final_answer"]
    assert len(args_of(calls, "send_reply")) == 1
    sent = [response.used.tokens_in for response in desk.log if response.used]
    assert sent == sorted(sent)
    assert sent[30] > 5 * sent[0]
    most = Counter((call.name, call.args) for call in calls).most_common(1)[0][1]
    assert (most >= 30) == (style == "stuck")


def test_a_late_spiral_sends_the_same_reply_again(examples: NearestExamples) -> None:
    model = SimulatedModel(2, habits=replace(TAME, spiral=1), examples=examples)
    calls = Desk(model).work(question_of("card_arrival", examples, model, late=True))
    replies = args_of(calls, "send_reply")
    assert len(replies) > 5
    assert all(reply == replies[0] for reply in replies)


def test_denials_stop_a_spiral_as_often_as_the_habit_says(examples: NearestExamples) -> None:
    def lengths(heed: float) -> list[int]:
        model = SimulatedModel(2, habits=replace(TAME, spiral=1, heed=heed), examples=examples)
        stuck = [ticket.text for ticket in banking77("tickets") if model.persona(ticket.text).style == "stuck"][:40]
        desks = [Desk(model, deny_repeats=2) for _ in stuck]
        for desk, text in zip(desks, stuck, strict=True):
            desk.work(text)
        return [len(desk.log) for desk in desks]

    assert max(lengths(1)) <= 8
    assert min(lengths(0)) >= 30
    assert np.median(lengths(0.5)) < 10


@pytest.mark.parametrize("output", [None, ANSWER])
def test_it_answers_at_once_when_calls_are_forbidden(output: ToolSpec | None, examples: NearestExamples) -> None:
    model = SimulatedModel(2, spiral_rate=1, examples=examples)
    talk = [say("user", "Where is my card?")]
    request = ModelRequest(talk, TOOLS, ModelSettings(1024), "none", output)
    message = asyncio.run(model.request(request)).message
    assert not message.tool_calls
    words = json.loads(message.text)["reply"] if output else message.text
    assert words.endswith("(simulated)")


def test_it_answers_by_the_output_tool_when_it_must_call_one(examples: NearestExamples) -> None:
    model = SimulatedModel(2, spiral_rate=1, examples=examples)
    talk = [say("user", "Where is my card?")]
    request = ModelRequest(talk, TOOLS, ModelSettings(1024), "required", ANSWER)
    assert names(asyncio.run(model.request(request)).message.tool_calls) == ["final_answer"]


@pytest.mark.parametrize(
    ("category", "transactions", "careless", "expected"),
    [
        ("transaction_charged_twice", PAID_TWICE, False, [("t2", 9900)]),
        ("transaction_charged_twice", PAID_TWICE, True, [("t2", 19800)]),
        ("transaction_charged_twice", PAID_TWICE[:2], False, []),
        ("wrong_amount_of_cash_received", SHORT_CASH, False, [("t4", 3000)]),
        ("wrong_amount_of_cash_received", SHORT_CASH, True, [("t4", 8000)]),
    ],
)
def test_refunds_come_from_what_the_tools_said(
    category: str,
    transactions: list[dict[str, Any]],
    careless: bool,
    expected: list[tuple[str, int]],
    examples: NearestExamples,
) -> None:
    model = SimulatedModel(1, habits=replace(TAME, careless=float(careless)), examples=examples)
    calls = Desk(model, transactions).work(question_of(category, examples))
    made = [(refund["transaction_id"], refund["amount_cents"]) for refund in args_of(calls, "refund")]
    assert made == expected
    assert len(args_of(calls, "send_reply")) == 1


@pytest.mark.parametrize(("careless", "card"), [(False, "physical-1"), (True, "virtual-1")])
def test_a_lost_card_is_frozen(careless: bool, card: str, examples: NearestExamples) -> None:
    model = SimulatedModel(1, habits=replace(TAME, careless=float(careless)), examples=examples)
    calls = Desk(model).work(question_of("lost_or_stolen_card", examples))
    assert [freeze["card_id"] for freeze in args_of(calls, "freeze_card")] == [card]


@pytest.mark.parametrize("stubborn", [False, True])
def test_a_denied_write_is_told_to_the_customer(stubborn: bool, examples: NearestExamples) -> None:
    model = SimulatedModel(1, habits=replace(TAME, stubborn=float(stubborn)), examples=examples)
    text = question_of("terminate_account", examples, model, closes=True)
    calls = Desk(model, status={"close_account": "denied"}).work(text)
    assert names(calls).count("close_account") == 1 + stubborn
    reply = args_of(calls, "send_reply")[0]["text"]
    assert reply.count("I cannot close an account from here") == 1
    assert args_of(calls, "final_answer")[0]["actions"] == ["send_reply"]


def test_some_closing_requests_and_few_others_reach_for_the_prohibited_tool(examples: NearestExamples) -> None:
    model = SimulatedModel(1, examples=examples)
    tickets = banking77("tickets")
    closing = [model.persona(ticket.text).closes for ticket in tickets if ticket.category == "terminate_account"]
    assert 0.4 < np.mean(closing) < 0.95
    assert 0.003 < np.mean([model.persona(ticket.text).overreaches for ticket in tickets]) < 0.02


def test_it_hands_over_where_its_margin_is_small(examples: NearestExamples) -> None:
    model = SimulatedModel(1, habits=replace(TAME, unsure_below=0.25), examples=examples)
    for ticket in banking77("tickets")[:150]:
        unsure = examples.classify(ticket.text).margin < 0.25
        assert (names(Desk(model).work(ticket.text))[-1] == "escalate") == unsure


def test_an_unknown_tool_and_broken_arguments_are_tried_once_and_got_over(examples: NearestExamples) -> None:
    text = question_of("card_arrival", examples)
    unknown = Desk(SimulatedModel(1, habits=replace(TAME, unknown_tool=1), examples=examples)).work(text)
    assert names(unknown)[:2] == ["get_customer_profile", "get_account"]
    assert names(unknown)[-1] == "final_answer"
    broken = Desk(SimulatedModel(1, habits=replace(TAME, malformed=1), examples=examples)).work(text)
    with pytest.raises(json.JSONDecodeError):
        json.loads(broken[0].args)
    assert names(broken) == ["get_account", "search_help", "get_account", "send_reply", "final_answer"]


def test_it_works_without_tools_and_with_a_customer_it_cannot_find(examples: NearestExamples) -> None:
    model = SimulatedModel(1, spiral_rate=1, examples=examples)
    for text in ("Where is my card?", "", "\udcff", "x" * 50_000, "Customer  writes:"):
        request = ModelRequest([say("user", text)], [], ModelSettings(1024))
        response = asyncio.run(model.request(request))
        assert response.finish == "stop"
        assert response.message.text.endswith("(simulated)")
    assert asyncio.run(model.request(ModelRequest([], [], ModelSettings(1024)))).message.text


def test_required_arguments_it_does_not_know_get_an_empty_value(examples: NearestExamples) -> None:
    properties = {"customer_id": {}, "urgency": {"enum": ["low", "high"]}, "hours": {"type": "integer"}}
    schema = {"type": "object", "properties": properties, "required": ["customer_id", "urgency", "hours"]}
    request = ModelRequest(
        [say("user", "Where is my card?")], [ToolSpec("get_account", "", schema)], ModelSettings(1024)
    )
    model = SimulatedModel(1, habits=TAME, examples=examples)
    calls = asyncio.run(model.request(request)).message.tool_calls
    assert json.loads(calls[0].args) == {"customer_id": "", "urgency": "low", "hours": 0}


def test_the_bound_is_never_exceeded_and_adds_up(examples: NearestExamples) -> None:
    model = SimulatedModel(2, spiral_rate=0.5, examples=examples)
    talk = [say("system", "Sei höflich – 😀"), say("user", f"Customer {CUSTOMER} writes:\n\nWo ist meine Karte? 💳")]
    known = 0
    for turn in range(12):
        response = asyncio.run(model.request(ModelRequest(talk, TOOLS, ModelSettings(1024))))
        assert response.used is not None
        assert response.used.tokens_in <= model.prompt_bound(talk, TOOLS)
        if turn:
            assert response.used.tokens_in <= known + model.prompt_bound(talk[-2:], ())
        known = response.used.tokens
        talk.append(response.message)
        calls = response.message.tool_calls
        results = [ToolResult(call.id, call.name, '{"cards": []}') for call in calls]
        talk += [Message("tool", list(results)), say("note", "[budget left: 3 steps]")]


@pytest.mark.parametrize("limit", [1, 7, 20, 39, 60])
def test_answers_are_cut_at_the_limit(limit: int, examples: NearestExamples) -> None:
    model = SimulatedModel(1, habits=TAME, examples=examples)
    for tools in ([], TOOLS):
        request = ModelRequest([say("user", "Where is my card?")], tools, ModelSettings(limit))
        whole = asyncio.run(model.request(ModelRequest(request.messages, tools, ModelSettings(1024))))
        response = asyncio.run(model.request(request))
        assert response.used is not None
        assert whole.used is not None
        assert response.used.tokens_out <= limit
        assert (response.finish == "length") == (whole.used.tokens_out > limit)


def test_it_is_labelled_and_priced_like_a_named_model(examples: NearestExamples) -> None:
    model = SimulatedModel(examples=examples)
    price = model.price()
    listed = PriceList().price_of("openai:gpt-4o")
    assert model.simulated
    assert model.name.startswith("simulated:")
    assert isinstance(listed, Price)
    assert (price.input, price.output) == (listed.input, listed.output)
    assert "simulated" in price.source
    assert "gpt-4o" in price.source


def test_a_stream_ends_with_the_whole_answer(examples: NearestExamples) -> None:
    model = SimulatedModel(1, habits=TAME, examples=examples)
    request = ModelRequest([say("user", "Where is my card?")], [], ModelSettings(1024))

    async def collect() -> list[str | ModelResponse]:
        return [piece async for piece in model.stream(request)]

    *words, whole = asyncio.run(collect())
    assert isinstance(whole, ModelResponse)
    assert "".join(str(word) for word in words).strip() == whole.message.text


def test_latency_is_waited_on_the_clock(examples: NearestExamples) -> None:
    class Recorder:
        slept: list[float] = []

        def now_us(self) -> int:
            return 0

        def boot_ns(self) -> int:
            return 0

        async def sleep(self, seconds: float) -> None:
            self.slept.append(seconds)

    model = SimulatedModel(1, latency_seconds=0.25, clock=Recorder(), examples=examples)
    asyncio.run(model.request(ModelRequest([Message("user", [Text("Where is my card?")])], [], ModelSettings(64))))
    assert Recorder.slept == [0.25]


@pytest.mark.parametrize("rate", [-0.1, 1.5, float("nan")])
def test_rates_outside_0_to_1_are_refused(rate: float) -> None:
    with pytest.raises(UsageError, match="rate spiral"):
        SimulatedModel(spiral_rate=rate)


def test_questions_are_typed() -> None:
    assert isinstance(banking77("tickets")[0], Question)
