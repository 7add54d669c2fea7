"""The MCP proxy as people run it, on its pipes: killed between intent and outcome, and started again."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, MCPError, StdioServerParameters

from penstock import Settings
from penstock.events import ToolIntent, decode
from penstock.ports.records import RunFilter
from penstock.wiring import open_penstock

ODD = Path(__file__).parents[1] / "contract" / "odd_mcp_server.py"
NAMED: Any = {"penstock/run": "ticket-7"}
CONFIG = """
[servers.odd]
command = [{python!r}, {odd!r}, {folder!r}]

[servers.odd.tools.slow_note]
permission = "auto"
timeout_seconds = 1.0

[servers.odd.tools.look]
effect = "read"
"""


def proxy(folder: Path, dsn: str) -> StdioServerParameters:
    """``penstock mcp`` before our odd server."""
    config = folder / "mcp.toml"
    config.write_text(CONFIG.format(python=sys.executable, odd=str(ODD), folder=str(folder)))
    said = {
        "PENSTOCK_DATABASE_URL": dsn,
        "PENSTOCK_LEASE_SECONDS": "1",
        "PENSTOCK_LOOP_BLOCK_MAX_SECONDS": "1",
        "PENSTOCK_POLL_SECONDS": "0.1",
        "PENSTOCK_START_ALLOWANCE_SECONDS": "0.5",
        "PENSTOCK_DOUBT_MARGIN_SECONDS": "0.1",
        "PENSTOCK_MCP_APPROVAL_WAIT_SECONDS": "0.1",
        "PENSTOCK_MCP_WAIT_SECONDS": "10",
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
    }
    program = "import sys; from penstock.cli import main; sys.exit(main())"
    arguments = ["-c", program, "mcp", "--config", str(config)]
    return StdioServerParameters(command=sys.executable, args=arguments, env=said)


def about(result: Any) -> dict[str, Any]:
    return dict(result.meta or {})


async def killed_in_the_middle(folder: Path, dsn: str) -> None:
    """A client calls; the proxy is killed while the write has been made and not yet been answered."""
    async with Client(proxy(folder, dsn)) as client:
        calling = asyncio.create_task(client.call_tool("slow_note", {"text": "once"}, meta=NAMED))
        while not (folder / "lines").exists():
            await asyncio.sleep(0.01)
        os.kill(int((folder / "parent").read_text()), signal.SIGKILL)
        with pytest.raises(MCPError, match="closed"):
            await calling


@pytest.mark.crash
async def test_a_write_that_a_killed_proxy_had_begun_is_settled_and_not_made_again(
    tmp_path: Path, journal_dsn: str
) -> None:
    lines = tmp_path / "lines"
    async with open_penstock(Settings(database_url=journal_dsn)) as platform:
        await killed_in_the_middle(tmp_path, journal_dsn)
        async with Client(proxy(tmp_path, journal_dsn)) as client:
            assert (await client.call_tool("look", {})).is_error is False, "another session goes on at once"
            doubtful = await client.call_tool("slow_note", {"text": "once"}, meta=NAMED)
            assert about(doubtful)["penstock/code"] == "mcp_in_doubt"
            (asked,) = await platform.approvals()
            assert (asked.id, asked.question) == (about(doubtful)["penstock/approval"], "did_it_happen")
            await platform.decide(asked, "happened", actor="ben", reason="the line is there")
            settled = await client.call_tool("slow_note", {"text": "once"}, meta=NAMED)
            assert settled.is_error is False
            assert "took effect" in settled.content[0].text  # type: ignore[union-attr]
        assert lines.read_text() == "once\n"
        runs = await platform.journal.list_runs("default", RunFilter(), 10)
        (run,) = [row for row in runs if row.tags.get("x_mcp_session") == "ticket-7"]
        events = [decode(row.body) for row in await platform.journal.tape("default", run.id)]
        assert sum(isinstance(event, ToolIntent) for event in events) == 1
        (other,) = [row for row in runs if row.id != run.id]
        assert other.outcome == "succeeded", "the session without a name ended with its client"
