"""The `thinkdeep` tool."""
