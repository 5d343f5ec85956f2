"""The `secaudit` tool."""
