"""The `challenge` tool."""
