"""The tools of a pydantic-ai agent under the tool gate."""

import contextvars
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic_ai import exceptions as library_errors
from pydantic_ai.messages import ToolReturn
from pydantic_ai.tools import RunContext as LibraryContext
from pydantic_ai.toolsets import AbstractToolset, WrapperToolset
from pydantic_ai.toolsets.abstract import ToolsetTool
from pydantic_core import to_jsonable_python

from penstock.gates.tool.gate import ToolCallAsked, call_tool
from penstock.gates.tool.gate import ToolReturn as GateReturn
from penstock.integrations.pydantic_ai_model import Session
from penstock.integrations.tool_effects import CONTEXT, ToolEffect, declared
from penstock.kernel.errors import GateMisused
from penstock.ports.tools import (
    ToolContext,
    ToolDef,
)

_RETRY, _FAILED = "$model_retry", "$tool_failed"
"""Keys of what a tool says to the model instead of a result, as it is journalled."""
_current: contextvars.ContextVar[ToolContext | None] = contextvars.ContextVar("penstock_tool_context", default=None)


def tool_context() -> ToolContext:
    """For the code of a tool: the gate call it is in, with its idempotency key, fence, deadline and tags.

    Raises:
        GateMisused: not inside a tool of a governed agent.
    """
    context = _current.get()
    if context is None:
        raise GateMisused("tool_context() was asked outside a tool call", hint="call it in the tool's own function")
    return context


class Effects:
    """What is declared of an agent's tools."""

    def __init__(self, effects: Mapping[str, ToolEffect]) -> None:
        self._declared = {name: declared(name, **effect) for name, effect in effects.items()}
        self._asking: dict[str, ToolDef] = {}

    def __iter__(self) -> Any:
        return iter(self._declared.values())

    def of(self, name: str, *, requires_approval: bool) -> ToolDef:
        """The declaration of that tool; ``requires_approval`` is the framework's own word for asking a person."""
        found = self._declared.get(name)
        if found is None:
            found = self._declared[name] = declared(name)
        if not requires_approval or found.permission == "confirm":
            return found
        asking = self._asking.get(name)
        if asking is None:
            asking = self._asking[name] = replace(found, permission="confirm")
        return asking


@dataclass
class GatedToolset(WrapperToolset[Any]):
    """An agent's tools for one run: every call is a call at the gate."""

    session: Session
    effects: Effects

    async def get_tools(self, ctx: LibraryContext[Any]) -> dict[str, ToolsetTool[Any]]:
        """The tools, those that the framework would defer to a person as plain ones: the gate asks the person.

        Raises:
            GateMisused: a tool is run by somebody else.
        """
        tools = await self.wrapped.get_tools(ctx)
        for name, tool in tools.items():
            if tool.tool_def.kind == "unapproved":
                tools = {**tools, name: replace(tool, tool_def=replace(tool.tool_def, kind="function"))}
                self._asks.add(name)
            elif tool.tool_def.kind != "function":
                raise GateMisused(
                    f"the tool {name} is {tool.tool_def.kind}: whoever runs it would do so past the gate",
                    hint="make it a tool with a function, or a child agent",
                )
        return tools

    def __post_init__(self) -> None:
        self._asks: set[str] = set()

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: LibraryContext[Any], tool: ToolsetTool[Any]
    ) -> Any:
        """The plain result of the tool, live and in replay alike.

        Raises:
            ModelRetry, ToolFailed: what the tool tells the model; also that the call was denied, or failed.
        """
        session = self.session
        if session.is_last:
            raise library_errors.ToolFailed("not done: the budget allows no tools any more")
        definition = self.effects.of(name, requires_approval=name in self._asks)
        call = replace(definition, call=_acting(lambda: self.wrapped.call_tool(name, tool_args, ctx, tool)))
        asked = ToolCallAsked(name, call, _plain(tool_args), ctx.tool_call_id or "")
        scope = session.scope_of(ctx.tool_call_id)
        returned = await session.scopes.call(scope, lambda: call_tool(session.run.context, asked))
        return _result(returned)


def _plain(args: dict[str, Any]) -> Any:
    if all(type(value) in (str, int, bool, type(None)) for value in args.values()):
        return args
    try:
        return to_jsonable_python(args, inf_nan_mode="constants")
    except (ValueError, TypeError, RecursionError):
        return "arguments without a JSON form"  # which the gate refuses, on the record


def _acting(call: Callable[[], Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """The tool's function as the gate calls it."""

    async def act(**kwargs: Any) -> Any:
        token = _current.set(kwargs[CONTEXT])
        try:
            value = await call()
        except library_errors.ModelRetry as error:
            return {_RETRY: error.message}
        except library_errors.ToolFailed as error:
            return {_FAILED: error.message}
        finally:
            _current.reset(token)
        if isinstance(value, ToolReturn):
            if value.content is not None or value.metadata is not None or value.tools:
                raise GateMisused("the tool returned a ToolReturn with more than a return_value, which does not replay")
            return value.return_value
        return value

    return act


def _result(returned: GateReturn) -> Any:
    """What the framework gets of a call that came to its end."""
    if returned.code == "happened":
        return returned.words
    if returned.status != "ok":
        raise library_errors.ToolFailed(returned.words)
    value = returned.value
    if isinstance(value, dict) and len(value) == 1:
        if _RETRY in value:
            raise library_errors.ModelRetry(str(value[_RETRY]))
        if _FAILED in value:
            raise library_errors.ToolFailed(str(value[_FAILED]))
    return value


def function_tools(toolset: AbstractToolset[Any]) -> dict[str, Any]:
    """The tools that a toolset holds as functions, by name: what a release can pin."""
    found: dict[str, Any] = {}

    def visit(leaf: AbstractToolset[Any]) -> None:
        found.update(getattr(leaf, "tools", None) or {})

    toolset.apply(visit)
    return found
