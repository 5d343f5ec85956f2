"""The `clink` tool."""
