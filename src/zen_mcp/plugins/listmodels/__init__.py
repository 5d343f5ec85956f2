"""The `listmodels` tool."""
