"""Whether the official package, which is optional, is there."""

from penstock.kernel.errors import McpMissing


def require() -> None:
    """Say what to install, before anything else fails for want of it.

    Raises:
        McpMissing: it is not there.
    """
    try:
        import jsonschema  # noqa: F401
        import mcp  # noqa: F401
    except ImportError as error:
        raise McpMissing(f"MCP servers cannot be spoken to: {error}") from error
