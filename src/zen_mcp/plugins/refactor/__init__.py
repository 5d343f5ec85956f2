"""The `refactor` tool."""
