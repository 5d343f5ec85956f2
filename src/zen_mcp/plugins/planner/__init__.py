"""The `planner` tool."""
