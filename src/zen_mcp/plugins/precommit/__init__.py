"""The `precommit` tool."""
