"""`zen serve --http`: from the command line to a socket that is listened at; the rest is imported when that is done."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

from zen_mcp.config.load import load_config
from zen_mcp.errors import ZenError
from zen_mcp.server.arguments import ServeArguments
from zen_mcp.server.http_address import Address, raise_file_limit, url_of
from zen_mcp.server.http_workers import Handed, supervise


def serve(arguments: list[str]) -> int:
    """Serve until a signal comes; the exit code."""
    try:
        parsed = ServeArguments.parse(arguments)
        config = load_config(parsed.config, environ=os.environ)
        settings = config.server.http
        address = Address.parse(parsed.http or "", settings)
        address.check_exposure(settings, config.server.auth)
        listener = address.open()
        raise_file_limit(settings.max_connections)
        if address.descriptor is None:
            sys.stderr.write(f"zen serve: {url_of(listener)}\n")
            sys.stderr.flush()
            if settings.workers > 1:
                return supervise(listener, workers=settings.workers, config=parsed.config)
        # The SDK, Starlette and uvicorn are for the processes that answer, not for the one that only watches them.
        http_server: Any = import_module("zen_mcp.server.http_server")
        handed = Handed.take() if address.descriptor is not None else None
        return http_server.run(config, parsed, listener, handed=handed)
    except ZenError as exc:
        sys.stderr.write(f"zen serve: {exc}\n")
        return 2
