"""The MCP door: protocol in, requests out. The only package that knows the MCP SDK. Imports nothing at the top."""
