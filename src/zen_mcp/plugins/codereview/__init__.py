"""The `codereview` tool."""
