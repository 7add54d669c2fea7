"""A measured peer process: the same ticket as a LangGraph graph with its PostgreSQL checkpointer.

``python -m benchmarks.peer_worker '{"dsn": …, "pool": …, "first": …, "step": …}'``, then a `Trial` in JSON a line.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable
from typing import Annotated, Any, TypedDict
from uuid import uuid4

import uvloop
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool

from benchmarks import ticket
from benchmarks.bench import clock
from benchmarks.trial import Tickets, Trial, serve, until


class State(TypedDict):
    """What the checkpointer keeps of a conversation."""

    messages: Annotated[list[AnyMessage], add_messages]


async def model_node(state: State) -> dict[str, Any]:
    """One answer of the fake model."""
    messages = state["messages"]
    turn = sum(isinstance(message, AIMessage) for message in messages)
    said = ticket.answer(turn, ticket.number_of(str(messages[1].content)))
    tokens_in, tokens_out = ticket.tokens_of(turn)
    usage = UsageMetadata(input_tokens=tokens_in, output_tokens=tokens_out, total_tokens=tokens_in + tokens_out)
    if isinstance(said, str):
        return {"messages": [AIMessage(said, usage_metadata=usage)]}
    call = tool_call(name=said[0], args=json.loads(said[1]), id=f"call-{turn}")
    return {"messages": [AIMessage("", tool_calls=[call], usage_metadata=usage)]}


async def tools_node(state: State) -> dict[str, Any]:
    """The tool calls of the last answer."""
    last = state["messages"][-1]
    assert isinstance(last, AIMessage)
    results = []
    for call in last.tool_calls:
        value = await ticket.TOOLS[call["name"]](**call["args"])
        results.append(ToolMessage(json.dumps(value), tool_call_id=call["id"] or "", name=call["name"]))
    return {"messages": results}


def next_step(state: State) -> str:
    """Tools when the last answer asks for some, else the end."""
    last = state["messages"][-1]
    return "tools" if isinstance(last, AIMessage) and last.tool_calls else END


def graph(saver: AsyncPostgresSaver) -> Any:
    """Model and tools in turn, as LangGraph's own agents are built."""
    builder = StateGraph(State)
    builder.add_node("model", model_node)
    builder.add_node("tools", tools_node)
    builder.add_edge(START, "model")
    builder.add_conditional_edges("model", next_step, ["tools", END])
    builder.add_edge("tools", "model")
    return builder.compile(checkpointer=saver)


async def one(compiled: Any, number: int, durability: str) -> None:
    """One ticket from the beginning to the last answer.

    Raises:
        RuntimeError: it ended with another answer than the fake's last.
    """
    opening = [SystemMessage(ticket.INSTRUCTIONS), HumanMessage(ticket.text_of(number))]
    config: RunnableConfig = {"configurable": {"thread_id": str(uuid4())}}
    final = await compiled.ainvoke({"messages": opening}, config, durability=durability)
    if final["messages"][-1].content != ticket.answer(ticket.TOOL_CALLS, str(number)):
        raise RuntimeError(f"the graph of ticket {number} ended with {final['messages'][-1]!r}")


async def work(dsn: str, pool: int, first: int, step: int) -> None:
    """One trial after another until told to stop."""
    options = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    opened: AsyncConnectionPool[AsyncConnection[DictRow]] = AsyncConnectionPool(
        dsn, min_size=pool, max_size=pool, kwargs=options, open=False
    )
    tickets = Tickets(first, step)

    async def attempt(trial: Trial) -> float:
        graphs = [graph(AsyncPostgresSaver(opened)) for _ in range(trial.lanes)]
        begun = clock()

        def lane(place: int) -> Awaitable[None]:
            compiled = graphs[place % trial.lanes]
            return until(trial.seconds, lambda: one(compiled, tickets.take(), trial.mode))

        await asyncio.gather(*map(lane, range(trial.concurrency)))
        return clock() - begun

    async with opened:
        await AsyncPostgresSaver(opened).setup()
        await serve(tickets, attempt)


if __name__ == "__main__":
    uvloop.run(work(**json.loads(sys.argv[1])))
