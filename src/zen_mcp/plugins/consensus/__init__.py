"""The `consensus` tool."""
