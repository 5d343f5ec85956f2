"""The Zen MCP Server: one MCP server, every LLM, through one LiteLLM-based provider."""

__version__ = "0.1.0"
