"""The `estimate` tool."""
