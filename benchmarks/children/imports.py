"""The imports that a first model request cannot do without: the SDK, then LiteLLM. Prints the seconds they took."""

from __future__ import annotations

import sys
import time

started = time.perf_counter()

import mcp.server.lowlevel  # noqa: E402, F401

from zen_mcp.providers.litellm_provider import import_litellm  # noqa: E402

import_litellm()
sys.stdout.write(f"{time.perf_counter() - started}\n")
