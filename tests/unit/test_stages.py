"""`prepare`, `consequence` and `compensate`: what they are given, what they may do, and what becomes of the run."""

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel

from penstock import Agent, Budget, Failed, Reject, Revise, Run, agent, escalate, tool
from penstock.events import StageEnded, StageEntered
from penstock.kernel.errors import AgentInvalid, InputInvalid, ToolFailed
from penstock.runs.client import Penstock
from penstock.testing import ScriptedModel, in_memory, tool_call
from penstock.views.trace import read_events, read_trace


class Ticket(BaseModel):
    customer: str
    words: str


class Reply(BaseModel):
    words: str
    sure: bool = True


class Case(BaseModel):
    words: str
    orders: list[str]


sent: list[str] = []


@pytest.fixture(autouse=True)
def clean() -> None:
    sent.clear()


@tool(effect="read")
async def orders_of(customer: str) -> list[str]:
    """The customer's orders."""
    return [f"{customer}-1"]


@tool(effect="write", permission="auto", in_doubt="idempotent")
async def send(words: str) -> str:
    """Send words to the customer."""
    sent.append(words)
    return "sent"


@tool(effect="write", permission="auto", in_doubt="idempotent")
async def take_back(words: str) -> str:
    """Take back what was sent."""
    sent.append(f"not {words}")
    return "taken back"


@tool(effect="write", permission="auto", in_doubt="idempotent")
async def broken(words: str) -> str:
    """Always fails."""
    raise ValueError("out of order")


async def gather(run: Run, ticket: Ticket) -> Case:
    if ticket.words == "spam":
        raise Reject("that is spam", "spam")
    return Case(words=ticket.words, orders=await run.call(orders_of, ticket.customer))


async def deliver(run: Run, case: Any, reply: str) -> str:
    await run.call(send, reply)
    return reply.upper()


def desk(model: ScriptedModel, **options: Any) -> Agent:
    return Agent("desk", model=model, instructions="Help.", prepare=gather, **options)


async def trace_of(platform: Penstock, run: Any) -> list[tuple[str, str, str, str]]:
    trace = await read_trace(platform.journal, "default", run)
    found = []

    def add(spans: list[Any]) -> None:
        for span in spans:
            found.append((span.path, span.kind, span.name, span.status))
            add(span.spans)

    add(trace.spans)
    return found


class TestPrepare:
    async def test_it_takes_the_input_and_gives_what_the_agent_works_on(self) -> None:
        model = ScriptedModel(["done"])
        async with in_memory() as platform:
            result = await desk(model).run(Ticket(customer="c", words="help"))
            spans = await trace_of(platform, result.run)
        assert result.output == "done"
        assert model.calls[0].messages[1].text == '{"orders":["c-1"],"words":"help"}'
        assert spans == [
            ("0", "stage", "prepare", "ok"),
            ("0.0.0", "tool", "orders_of", "ok"),
            ("1", "model", "scripted:model", "ok"),
        ]

    async def test_a_function_takes_what_it_gives(self) -> None:
        @agent("reader", prepare=gather)
        async def reader(run: Run, case: Case) -> list[str]:
            assert isinstance(case, Case)
            return case.orders

        async with in_memory():
            assert (await reader.run(Ticket(customer="c", words="help"))).output == ["c-1"]

    async def test_a_rejected_input_costs_no_model_call_and_nothing_else(self) -> None:
        model = ScriptedModel(["never"])
        async with in_memory() as platform:
            result = await desk(model, budget=Budget(tokens=5000)).run(Ticket(customer="c", words="spam"))
            events = await read_events(platform.journal, "default", result.run)
        assert (result.outcome, result.code, result.reason) == ("refused", "spam", "that is spam")
        assert model.calls == []
        assert (result.totals.model_calls, result.totals.tokens, result.totals.nano) == (0, 0, 0)
        [ended] = [event for event in events if isinstance(event, StageEnded)]
        assert ended.failure is not None
        assert (ended.failure.code, ended.failure.words) == ("rejected", "that is spam")

    async def test_a_rejection_may_be_returned(self) -> None:
        async def no(run: Run, value: str) -> Any:
            return Reject("not today", "closed")

        model = ScriptedModel(["never"])
        async with in_memory():
            result = await Agent("shop", model=model, instructions="Sell.", prepare=no).run("a loaf")
        assert (result.outcome, result.code, model.calls) == ("refused", "closed", [])

    @pytest.mark.parametrize("where", ["model", "storage"])
    async def test_an_input_that_does_not_validate_is_refused_in_words(self, where: str) -> None:
        async def check(run: Run, value: dict[str, Any]) -> str:
            if where == "storage":
                raise InputInvalid("the input is too odd")
            return Ticket.model_validate(value).words

        model = ScriptedModel(["never"])
        async with in_memory():
            result = await Agent("desk", model=model, instructions="Help.", prepare=check).run({"customer": "c"})
        assert (result.outcome, result.code, model.calls) == ("refused", "input_invalid", [])
        assert result.reason == (
            "the input is too odd" if where == "storage" else "the input of desk is not valid: words: Field required"
        )

    async def test_an_input_that_is_of_the_wrong_type_is_not_submitted(self) -> None:
        async with in_memory() as platform:
            with pytest.raises(InputInvalid, match="words"):
                await desk(ScriptedModel(["never"])).run({"customer": "c"})
            assert await platform.journal.tenants() == []

    async def test_what_the_agent_cannot_take_is_the_agents_fault(self) -> None:
        async def wrong(run: Run, value: str) -> Any:
            return 5

        @agent("reader", prepare=wrong)
        async def reader(run: Run, case: Case) -> str:
            return "never"

        async with in_memory():
            result = await reader.run("x")
        assert (result.outcome, result.code) == ("failed", "agent_invalid")
        assert "prepare of reader" in result.reason

    async def test_its_failure_is_the_runs(self) -> None:
        async def fails(run: Run, value: str) -> str:
            await run.call(broken, value)
            return value

        async with in_memory():
            result = await Agent("a", model=ScriptedModel(["never"]), instructions="x", prepare=fails).run("x")
        assert (result.outcome, result.code) == ("failed", "tool_failed")


class TestConsequence:
    async def test_it_delivers_and_gives_the_result(self) -> None:
        async with in_memory() as platform:
            result = await desk(ScriptedModel(["hello"]), consequence=deliver).run(Ticket(customer="c", words="hi"))
            spans = await trace_of(platform, result.run)
        assert (result.output, sent) == ("HELLO", ["hello"])
        assert spans[3:] == [("2", "stage", "consequence", "ok"), ("2.0.0", "tool", "send", "ok")]

    async def test_what_it_is_annotated_to_return_is_what_the_run_gives(self) -> None:
        async def wrap(run: Run, value: str, result: str) -> Reply:
            return Reply(words=result)

        async with in_memory():
            result = await Agent("a", model=ScriptedModel(["hi"]), instructions="x", consequence=wrap).run("x")
        assert result.output == Reply(words="hi")

    async def test_it_may_route_to_another_agent(self) -> None:
        second = Agent("second", model=ScriptedModel(["from the second"]), instructions="x")

        async def route(run: Run, value: str, result: str) -> str:
            return str(await run.call(second, result))

        async with in_memory():
            result = await Agent("a", model=ScriptedModel(["pass on"]), instructions="x", consequence=route).run("x")
        assert result.output == "from the second"

    async def test_the_model_is_told_why_its_answer_was_sent_back(self) -> None:
        async def check(run: Run, value: str, result: str) -> str:
            if "please" not in result:
                raise Revise("say please")
            return result

        model = ScriptedModel(["go away", "please go away"])
        async with in_memory():
            result = await Agent("a", model=model, instructions="x", consequence=check).run("x")
        assert (result.outcome, result.output) == ("succeeded", "please go away")
        told = [(message.role, message.text) for message in model.calls[1].messages[1:]]
        assert told == [
            ("user", "x"),
            ("assistant", "go away"),
            ("user", "Your answer was not accepted: say please. Answer again."),
        ]

    async def test_a_function_finds_why_it_works_once_more(self) -> None:
        async def check(run: Run, value: int, result: int) -> Any:
            return Revise(f"{result} is odd") if result % 2 else result

        @agent("even", consequence=check, revisions=3)
        async def even(run: Run, value: int) -> int:
            return value if run.revision is None else run.revision.result + run.revision.number

        async with in_memory():
            assert (await even.run(3)).output == 4

    @pytest.mark.parametrize("revisions", [0, 2])
    async def test_it_sends_back_only_so_often_then_a_person_has_it(self, revisions: int) -> None:
        async def never(run: Run, value: str, result: str) -> str:
            raise Revise("not good enough")

        model = ScriptedModel(["x"], repeat=True)
        async with in_memory():
            made = Agent("a", model=model, instructions="x", consequence=never, revisions=revisions)
            result = await made.run("x")
        assert (result.outcome, len(model.calls)) == ("escalated", 1 + revisions)
        assert "not good enough" in result.reason
        assert result.output == "x"

    async def test_it_may_refuse_and_escalate(self) -> None:
        async def refuse(run: Run, value: str, result: str) -> str:
            raise Reject("the answer is rude", "rude")

        async def hand_over(run: Run, value: str, result: str) -> str:
            escalate("I am not sure")

        async with in_memory():
            for stage, outcome, code in ((refuse, "refused", "rude"), (hand_over, "escalated", "escalated")):
                made = Agent(outcome, model=ScriptedModel(["x"]), instructions="x", consequence=stage)
                result = await made.run("x")
                assert (result.outcome, result.code) == (outcome, code)

    async def test_it_sees_the_answer_of_the_fallback(self) -> None:
        spare = Agent("spare", model=ScriptedModel(["from the spare"]), instructions="x")
        failing = ScriptedModel([ValueError("down")], repeat=True)
        async with in_memory():
            made = Agent("a", model=failing, instructions="x", fallback=spare, consequence=deliver)
            result = await made.run("x")
        assert (result.code, result.output, sent) == ("fallback", "FROM THE SPARE", ["from the spare"])

    async def test_the_budget_counts_what_stages_use(self) -> None:
        async with in_memory():
            made = Agent(
                "a",
                model=ScriptedModel(["x"]),
                instructions="x",
                consequence=deliver,
                budget=Budget(calls=1, tokens=9000),
            )
            result = await made.run("x")
        assert result.totals.tool_calls == 1


async def undo(run: Run, value: Any, failed: Failed) -> None:
    for write in failed.writes:
        if write.tool == "send":
            await run.call(take_back, write.args["words"])


class TestCompensate:
    async def test_it_is_told_what_took_effect_and_why_it_failed(self) -> None:
        told: list[Failed] = []

        async def note(run: Run, value: str, failed: Failed) -> None:
            told.append(failed)

        @agent("sender", compensate=note)
        async def sender(run: Run, value: str) -> str:
            await run.call(send, value)
            await run.call(orders_of, value)
            with pytest.raises(ToolFailed):
                await run.call(broken, value)
            raise ValueError("boom")

        async with in_memory():
            result = await sender.run("hello")
        assert (result.outcome, result.code, result.missing) == ("failed", "agent_raised", ["the final answer"])
        [failed] = told
        assert (failed.outcome, failed.code, failed.reason) == ("failed", "agent_raised", "ValueError: boom")
        [write] = failed.writes
        assert (write.tool, write.args, write.result, write.path) == ("send", {"words": "hello"}, "sent", "0")

    async def test_it_takes_back_and_the_run_has_failed_all_the_same(self) -> None:
        async def refuse(run: Run, value: str, result: str) -> str:
            await run.call(send, result)
            raise Reject("on second thoughts", "regret")

        async with in_memory() as platform:
            made = Agent("a", model=ScriptedModel(["x"]), instructions="x", consequence=refuse, compensate=undo)
            result = await made.run("x")
            spans = await trace_of(platform, result.run)
        assert (result.outcome, result.code, sent) == ("refused", "regret", ["x", "not x"])
        assert [span[2:] for span in spans if span[1] == "stage"] == [("consequence", "error"), ("compensate", "ok")]

    async def test_without_effects_there_is_nothing_to_take_back(self) -> None:
        @agent("reader", compensate=undo)
        async def reader(run: Run, value: str) -> str:
            await run.call(orders_of, value)
            raise ValueError("boom")

        async with in_memory() as platform:
            result = await reader.run("x")
            events = await read_events(platform.journal, "default", result.run)
        assert not [event for event in events if isinstance(event, StageEntered)]

    async def test_an_output_that_does_not_fit_counts_as_failed(self) -> None:
        @agent("sender", compensate=undo)
        async def sender(run: Run, value: str) -> int:
            await run.call(send, value)
            return "no number"  # type: ignore[return-value]

        async with in_memory():
            result = await sender.run("x")
        assert (result.code, sent) == ("output_invalid", ["x", "not x"])

    async def test_its_own_failure_is_said_beside_the_first(self) -> None:
        async def fails(run: Run, value: str, failed: Failed) -> None:
            await run.call(broken, value)

        @agent("sender", compensate=fails)
        async def sender(run: Run, value: str) -> str:
            await run.call(send, value)
            raise ValueError("boom")

        async with in_memory():
            result = await sender.run("x")
        assert (result.code, result.reason) == ("agent_raised", "ValueError: boom")
        assert result.missing[1] == "compensation of send at 0"
        assert "out of order" in result.missing[2]

    async def test_an_escalated_case_is_left_as_it_stands(self) -> None:
        @agent("sender", compensate=undo)
        async def sender(run: Run, value: str) -> str:
            await run.call(send, value)
            escalate("a person should look")

        async with in_memory():
            result = await sender.run("x")
        assert (result.outcome, sent) == ("escalated", ["x"])


class TestWhenTheEngineEndsTheRun:
    """Gates are closed then: no stage runs, and what stands is said."""

    async def test_after_exhaustion_neither_consequence_nor_compensate_runs(self) -> None:
        model = ScriptedModel([tool_call("send", words="one"), tool_call("send", words="two")], repeat=True)
        async with in_memory():
            made = Agent(
                "a",
                model=model,
                instructions="x",
                tools=[send],
                budget=Budget(calls=1),
                consequence=deliver,
                compensate=undo,
            )
            result = await made.run("x")
        assert result.outcome == "exhausted", result
        assert sent == ["one"]
        assert "compensation of send at 1" in result.missing

    async def test_nor_after_a_cancel(self) -> None:
        @agent("waiter", compensate=undo, consequence=deliver)
        async def waiter(run: Run, value: str) -> str:
            await run.call(send, value)
            await run.sleep(3600)
            return value

        async with in_memory() as platform:
            run = await platform.submit(waiter, "x")
            while not sent:
                await asyncio.sleep(0.01)
            await platform.cancel(run, actor="ada")
            result = await platform.result(run, timeout_seconds=60)
        assert (result.outcome, sent) == ("cancelled", ["x"])
        assert "compensation of send at 0" in result.missing


class TestDeclaring:
    def test_an_agent_without_stages_keeps_its_release(self) -> None:
        plain = Agent("a", model="m:x", instructions="x")
        assert Agent("a", model="m:x", instructions="x", revisions=5).release == plain.release
        assert Agent("a", model="m:x", instructions="x", consequence=deliver).release != plain.release

    def test_a_change_of_a_stage_is_a_new_release(self) -> None:
        releases = {
            Agent("a", model="m:x", instructions="x", **options).release
            for options in ({"prepare": gather}, {"consequence": deliver}, {"compensate": undo}, {"consequence": undo})
        }
        assert len(releases) == 4

    def test_another_model_keeps_the_stages(self) -> None:
        made = Agent("a", model="m:x", instructions="x", prepare=gather, consequence=deliver)
        assert made.with_model("m:y").stages == made.stages
        assert made.with_model("m:x").release == made.release

    @pytest.mark.parametrize(
        "options",
        [
            {"prepare": deliver},
            {"consequence": gather},
            {"compensate": gather},
            {"prepare": "gather"},
            {"prepare": lambda run, value: value},
            {"revisions": -1},
            {"revisions": 101},
        ],
    )
    def test_what_is_no_stage_is_refused(self, options: dict[str, Any]) -> None:
        with pytest.raises(AgentInvalid):
            Agent("a", model="m:x", instructions="x", **options)
        with pytest.raises(AgentInvalid):
            agent("a", **options)
