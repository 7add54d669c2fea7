"""What of a pydantic-ai agent makes a release: everything that decides what it asks of the gates."""

from collections.abc import Callable, Iterable
from typing import Any

import pydantic_ai
from pydantic_ai import Agent as LibraryAgent

from penstock.agents.tool import source_of
from penstock.integrations.pydantic_ai_model import ModelOptions
from penstock.integrations.pydantic_ai_tools import Effects, function_tools
from penstock.kernel.canonical import digest

INTEGRATION_VERSION = "1"
"""A change of the integration that changes what it asks of the gates makes new releases."""


def release_parts(
    agent: LibraryAgent[Any, Any],
    model: str,
    effects: Effects,
    options: ModelOptions,
    deps: Callable[..., Any] | None,
) -> list[str]:
    """Texts of which a change makes another release.

    The library's minor version is one of them: another may ask its model other words.
    """
    minor = ".".join(pydantic_ai.__version__.split(".")[:2])
    tools: list[str] = []
    for toolset in agent.toolsets:
        found = function_tools(toolset)
        tools += [_tool(name, tool) for name, tool in sorted(found.items())] or [f"{type(toolset).__name__}"]
    settings = agent.model_settings
    return [
        f"pydantic-ai {minor} integration {INTEGRATION_VERSION}",
        model,
        *_texts(getattr(agent, "_instructions", ())),
        *_texts(getattr(agent, "_system_prompts", ())),
        *_texts(getattr(agent, "_system_prompt_functions", ())),
        *tools,
        *_texts(getattr(agent, "_output_validators", ())),
        _output(agent),
        str(agent.end_strategy),
        repr([getattr(agent, "_max_output_retries", None), getattr(agent, "_max_tool_retries", None)]),
        _text(settings) if callable(settings) else repr(sorted((settings or {}).items())),
        *(tool.digest for tool in effects),
        repr(options),
        source_of(deps) if deps is not None else "",
    ]


def _tool(name: str, tool: Any) -> str:
    schema = getattr(tool, "function_schema", None)
    described = [name, tool.description or "", schema.json_schema if schema is not None else {}]
    functions = [tool.function, tool.prepare, tool.args_validator]
    return digest([*described, *(source_of(one) for one in functions if one is not None)])


def _texts(items: Iterable[Any]) -> list[str]:
    return [_text(item) for item in items]


def _text(item: Any) -> str:
    """A text itself, or the source of the function that makes one, under the library's wrappers."""
    while not isinstance(item, str):
        inner = getattr(item, "instruction", None) or getattr(item, "function", None) or getattr(item, "content", None)
        if inner is None or inner is item:
            break
        item = inner
    return item if isinstance(item, str) else source_of(item)


def _output(agent: LibraryAgent[Any, Any]) -> str:
    try:
        return digest(agent.output_json_schema())
    except (NotImplementedError, ValueError, TypeError):
        return repr(agent.output_type)
