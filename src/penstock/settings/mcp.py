"""The settings of ``penstock mcp``: part of the table in `penstock.settings.table`."""

import dataclasses

from penstock.settings.caching import CachingSettings
from penstock.settings.line import DAY, KIB, MIB
from penstock.settings.line import setting as _setting


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class McpSettings(CachingSettings):
    """What only the MCP proxy reads."""

    mcp_connect_seconds: float = _setting(
        10.0,
        "How long an MCP server may take to start or answer, and to list its tools.",
        unit="s",
        low=0.1,
        high=600,
    )
    mcp_relist_seconds: float = _setting(
        30.0,
        "How old the list of tools may be that a call through the MCP proxy relies on; 0 = it is asked for each time.",
        unit="s",
        low=0,
        high=3600,
    )
    mcp_result_max_bytes: int = _setting(
        MIB, "Bytes of one answer of an MCP server, at most.", unit="bytes", low=KIB, high=64 * MIB
    )
    mcp_calls_at_once: int = _setting(
        8, "Calls of one session of the MCP proxy that go on side by side, at most.", low=1, high=64
    )
    mcp_wait_seconds: float = _setting(
        50.0,
        "How long a client of the MCP proxy waits for a call, at most, before it is told how to come again; many give "
        "up by themselves after 60 s.",
        unit="s",
        low=0.1,
        high=3600,
    )
    mcp_approval_wait_seconds: float = _setting(
        15.0,
        "How long of PENSTOCK_MCP_WAIT_SECONDS a client waits for a person's decision.",
        unit="s",
        low=0,
        high=3600,
    )
    mcp_session_idle_seconds: float = _setting(
        1800.0, "How long a session of the MCP proxy goes on without a call.", unit="s", low=1, high=30 * DAY
    )
    mcp_sessions_max: int = _setting(
        1000, "Sessions that one MCP proxy has open at a time, at most.", low=1, high=100_000
    )
