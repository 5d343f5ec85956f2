"""The imports that a first model request cannot do without: the SDK, then LiteLLM. Prints the seconds they took."""

from __future__ import annotations

import importlib
import sys
import time

started = time.perf_counter()

importlib.import_module("mcp.server.lowlevel")
from zen_mcp.providers.litellm_provider import import_litellm  # noqa: E402 - timed

import_litellm()
sys.stdout.write(f"{time.perf_counter() - started}\n")
