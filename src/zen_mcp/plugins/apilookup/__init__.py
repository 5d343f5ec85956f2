"""The `apilookup` tool."""
