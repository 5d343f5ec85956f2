"""The batch tool."""
