"""Logs: one event per line, to stderr or a file, never to stdout.

structlog brings rich and attrs with it, 45 ms of a start that nobody needs before the first line is written: it is
imported with that line.
"""

from __future__ import annotations

import importlib
import logging
import logging.handlers
import sys
from functools import cache
from typing import Any, TextIO

from zen_mcp.config.schema import LogSettings

_FILE_BYTES = 10 * 1024 * 1024
_FILES_KEPT = 3


class EventLog:
    """Writes events with fields: `log.info("tool_called", call=…, seconds=…)`."""

    def __init__(self, name: str = "zen_mcp") -> None:
        self._name = name
        self._standard = logging.getLogger(name)

    def info(self, event: str, **fields: object) -> None:
        """What happens all day."""
        self._write(logging.INFO, event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """What somebody should look at one day."""
        self._write(logging.WARNING, event, fields)

    def error(self, event: str, **fields: object) -> None:
        """What is broken; `exc_info` takes the exception."""
        self._write(logging.ERROR, event, fields)

    def _write(self, level: int, event: str, fields: dict[str, object]) -> None:
        if self._standard.isEnabledFor(level):
            _structlog().get_logger(self._name).log(level, event, **fields)


def configure_logs(settings: LogSettings, *, stream: TextIO | None = None) -> None:
    """Send the events, and what the standard library's loggers below `zen_mcp` say, to one place in one shape."""
    handler: logging.Handler
    if settings.file is not None:
        settings.file.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.handlers.RotatingFileHandler(
            settings.file, maxBytes=_FILE_BYTES, backupCount=_FILES_KEPT, encoding="utf-8"
        )
    else:
        handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_Lines(as_json=settings.format == "json"))
    logger = logging.getLogger("zen_mcp")
    logger.handlers[:] = [handler]
    logger.setLevel(settings.level)
    logger.propagate = False


class _Lines(logging.Formatter):
    """structlog's formatter, made for the first record. Tracebacks show no local variables: they hold keys."""

    def __init__(self, *, as_json: bool) -> None:
        super().__init__()
        self._as_json = as_json
        self._formatter: logging.Formatter | None = None

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        if self._formatter is None:
            self._formatter = _formatter(as_json=self._as_json)
        return self._formatter.format(record)


def _formatter(*, as_json: bool) -> logging.Formatter:
    structlog = _structlog()
    if as_json:
        renderers = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        plain = structlog.dev.plain_traceback
        renderers = [structlog.dev.ConsoleRenderer(colors=False, exception_formatter=plain)]
    return structlog.stdlib.ProcessorFormatter(
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        foreign_pre_chain=_stamps(structlog),
    )


def _stamps(structlog: Any) -> list[Any]:
    return [structlog.processors.add_log_level, structlog.processors.TimeStamper(fmt="iso", utc=True)]


@cache
def _structlog() -> Any:
    structlog: Any = importlib.import_module("structlog")
    structlog.configure(
        processors=[*_stamps(structlog), structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    return structlog
