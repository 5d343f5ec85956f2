"""The `debug` tool."""
