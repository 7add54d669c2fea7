"""The standard loop: model → tools → model, until the model answers."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
from pydantic_core import to_jsonable_python

from penstock.agents.memory import recall
from penstock.agents.run import Run, escalate
from penstock.agents.tool import Tool
from penstock.events.messages import Message, Part, Text, ToolCall, ToolResult, say
from penstock.gates.model.conversation import Conversation
from penstock.gates.model.gate import call_model
from penstock.gates.model.plan import ModelCall
from penstock.gates.run.words import budget_line
from penstock.gates.snapshots.snapshot import keep_state, resume_loop
from penstock.gates.tool.gate import ToolCallAsked, ToolReturn, call_tool
from penstock.gates.tool.help import NAME as HELP
from penstock.gates.tool.help import ask_person
from penstock.gates.waits.child_gate import ChildAsked, call_child
from penstock.kernel.canonical import stable_json
from penstock.kernel.errors import CallDenied, ChildFailed, InputInvalid, OutputInvalid
from penstock.kernel.money import show_usd

if TYPE_CHECKING:
    from penstock.agents.agent import Agent, AgentTool

MAX_CALLS_A_TURN = 32  # tool calls taken from one answer; the rest are refused in words


async def standard_loop(run: Run, agent: "Agent", text: str) -> Any:
    """Run an agent on one input.

    Raises:
        OutputInvalid: the answer did not fit after the allowed repairs.
        Escalation: the model handed the case to a person.
    """
    model, fallbacks = run.model(agent.model), [run.model(other) for other in agent.fallback_models]
    resumed = await resume_loop(run.context) if run.revision is None else None
    conversation, repairs = resumed or (await _begin(run, agent, text), 0)
    accepts = partial(_accepts, agent) if agent.cache is not None else None
    while True:
        if run.revision is None and agent.stages.compensate is None:
            await keep_state(run.context, conversation, repairs)
        turn = await call_model(
            run.context,
            ModelCall(
                model,
                conversation,
                agent.specs,
                agent.tools_digest,
                agent.output_tool,
                agent.settings,
                "repair" if repairs else "step",
                agent.attempts,
                fallbacks=fallbacks,
                hedge_after=agent.hedge_after_seconds,
                cache=agent.cache,
                accepts=accepts,
            ),
        )
        conversation.add_known(turn.message, turn.ref)
        calls, words = turn.message.tool_calls, turn.message.text
        if words:
            run.keep_partial(words)
        _escalate_if_asked(agent, calls)
        answer = _answer(agent, calls, words, last=turn.last)
        if answer is None:
            results = await use_tools(run, agent.tools, calls, asks_people=agent.can_escalate == "wait")
            conversation.add(Message("tool", [*results, *_budget_left(run, agent)]))
        else:
            try:
                return agent.parse_output(answer)
            except ValueError as error:
                if turn.last or repairs >= agent.repairs:
                    raise OutputInvalid(f"the answer did not fit after {repairs} repairs: {error}") from error
                repairs += 1
                conversation.add(_send_back(calls, str(error)))


async def _begin(run: Run, agent: "Agent", text: str) -> Conversation:
    """The conversation as it begins: what the agent remembers of the session, if it does, and what it is asked."""
    recalled = await recall(run, agent.memory) if agent.memory is not None else []
    opening = [say("system", agent.instructions), *recalled, say("user", text)]
    if run.revision is not None:
        sent_back = say("user", f"Your answer was not accepted: {run.revision.words}. Answer again.")
        opening += [say("assistant", as_text(to_jsonable_python(run.revision.result))), sent_back]
    return Conversation(opening, len(opening) if recalled else None)


def _answer(agent: "Agent", calls: Sequence[ToolCall], words: str, *, last: bool) -> str | None:
    """The text of the final answer; None when the model wants tools first."""
    if agent.output_tool is not None:
        for call in calls:
            if call.name == agent.output_tool.name:
                return call.args
    return None if calls and not last else words


def _accepts(agent: "Agent", message: Message) -> bool:
    """Whether an answer can be used as it is: its calls can be made, or it is an answer that fits."""
    answer = _answer(agent, message.tool_calls, message.text, last=False)
    try:
        if answer is not None:
            agent.parse_output(answer)
            return True
        for call in message.tool_calls:
            tool = agent.tools[call.name]
            if isinstance(tool, Tool):
                tool.definition.read_args(call.args)
    except (ValueError, KeyError, InputInvalid):
        return False
    return True


def _escalate_if_asked(agent: "Agent", calls: list[ToolCall]) -> None:
    if agent.can_escalate is not True:
        return
    for call in calls:
        if call.name == HELP:
            escalate(_why(call))


def _why(call: ToolCall) -> str:
    try:
        reason = str(msgspec.json.decode(call.args).get("reason", ""))
    except (msgspec.DecodeError, AttributeError):
        reason = ""
    return reason or "the agent is not confident"


async def _ask_person(run: Run, call: ToolCall) -> ToolResult:
    found = await ask_person(run.context, _why(call), call_id=call.id)
    if found.status == "answered":
        return ToolResult(call.id, call.name, found.words)
    return ToolResult(call.id, call.name, "nobody answered in time", "denied")


async def use_tools(
    run: Run,
    tools: "Mapping[str, Tool[..., Any] | AgentTool]",
    calls: Sequence[ToolCall],
    *,
    asks_people: bool = False,
) -> list[Part]:
    """Make the calls that a model asks for. Every call gets exactly one result; several run side by side."""
    use = partial(_use_tool, run, tools, asks_people=asks_people)
    taken, rest = calls[:MAX_CALLS_A_TURN], calls[MAX_CALLS_A_TURN:]
    if len(taken) == 1:
        results: list[Part] = [await use(taken[0])]
    else:
        results = await run.gather(*(use(call) for call in taken))
    for call in rest:
        results.append(ToolResult(call.id, call.name, f"not done: more than {MAX_CALLS_A_TURN} calls at once", "error"))
    return results


async def _use_tool(
    run: Run, tools: "Mapping[str, Tool[..., Any] | AgentTool]", call: ToolCall, *, asks_people: bool = False
) -> ToolResult:
    if asks_people and call.name == HELP:
        return await _ask_person(run, call)
    tool = tools.get(call.name)
    if tool is not None and not isinstance(tool, Tool):
        return await _delegate(run, tool, call)
    definition = tool.definition if tool is not None else None
    returned = await call_tool(run.context, ToolCallAsked(call.name, definition, call.args, call.id))
    return ToolResult(call.id, call.name, _words(returned), returned.status)


async def _delegate(run: Run, tool: Any, call: ToolCall) -> ToolResult:
    """A tool that is an agent: a child run."""
    try:
        value = tool.agent.plain_input(msgspec.json.decode(call.args)["input"])
    except (msgspec.DecodeError, KeyError, TypeError, InputInvalid) as error:
        words = error.what if isinstance(error, InputInvalid) else 'write {"input": …}'
        return ToolResult(call.id, call.name, f"arguments not accepted: {words}", "error")
    try:
        data = await call_child(run.context, ChildAsked(tool.agent, value, tool.budget, call.id))
    except CallDenied as error:
        return ToolResult(call.id, call.name, f"denied: {error.what}", "denied")
    except ChildFailed as error:
        return ToolResult(call.id, call.name, error.what, "error")
    answer = msgspec.json.decode(data) if data else None
    return ToolResult(call.id, call.name, as_text(answer))


def _words(returned: ToolReturn) -> str:
    words = returned.words or as_text(returned.value)
    return f"{words}\n\n[{returned.note}]" if returned.note else words


def as_text(value: Any) -> str:
    """A value for a model to read: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else stable_json(value).decode()


def _send_back(calls: list[ToolCall], words: str) -> Message:
    """Tell the model what was wrong with its answer; every call of its gets a result."""
    advice = f"Your answer was not accepted: {words}. Answer again."
    if not calls:
        return say("user", advice)
    results: list[Part] = [ToolResult(call.id, call.name, advice, "error") for call in calls]
    return Message("tool", results)


def _budget_left(run: Run, agent: "Agent") -> list[Part]:
    """What remains, in words for the model, from figures that replay."""
    if not agent.show_budget:
        return []
    budget, seen = run.budget, run.seen
    line = budget_line((seen.tokens, budget.tokens), (seen.nano, budget.nano), (seen.steps, budget.steps), show_usd)
    return [Text(line)] if line else []
