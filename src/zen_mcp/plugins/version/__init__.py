"""The `version` tool."""
