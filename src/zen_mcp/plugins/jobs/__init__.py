"""The tool `jobs`."""
