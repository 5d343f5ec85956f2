"""Logs: one event per line, to stderr or a file, never to stdout.

structlog brings rich and attrs with it, 45 ms of a start that nobody needs before the first line is written: it is
imported with that line.

Every line that a call writes bears its id. Keys, and the words of the call's own arguments, are taken out of it.
"""

from __future__ import annotations

import importlib
import logging
import logging.handlers
import re
import sys
from collections.abc import Iterator, Mapping, Set
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import Any, TextIO, cast

from zen_mcp.config.schema import LogSettings
from zen_mcp.errors import ConfigError

_FILE_BYTES = 10 * 1024 * 1024
_FILES_KEPT = 3
_SHORTEST_SECRET = 6
_SHORTEST_TEXT = 20
"""A shorter argument is a name or a number; taking those out of every line would make nonsense of it."""
_KEY_LIKE = re.compile(r"\b(?:sk|pk|key|gsk|xai|AIza)[-_A-Za-z0-9]{12,}|Bearer\s+[^\s\"']+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Call:
    """The call that a line belongs to, and what was asked in it."""

    id: str
    arguments: Mapping[str, object]


_CALL: ContextVar[_Call | None] = ContextVar("zen_call", default=None)


def enter_call(call_id: str, arguments: Mapping[str, object]) -> None:
    """Let every line that this task writes from now on bear the call's id, without the words of its arguments."""
    _CALL.set(_Call(call_id, arguments))


class EventLog:
    """Writes events with fields: `log.info("tool_called", seconds=…)`. The call's id is added to them."""

    def __init__(self, name: str = "zen_mcp") -> None:
        self._name = name
        self._standard = logging.getLogger(name)

    def debug(self, event: str, **fields: object) -> None:
        """What only somebody who looks for a fault wants to see."""
        self._write(logging.DEBUG, event, fields)

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
    """Send the events, and what the standard library's loggers below `zen_mcp` say, to one place in one shape.

    Raises:
        ConfigError: the file cannot be written.
    """
    handler: logging.Handler
    if settings.file is not None:
        try:
            settings.file.parent.mkdir(parents=True, exist_ok=True)
            handler = _File(settings.file, maxBytes=_FILE_BYTES, backupCount=_FILES_KEPT, encoding="utf-8")
        except OSError as exc:
            text = f"server.yaml: log.file '{settings.file}' cannot be written ({exc.strerror})."
            raise ConfigError(text, "Name a file in a folder that can, or leave it out for stderr.") from exc
    else:
        handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_Lines(as_json=settings.format == "json", content=settings.content))
    logger = logging.getLogger("zen_mcp")
    logger.handlers[:] = [handler]
    logger.setLevel(settings.level)
    logger.propagate = False


def conceal(secrets: Set[str]) -> None:
    """Keep these out of every line from now on, also those that are added to the set later."""
    for handler in logging.getLogger("zen_mcp").handlers:
        if isinstance(handler.formatter, _Lines):
            handler.formatter.redactor.secrets = secrets


class _File(logging.handlers.RotatingFileHandler):
    """A file whose failure is said once, on stderr, and stops nobody."""

    _said = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the standard library's name
        """The record is lost."""
        if not self._said:
            self._said = True
            sys.stderr.write(f"zen: the log '{self.baseFilename}' cannot be written: {sys.exc_info()[1]}\n")


class _Redactor:
    """A step of structlog: adds the call's id, takes out keys and, unless `content`, what was asked."""

    def __init__(self, *, content: bool) -> None:
        self.secrets: Set[str] = frozenset()
        self._content = content

    def __call__(self, logger: object, name: str, event: dict[str, Any]) -> dict[str, Any]:
        """The fields of one line."""
        call = _CALL.get()
        if call is not None:
            event.setdefault("call", call.id)
        asked = tuple(_texts(call.arguments)) if call is not None and not self._content else ()
        if "arguments" in event and not self._content:
            event["arguments"] = _outline(event["arguments"])
        for key, value in event.items():
            if not key.startswith("_"):
                event[key] = self._clean(value, asked)
        return event

    def _clean(self, value: Any, asked: tuple[str, ...]) -> Any:
        if isinstance(value, str):
            return self._clean_text(value, asked) if len(value) >= _SHORTEST_SECRET else value
        if isinstance(value, Mapping):
            entries = cast("Mapping[object, object]", value)
            return {key: self._clean(one, asked) for key, one in entries.items()}
        if isinstance(value, list | tuple):
            return [self._clean(one, asked) for one in cast("list[object]", value)]
        return value

    def _clean_text(self, text: str, asked: tuple[str, ...]) -> str:
        for secret in tuple(self.secrets):
            if len(secret) >= _SHORTEST_SECRET:
                text = text.replace(secret, "[key]")
        for words in asked:
            text = text.replace(words, f"[{len(words)} characters]")
        return _KEY_LIKE.sub("[key]", text)


def _outline(value: object) -> object:
    """Which arguments there are, and how long their texts."""
    if isinstance(value, str):
        return f"[{len(value)} characters]"
    if isinstance(value, Mapping):
        return {key: _outline(one) for key, one in cast("Mapping[object, object]", value).items()}
    if isinstance(value, list | tuple):
        return [_outline(one) for one in cast("list[object]", value)]
    return value


def _texts(value: object) -> Iterator[str]:
    """Every longer text in a call's arguments."""
    if isinstance(value, str):
        if len(value) >= _SHORTEST_TEXT:
            yield value
    elif isinstance(value, Mapping):
        for one in cast("Mapping[object, object]", value).values():
            yield from _texts(one)
    elif isinstance(value, list | tuple):
        for one in cast("list[object]", value):
            yield from _texts(one)


class _Lines(logging.Formatter):
    """structlog's formatter, made for the first record. Tracebacks show no local variables: they hold keys."""

    def __init__(self, *, as_json: bool, content: bool) -> None:
        super().__init__()
        self.redactor = _Redactor(content=content)
        self._as_json = as_json
        self._formatter: logging.Formatter | None = None

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        if self._formatter is None:
            self._formatter = _formatter(self.redactor, as_json=self._as_json)
        return self._formatter.format(record)


def _formatter(redactor: _Redactor, *, as_json: bool) -> logging.Formatter:
    structlog = _structlog()
    plain = structlog.dev.plain_traceback
    console = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=plain)
    renderer = structlog.processors.JSONRenderer() if as_json else console
    return structlog.stdlib.ProcessorFormatter(
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            redactor,
            renderer,
        ],
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
