"""What a call would change, read just before a person is asked whether it may run.

A preview is a function of the tool's author that only reads. It runs as a read of the tool does: with its context, its
deadlines, outside the event loop when it is synchronous. It is no attempt: it has no intent, counts against no limit
and is asked once. What it said is recorded with the question and belongs to it; replay reads it nowhere, for an agent
never sees it. A preview that fails, hangs or says too much costs the person a look, not the run its life.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from penstock.events import Change, Preview
from penstock.gates.run.call import Call
from penstock.gates.run.context import RunContext
from penstock.gates.run.deadline import at_most
from penstock.gates.run.mailbox import WaitCut
from penstock.gates.tool.execution import Result, Start, run_tool
from penstock.kernel.canonical import clean_text, describe, stable_json
from penstock.ports.tools import ToolDef

PREVIEW_MAX_SECONDS = 5.0
"""A question that comes later than this is worse than one without the state before: the run's own seconds go by, and
nothing shows that it is about to ask."""
CHANGES_MAX = 50
"""More than a person reads before deciding; and a call that changes more is better described by one line with a sum."""
TEXT_MAX_BYTES = 2000
"""Of each text of a change, in UTF-8. All of them together stay below 300 kB."""
WHY_MAX_CHARS = 300
_TOO_LARGE = "its preview is larger than a payload may be"
_ESCAPES = 6
"""Characters that one which cannot be stored becomes, at most."""


async def preview_data(ctx: RunContext, call: Call, tool: ToolDef, args: dict[str, Any]) -> bytes:
    """The stored form of what the tool's preview says of a call with these arguments, or why it says nothing.

    Does not return when the run is being stopped.

    Raises:
        WaitCut: a time-out around the call fired meanwhile.
    """
    assert tool.preview is not None
    seconds = at_most(ctx, min(tool.timeout_seconds, PREVIEW_MAX_SECONDS))
    reader = dataclasses.replace(tool.preview, call=_plainly(tool.preview), timeout_seconds=seconds)
    start = Start(0, "", seconds, ctx.services.clock.boot_ns() + int(seconds * 1e9))
    try:
        result = await run_tool(ctx, call, reader, args, start)
    except Exception as error:  # from the schema: it does not take back the arguments that it gave
        result = Result(value=f"its preview failed: {describe(error, WHY_MAX_CHARS)}")
    if ctx.fault is not None:
        await ctx.halt()
    if call.branch.cut:
        raise WaitCut
    data, limit = stable_json(_preview(result)), ctx.services.settings.payload_max_bytes
    return data if len(data) <= limit else stable_json(Preview(unknown=_TOO_LARGE))


def _preview(result: Result) -> Preview:
    if result.failure is not None:
        if result.failure.code == "tool_result_invalid":  # plain it is
            return Preview(unknown=_TOO_LARGE)
        words = result.failure.words or result.failure.code
        return Preview(unknown=clean_text(f"its preview failed: {words}", WHY_MAX_CHARS))
    if isinstance(result.value, str):
        return Preview(unknown=result.value)
    return Preview(msgspec.convert(result.value, list[Change]))


def _plainly(tool: ToolDef) -> Callable[..., Any]:
    """The preview, with what it returns made plain where it runs: a generator is used up there, within its time."""
    function = tool.call
    if not tool.is_async:
        return lambda **kwargs: _plain(function(**kwargs))

    async def read(**kwargs: Any) -> Any:
        return _plain(await function(**kwargs))

    return read


def _plain(returned: Any) -> list[dict[str, str]] | str:
    """The changes as plain values, or in words why they are none."""
    if isinstance(returned, str | bytes | Mapping) or not isinstance(returned, Iterable):
        return f"its preview returned {type(returned).__name__}, not a sequence of changes"
    found = list(itertools.islice(returned, CHANGES_MAX + 1))
    if len(found) > CHANGES_MAX:
        return f"its preview named more than {CHANGES_MAX} changes"
    plain: list[dict[str, str]] = []
    for change in found:
        if not isinstance(change, Change):
            return f"its preview returned {type(change).__name__} among the changes"
        texts = {"what": change.what, "before": change.before, "after": change.after}
        for name, text in texts.items():
            if not isinstance(text, str):
                return f"its preview returned a change whose {name} is {type(text).__name__}, not text"
            texts[name] = clean_text(text[: TEXT_MAX_BYTES + 1], _ESCAPES * (TEXT_MAX_BYTES + 1))
            if len(texts[name].encode()) > TEXT_MAX_BYTES:
                return f"its preview returned a text of more than {TEXT_MAX_BYTES:,} bytes"
        plain.append(texts)
    return plain
