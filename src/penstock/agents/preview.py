"""What `@tool(preview=…)` declares: a function that reads what a call would change."""

import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from penstock.events import Change
from penstock.kernel.errors import ToolInvalid
from penstock.ports.tools import IdempotencyKey, ToolContext, ToolDef

PreviewFunction = Callable[..., Sequence[Change] | Awaitable[Sequence[Change]]]
"""Given those of the tool's own arguments that it names: what the call would change. Must only read."""


def preview_of(tool: ToolDef, function: PreviewFunction, hints: dict[str, Any]) -> ToolDef:
    """The preview of a tool, as a read of the same name that takes the arguments which it names.

    It is no part of the tool's digest: an agent never sees what it says, so a release with a better one can go on with
    the runs of the one before.

    Args:
        hints: its annotations, resolved.

    Raises:
        ToolInvalid: it takes what the tool does not, or returns nothing that could be waited for.
    """
    label = tool.name
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ToolInvalid(f"the preview of the tool {label} is a generator", hint="return a list of changes")
    filled = (tool.key_param, tool.context_param)
    known = [name for name in inspect.signature(tool.call).parameters if name not in filled]
    wanted: list[str] = []
    context_param = None
    for parameter in inspect.signature(function).parameters.values():
        hint = hints.get(parameter.name, Any)
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise ToolInvalid(
                f"the preview of the tool {label} has the parameter {parameter}", hint="name what it needs"
            )
        if hint is ToolContext:
            context_param = parameter.name
        elif hint is IdempotencyKey:
            raise ToolInvalid(f"the preview of the tool {label} takes a key, but it only reads")
        elif parameter.name in known:
            wanted.append(parameter.name)
        elif parameter.default is parameter.empty:
            raise ToolInvalid(
                f"the preview of the tool {label} takes {parameter.name!r}, which the tool does not",
                hint=f"it can have {', '.join(known) or 'none'}, and a ToolContext",
            )

    def bind(plain: dict[str, Any]) -> dict[str, Any]:
        values = tool.bind(plain)
        return {name: values[name] for name in wanted}

    return replace(
        tool,
        call=function,
        is_async=inspect.iscoroutinefunction(function),
        effect="read",
        risk="low",
        permission="auto",
        in_doubt="idempotent",
        bind=bind,
        validators=(),
        confirm=None,
        key_param=None,
        context_param=context_param,
        retry_on=(),
    )
