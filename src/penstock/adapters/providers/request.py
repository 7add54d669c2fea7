"""Our settings and tools as the library's, and what no request may ask for."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.settings import ModelSettings as LibrarySettings
from pydantic_ai.tools import ToolDefinition

from penstock.adapters.providers.failures import refused
from penstock.ports.model import ModelRequest, ModelSettings, ToolSpec

# What the library or a provider would do beyond the call that was reserved, by (part of) the setting's name.
_FORBIDDEN: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("max_tokens", "timeout", "max_retries", "tool_choice", "first_event"),
        "the gate decides it for each call",
    ),
    (
        ("native_tools", "builtin_tools", "web_search", "_container", "code_execution", "web_tools", "mcp_servers"),
        "a provider's own tools do not pass the tool gate",
    ),
    (
        ("service_tier", "_speed", "reasoning_mode", "prediction", "inference_geo"),
        "it changes what a token costs",
    ),
    (
        ("previous_response_id", "conversation_id", "_background", "_transport", "context_management", "compact"),
        "the conversation lives in the journal, not with the provider",
    ),
)
_FORBIDDEN_IN_BODY = (
    *("max_completion_tokens", "max_output_tokens", "n", "best_of", "stream", "stream_options"),
    *("messages", "input", "system", "instructions", "prompt", "tools", "functions", "plugins", "models", "model"),
    *("conversation", "background", "speed", "fallbacks"),
)


# Anthropic caches a prompt up to marked places only: after the tools, the system's words, and the latest message, which
# the next request has again. Other providers find what is the same by themselves, and ignore these.
_PROMPT_CACHE = {
    "anthropic_cache_tool_definitions": True,
    "anthropic_cache_instructions": True,
    "anthropic_cache_messages": True,
}


def check_extra(extra: Mapping[str, Any]) -> str | None:
    """Why these further settings may not be sent, in words; None when they may.

    ``extra`` holds settings of pydantic-ai by their names (``top_p``, ``thinking``, ``openai_reasoning_effort``,
    ``extra_body``, …). Refused is what would break the bound of a call's cost or go around a gate.
    """
    for name, value in extra.items():
        if reason := _forbidden(name):
            return f"the model setting {name} cannot be used here: {reason}"
        if "cache" in name and _long_cache(value):
            return f"the model setting {name} cannot be used here: writing to a cache that lasts costs more per token"
    body = extra.get("extra_body")
    if body is not None and not isinstance(body, Mapping):
        return "the model setting extra_body must be an object"
    for name in body or {}:
        if reason := _forbidden(name) or ("the adapter decides it" if name in _FORBIDDEN_IN_BODY else None):
            return f"the model setting extra_body.{name} cannot be used here: {reason}"
    return None


def _forbidden(name: str) -> str | None:
    return next((reason for parts, reason in _FORBIDDEN if any(part in name for part in parts)), None)


def _long_cache(value: object) -> bool:
    """Whether it asks for a cache kept for hours: only the short one's price is known as *the* price of writing."""
    if isinstance(value, Mapping):
        return any(_long_cache(item) for item in value.values())
    return isinstance(value, str) and value.endswith("h")


def library_settings(settings: ModelSettings, *, max_retries_needed: bool, ignored: frozenset[str]) -> LibrarySettings:
    """One call's settings. ``ignored``: the names that this model does not know; they are left out.

    Raises:
        ModelError: ``extra`` asks for what may not be sent.
    """
    if problem := check_extra(settings.extra):
        raise refused(problem)
    wanted: dict[str, Any] = {
        **(_PROMPT_CACHE if settings.prompt_cache else {}),
        **settings.extra,
        "max_tokens": settings.max_tokens,
        "timeout": settings.timeout_seconds,
        "temperature": settings.temperature,
        "seed": settings.seed,
        "max_retries": 0 if max_retries_needed else None,
    }
    known = {name: value for name, value in wanted.items() if value is not None and name not in ignored}
    return cast("LibrarySettings", known)


def library_tools(request: ModelRequest, settings: LibrarySettings) -> tuple[LibrarySettings, ModelRequestParameters]:
    """The tools of one call and the choice among them; definitions are never left out (that breaks some providers).

    ======== =================== ==========================================
    choice   without output tool with output tool
    ======== =================== ==========================================
    auto     text or tools       text, tools or the output tool
    none     text                the output tool
    required a tool              a tool or the output tool
    ======== =================== ==========================================

    Raises:
        ModelError: a call is required and there is nothing to call.
    """
    output = request.output_tool
    names = [tool.name for tool in request.tools] + ([output.name] if output else [])
    if len(set(names)) != len(names):
        raise refused("two tools have the same name")
    if request.tool_choice == "required" and not names:
        raise refused("a tool call is required, and no tool is offered")
    free_text = request.tool_choice == "auto" or (request.tool_choice == "none" and output is None)
    if request.tool_choice == "none":
        settings = {**settings, "tool_choice": "none"}
    return settings, ModelRequestParameters(
        function_tools=definitions(request.tools),
        output_tools=[_definition(output, kind="output")] if output else [],
        output_mode="tool" if output else "text",
        allow_text_output=free_text,
    )


def definitions(tools: Sequence[ToolSpec]) -> list[ToolDefinition]:
    """Tools as the library's function tools."""
    return [_definition(tool, kind="function") for tool in tools]


def _definition(tool: ToolSpec, kind: Any) -> ToolDefinition:
    # strict=False, not None: with None the library decides by itself whether to make the schema strict.
    return ToolDefinition(
        name=tool.name,
        description=tool.description,
        parameters_json_schema=tool.schema,
        strict=tool.strict,
        kind=kind,
    )
