"""Which server this is."""

from __future__ import annotations

import importlib.metadata
import platform
from functools import cache

from zen_mcp import __version__
from zen_mcp.tools import ToolContext, ToolHints, ToolParams, ToolResult, tool
from zen_mcp.types import ToolResponse


class VersionParams(ToolParams):
    """Version of this server."""


class VersionResult(ToolResult):
    """Versions of the server and of what it stands on."""

    zen: str = ""
    python: str = ""
    litellm: str = ""
    mcp: str = ""


@cache
def installed_version(package: str) -> str:
    """The version of a package; read once, because reading parses the package's whole metadata (3 ms)."""
    return importlib.metadata.version(package)


@tool(hints=ToolHints(open_world=False))
async def version(params: VersionParams, context: ToolContext) -> ToolResponse:
    """Tell the versions."""
    result = VersionResult(
        zen=__version__,
        python=platform.python_version(),
        litellm=installed_version("litellm"),
        mcp=installed_version("mcp"),
    )
    text = f"zen-mcp-server {result.zen} · Python {result.python} · litellm {result.litellm} · mcp {result.mcp}"
    return ToolResponse(text=text, structured=result.to_json())
