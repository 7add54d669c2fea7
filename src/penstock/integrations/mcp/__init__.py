"""MCP: a server's tools through the tool gate, as tools of an agent (`mcp_tools`) or before any client (the proxy).

The official package ``mcp`` is imported when it is used: ``pip install 'penstock[mcp]'``.
"""

from penstock.integrations.mcp.effects import McpEffect, read, write
from penstock.integrations.mcp.server import MCPServer, mcp_tools, pin

__all__ = ["MCPServer", "McpEffect", "mcp_tools", "pin", "read", "write"]
