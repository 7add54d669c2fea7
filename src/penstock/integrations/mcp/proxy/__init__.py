"""The MCP proxy: an MCP server before other MCP servers, whose every call passes the tool gate."""
