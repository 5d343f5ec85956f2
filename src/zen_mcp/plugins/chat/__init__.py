"""The `chat` tool."""
