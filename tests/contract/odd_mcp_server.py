"""An MCP server for the tests: tools that count their calls in a file, fail, hang, answer too much, and change."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import mcp_types as types
from mcp.server import Server
from mcp.server.stdio import stdio_server

FOLDER = Path(sys.argv[1])
OBJECT: dict[str, Any] = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
TOOLS = {
    "note": "Write a line.",
    "slow_note": "Write a line, then take a while.",
    "look": "Read the lines.",
    "fail": "Fail.",
    "big": "Answer with more than anybody asked for.",
    "die": "End the server in the middle of a call.",
    "keyed_note": "Write a line once for each key.",
    "env": "Which variables the server has.",
}


async def list_tools(ctx: Any, params: Any) -> types.ListToolsResult:
    words = FOLDER / "words"
    changed = words.read_text() if words.exists() else ""
    tools = [
        types.Tool(name=name, description=text + (changed if name == "note" else ""), input_schema=_schema(name))
        for name, text in TOOLS.items()
        if name != "note" or not (FOLDER / "gone").exists()
    ]
    return types.ListToolsResult(tools=tools)


def _schema(name: str) -> dict[str, Any]:
    if name == "keyed_note":
        return {
            **OBJECT,
            "properties": {**OBJECT["properties"], "once": {"type": "string"}},
            "required": ["once", "text"],
        }
    return OBJECT if name.endswith("note") else {"type": "object", "properties": {}}


async def call_tool(ctx: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
    given = params.arguments or {}
    lines = FOLDER / "lines"
    with (FOLDER / "calls").open("a") as calls:
        calls.write(f"{params.name}\n")
    if params.name == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if params.name == "fail":
        return types.CallToolResult(content=[types.TextContent(text="it did not work out")], is_error=True)
    if params.name == "big":
        return types.CallToolResult(content=[types.TextContent(text="x" * 3_000_000)])
    if params.name == "env":
        return types.CallToolResult(content=[types.TextContent(text=" ".join(sorted(os.environ)))])
    if params.name == "keyed_note":
        with (FOLDER / "keys").open("a") as keys:
            keys.write(f"{given['once']}\n")
        if (FOLDER / "die-once").exists():
            (FOLDER / "die-once").unlink()
            os.kill(os.getpid(), signal.SIGKILL)
    if params.name.endswith("note"):
        with lines.open("a") as file:
            file.write(f"{given['text']}\n")
    if params.name == "slow_note":
        await asyncio.sleep(float(os.environ.get("SLOW_SECONDS", "5")))
    text = lines.read_text() if lines.exists() else ""
    return types.CallToolResult(content=[types.TextContent(text=text)])


async def main() -> None:
    (FOLDER / "parent").write_text(str(os.getppid()))
    server: Server[Any] = Server("odd", on_list_tools=list_tools, on_call_tool=call_tool)
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


asyncio.run(main())
