"""The `docgen` tool."""
