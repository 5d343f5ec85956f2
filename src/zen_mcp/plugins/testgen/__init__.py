"""The `testgen` tool."""
