"""The `analyze` tool."""
