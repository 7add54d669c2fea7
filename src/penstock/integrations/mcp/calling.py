"""One call of a server's tool, as the tool gate makes it: what its answer, or its silence, is worth."""

import asyncio
from collections.abc import Callable
from typing import Any, Literal

import anyio
import httpx2
import mcp_types as types
from mcp import MCPError
from pydantic import ValidationError

from penstock.integrations.mcp.connection import Connection, Session
from penstock.integrations.mcp.stdio import TOO_LARGE
from penstock.kernel.canonical import clean_text
from penstock.kernel.errors import McpRefused, McpToolChanged, McpToolError, McpUnreachable, ToolResultInvalid
from penstock.ports.tools import DefinedNow, IdempotencyKey, Remote, ToolContext, TransientToolError

Shape = Literal["value", "result"]
"""What a call gives: what a model is to see, or the server's answer as it is, for whoever passes it on."""

META_KEY, RUN_KEY = "penstock/idempotency-key", "penstock/run"
WORDS_MAX_CHARS = 1000
GONE = "the server does not list it any more"
CONNECT_SHARE = 0.9
"""Of a call's time that reaching the server may take: whoever gives up by himself knows that nothing was called."""
_LOST = (anyio.ClosedResourceError, anyio.BrokenResourceError, anyio.EndOfStream, httpx2.TransportError)


async def call_server(
    connection: Connection,
    name: str,
    digest: str,
    arguments: dict[str, Any],
    context: ToolContext,
    shape: Shape,
) -> Any:
    """Call the tool ``name`` as it was when its definition had that digest.

    Raises:
        TransientToolError: the server cannot be reached; nothing was called.
        McpToolChanged: it is another tool by now; nothing was called.
        McpToolError, McpRefused: what the server answered.
        ConnectionError, TimeoutError: there was no answer; it may have been done.
        ToolResultInvalid: it was done, and the answer is of no use.
    """
    try:
        async with asyncio.timeout(CONNECT_SHARE * context.timeout_seconds):
            session = await connection.session()
    except McpUnreachable as error:
        raise TransientToolError(error.what) from error
    except TimeoutError as error:
        raise TransientToolError(f"the server {connection.name} is not there yet") from error
    check_same(connection, session, name, digest, context.tenant)
    meta: Any = {RUN_KEY: str(context.run), **({META_KEY: context.key} if context.key else {})}
    try:
        answer = await session.client.call_tool(
            name,
            arguments,
            read_timeout_seconds=context.timeout_seconds,
            meta=meta,
        )
    except MCPError as error:
        raise _meaning(connection, session, error) from error
    except _LOST as error:
        session.leave()
        raise ConnectionError(f"the connection to {connection.name} was lost") from error
    except (ValidationError, RuntimeError) as error:  # its answer is no result, or not what its schema promises
        raise ToolResultInvalid(clean_text(error, 300)) from error
    if answer.is_error:
        raise McpToolError(text_of(answer.content, WORDS_MAX_CHARS) or "it failed and said no more")
    return plain_result(answer) if shape == "result" else plain_value(answer)


async def defined_now(connection: Connection, name: str, seconds: float) -> DefinedNow | None:
    """How the server defines the tool; None = it cannot be asked in this time."""
    try:
        async with asyncio.timeout(CONNECT_SHARE * seconds):
            session = await connection.session()
    except (McpUnreachable, TimeoutError):
        return None
    found = session.tools.get(name)
    if found is None:
        return DefinedNow("", session.refused.get(name, GONE))
    return DefinedNow(found.digest)


def check_same(connection: Connection, session: Session, name: str, digest: str, tenant: str) -> None:
    """Refuse a tool that is not the one that was agreed to, or that this tenant has accepted since.

    Raises:
        McpToolChanged: it is not.
    """
    server = connection.name
    now = session.tools.get(name)
    if now is None:
        why = session.refused.get(name, GONE)
        raise McpToolChanged(f"{name} of {server}: {why}")
    if now.digest != digest and (tenant, name, now.digest) not in connection.accepted:
        raise McpToolChanged(f"{name} of {server} is described in other words than those that were agreed to")


def _meaning(connection: Connection, session: Session, error: MCPError) -> Exception:
    words = clean_text(error.message, WORDS_MAX_CHARS)
    if error.code == types.CONNECTION_CLOSED:
        session.leave()
        return ConnectionError(f"the connection to {connection.name} was lost: {words}")
    if error.code == types.REQUEST_TIMEOUT:
        return TimeoutError(f"{connection.name} did not answer in time")
    if error.code == TOO_LARGE:
        return ToolResultInvalid(words)
    return McpRefused(f"{connection.name} refused the call ({error.code}): {words}")


def plain_value(answer: types.CallToolResult) -> Any:
    """What a model is to see: the structured content, else the text, else the blocks as they are."""
    if answer.structured_content is not None:
        return answer.structured_content
    if all(isinstance(block, types.TextContent) for block in answer.content):
        return text_of(answer.content, None)
    return plain_result(answer)["content"]


def plain_result(answer: types.CallToolResult) -> dict[str, Any]:
    """The answer as plain JSON."""
    content = [block.model_dump(mode="json", by_alias=True, exclude_none=True) for block in answer.content]
    result: dict[str, Any] = {"content": content}
    if answer.structured_content is not None:
        result["structuredContent"] = answer.structured_content
    return result


def text_of(content: list[Any], most: int | None) -> str:
    """The text blocks, one below the other."""
    text = "\n".join(block.text for block in content if isinstance(block, types.TextContent))
    return text if most is None else clean_text(text, most)


def remote(connection: Callable[[], Connection], server: str, name: str, digest: str) -> Remote:
    """What the gate asks before a call, so that a tool that has changed is denied and not just found to fail."""

    async def look(seconds: float) -> DefinedNow | None:
        return await defined_now(connection(), name, seconds)

    def allow(tenant: str, accepted: str) -> None:
        connection().accepted.add((tenant, name, accepted))

    return Remote(f"{server}/{name}", digest, look, allow)


def caller(connection: Callable[[], Connection], name: str, digest: str, key_argument: str, shape: Shape) -> Any:
    """The function of a tool's definition: what the gate calls."""

    async def call(
        *, arguments: dict[str, Any], penstock_context: ToolContext, penstock_key: IdempotencyKey | None = None
    ) -> Any:
        given = {**arguments, key_argument: str(penstock_key)} if key_argument and penstock_key else arguments
        return await call_server(connection(), name, digest, given, penstock_context, shape)

    return call
