"""What the engine does for one run, counted in calls of its functions: time is noisy, and it would creep up unseen."""

import sys
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType

import penstock
from penstock import Agent, Budget, Settings, tool
from penstock.adapters.memory import MemoryJournal
from penstock.events.messages import ToolCall
from penstock.testing import ScriptedModel
from penstock.testing.models import Script
from penstock.wiring import assemble

CALLS_MOST = 2_850
"""Of functions of the package, for a run of five answers and four tool calls where nothing is configured: no breaker,
no budget above the task, no cache, no policy."""
SOURCE = str(Path(penstock.__file__).parent)
NOT_THE_ENGINE = (f"{SOURCE}/testing/", f"{SOURCE}/runs/usage.py", f"{SOURCE}/journal/calls.py")
"""The model, and what counts the ends of many runs together."""


@tool(effect="read")
async def look_up(ticket: str) -> dict[str, object]:
    return {"ticket": ticket, "state": "open"}


@tool(effect="write", permission="auto", in_doubt="idempotent")
async def add_note(ticket: str, text: str) -> str:
    return "noted"


def desk() -> Agent:
    script: list[Script] = [
        ToolCall("", "look_up", '{"ticket": "a"}'),
        ToolCall("", "look_up", '{"ticket": "b"}'),
        ToolCall("", "add_note", '{"ticket": "a", "text": "charged twice, the second one is pending"}'),
        ToolCall("", "add_note", '{"ticket": "b", "text": "the second charge will be released in two days"}'),
        "It will be released within two days.",
    ]
    return Agent(
        "desk",
        model=ScriptedModel(script, repeat=True),
        instructions="Be brief.",
        tools=[look_up, add_note],
        budget=Budget(tokens=30_000, usd="0.50", steps=12, calls=12, attempts=3, seconds=600),
    )


async def counted(runs: int) -> list[Counter[str]]:
    """The calls of each of some runs, one after the other, by file and function."""
    agent = desk()
    found: list[Counter[str]] = []
    async with assemble(MemoryJournal(), Settings(), agents=[agent]) as platform:
        platform.start_worker("w")
        for number in range(runs):
            calls: Counter[CodeType] = Counter()

            def take(frame: FrameType, event: str, _: object, calls: Counter[CodeType] = calls) -> None:
                if event == "call":
                    calls[frame.f_code] += 1

            sys.setprofile(take)
            try:
                result = await platform.run(agent, f"ticket {number}")
            finally:
                sys.setprofile(None)
            assert result.outcome == "succeeded"
            found.append(
                Counter(
                    {
                        f"{code.co_filename.removeprefix(SOURCE)}:{code.co_qualname}": count
                        for code, count in calls.items()
                        if code.co_filename.startswith(SOURCE) and not code.co_filename.startswith(NOT_THE_ENGINE)
                    }
                )
            )
    return found


async def test_a_run_takes_no_more_calls_than_it_did() -> None:
    least = min(await counted(8), key=lambda calls: calls.total())  # the first warms up, and others meet what is timed
    most = "\n".join(f"{count:5} {name}" for name, count in least.most_common(60))
    assert least.total() <= CALLS_MOST, f"{least.total()} calls; the most of\n{most}"
