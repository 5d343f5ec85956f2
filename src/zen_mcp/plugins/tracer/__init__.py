"""The `tracer` tool."""
