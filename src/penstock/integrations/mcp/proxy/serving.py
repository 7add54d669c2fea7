"""The proxy as an MCP server: what it lists, and how a call's reply looks to a client."""

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

import mcp_types as types
from mcp.server import Server
from pydantic import ValidationError

from penstock.agents.tool import Tool
from penstock.integrations.mcp.proxy.agent import SessionAgent
from penstock.integrations.mcp.proxy.config import ProxyConfig
from penstock.integrations.mcp.proxy.session import Principal, Reply, Where
from penstock.integrations.mcp.proxy.sessions import Sessions
from penstock.kernel.errors import InputInvalid, McpConfigInvalid, PenstockError
from penstock.ports.tools import ToolDef
from penstock.runs.tag_header import read_tags

RUN_HEADER, TAGS_HEADER = "penstock-run", "penstock-tags"
RUN_META, TAGS_META = "penstock/run", "penstock/tags"
CODE_META, CALL_META, APPROVAL_META = "penstock/code", "penstock/call", "penstock/approval"
SESSION_HEADER = "mcp-session-id"
NAME_MAX_CHARS = 128

INSTRUCTIONS = (
    "Every call passes a gate that may refuse it, or ask a person first. A result that is an error begins with a code. "
    "After approval_required or mcp_still_running, make the same call again later to get its result."
)


async def offered_tools(config: ProxyConfig) -> list[Tool[..., Any]]:
    """The tools of all servers, as the proxy calls them.

    Raises:
        McpUnreachable, McpConfigInvalid, McpToolInvalid, McpToolChanged: a server is not as the file says.
    """
    found: list[Tool[..., Any]] = []
    for server in config.servers:
        found += await server.listed_tools(shape="result")
    names = [tool.name for tool in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise McpConfigInvalid(f"several servers have a tool {', '.join(twice)}")
    return found


class Proxy:
    """One MCP server for all clients of this process. ``principal``: who makes a request; ``tools``: by agent."""

    def __init__(
        self,
        config: ProxyConfig,
        sessions: Sessions,
        tools: list[Tool[..., Any]],
        principal: Callable[[Any], Principal],
        version: str,
    ) -> None:
        self._sessions = sessions
        self._principal = principal
        self.tools: dict[str, dict[str, ToolDef]] = {}
        for agent in {item.name: item for item in (*config.agents, config.nobody)}.values():
            allowed = [tool for tool in tools if agent.may(tool.name)]
            sessions.offer(SessionAgent(agent.name, allowed, agent.budget, sessions.deliver, sessions.stay))
            self.tools[agent.name] = {tool.name: tool.definition for tool in allowed}
        self.server: Server[Any] = Server(
            "penstock",
            version=version,
            instructions=INSTRUCTIONS,
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
        )

    async def _list_tools(self, ctx: Any, params: Any) -> types.ListToolsResult:
        """What the policy permits this client; nothing else is there for it."""
        tools = self.tools[self._principal(ctx).agent.name]
        return types.ListToolsResult(tools=[_listed(tool) for tool in tools.values() if tool.risk != "prohibited"])

    async def _call_tool(self, ctx: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        try:
            who, where = self._principal(ctx), where_of(ctx)
        except PenstockError as error:
            return result_of(Reply(error.code, error.what))
        return result_of(await self._sessions.call(who, where, params.name[:NAME_MAX_CHARS], params.arguments or {}))


def _listed(tool: ToolDef) -> types.Tool:
    """A tool as clients see it. What it does is said as declared here, not as its server says."""
    reads = tool.effect == "read"
    return types.Tool(
        name=tool.name,
        description=tool.spec.description,
        input_schema=tool.spec.schema,
        annotations=types.ToolAnnotations(
            read_only_hint=reads, destructive_hint=not reads, idempotent_hint=reads or tool.in_doubt == "idempotent"
        ),
    )


def where_of(ctx: Any) -> Where:
    """Which session a request belongs to, and the tags that it asks for.

    Raises:
        InputInvalid: a name or tags that cannot be read.
    """
    headers: Mapping[str, str] = ctx.request.headers if ctx.request is not None else {}
    meta: Mapping[str, Any] = ctx.meta or {}
    name = meta.get(RUN_META, headers.get(RUN_HEADER, ""))
    tags = meta.get(TAGS_META)
    if tags is None:
        tags = read_tags(ctx.request.headers.getlist(TAGS_HEADER) if ctx.request is not None else ())
    if not isinstance(name, str) or not isinstance(tags, dict):
        raise InputInvalid(f"{RUN_META} is a text, and {TAGS_META} an object of texts")
    return Where(name, headers.get(SESSION_HEADER, ""), tags)


def result_of(reply: Reply) -> types.CallToolResult:
    """The reply as a tool's result: errors too, so that the model sees them."""
    about = {RUN_META: reply.run, CALL_META: reply.call, CODE_META: reply.code, APPROVAL_META: reply.approval}
    meta = {name: str(value) if isinstance(value, UUID) else value for name, value in about.items() if value}
    if reply.code:
        content = [types.TextContent(text=f"{reply.code}: {reply.words}")]
        return types.CallToolResult(content=list(content), is_error=True, _meta=meta)
    if reply.words:
        return types.CallToolResult(content=[types.TextContent(text=reply.words)], _meta=meta)
    try:
        return types.CallToolResult.model_validate({**reply.value, "_meta": meta})
    except (ValidationError, TypeError):
        failure = types.TextContent(text="tool_result_invalid: the recorded result cannot be read")
        return types.CallToolResult(content=[failure], is_error=True, _meta=meta)
