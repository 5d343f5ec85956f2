"""Logs: one event per line, to stderr or a file, never to stdout."""

from __future__ import annotations

import logging
import logging.handlers
import sys
from typing import Any, TextIO

import structlog

from zen_mcp.config.schema import LogSettings

_FILE_BYTES = 10 * 1024 * 1024
_FILES_KEPT = 3


def configure_logs(settings: LogSettings, *, stream: TextIO | None = None) -> None:
    """Set up structlog and the standard library's logging, so that both write the same lines.

    Tracebacks never show local variables: they hold keys and prompts.
    """
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: Any
    if settings.format == "json":
        shared.append(structlog.processors.format_exc_info)
        renderer = structlog.processors.JSONRenderer()
    else:
        plain = structlog.dev.plain_traceback
        renderer = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=plain)
    handler: logging.Handler
    if settings.file is not None:
        settings.file.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.handlers.RotatingFileHandler(
            settings.file, maxBytes=_FILE_BYTES, backupCount=_FILES_KEPT, encoding="utf-8"
        )
    else:
        handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=shared))
    logger = logging.getLogger("zen_mcp")
    logger.handlers[:] = [handler]
    logger.setLevel(settings.level)
    logger.propagate = False
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
