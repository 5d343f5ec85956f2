"""The `threads` tool."""
