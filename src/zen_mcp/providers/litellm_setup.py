"""Importing LiteLLM: once, quietly, off the network. One of the three modules that know LiteLLM.

The import costs some 3 s of CPU and 160 MB, so it is done when the first model is about to be asked, in a thread. Left
to itself, LiteLLM fetches its price map, reads `.env`, logs to stdout and prints help texts on errors: all of that is
turned off here, partly before the import, because it acts on import.
"""

from __future__ import annotations

import gc
import importlib
import logging
import os
import threading
from collections.abc import Coroutine
from types import ModuleType
from typing import Any

_BEFORE_IMPORT = {
    "LITELLM_MODE": "PRODUCTION",  # anything else makes it load .env from the working directory
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_LOCAL_BLOG_POSTS": "True",
}
_LOGGERS = ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy")
_ON = (
    "suppress_debug_info",
    "drop_params",
    "redact_messages_in_exceptions",
    "turn_off_message_logging",
    "include_cost_in_streaming_usage",
    "disable_hf_tokenizer_download",
)
_OFF = ("set_verbose", "expose_router_debug_in_errors", "telemetry")

_lock = threading.Lock()
_imported: list[ModuleType] = []


def import_litellm() -> Any:
    """LiteLLM, imported and silenced. Blocks for seconds the first time; safe to call from several threads."""
    with _lock:
        if not _imported:
            _imported.append(_import())
        return _imported[0]


def is_imported() -> bool:
    """Whether the import is done, so that asking for the module costs nothing."""
    return bool(_imported)


def _import() -> ModuleType:
    os.environ.update(_BEFORE_IMPORT)
    os.environ.pop("LITELLM_LOG", None)
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    collecting = gc.isenabled()
    gc.disable()  # the collector would walk two thousand fresh modules again and again, stalling the event loop
    try:
        litellm = importlib.import_module("litellm")
        importlib.import_module("litellm.router")
    finally:
        gc.freeze()
        if collecting:
            gc.enable()
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers[:] = [logging.NullHandler()]
        logger.propagate = False
        logger.setLevel(logging.CRITICAL)
    _silence_bookkeeping()
    for name in _ON:
        setattr(litellm, name, True)
    for name in _OFF:
        setattr(litellm, name, False)
    return litellm


def _silence_bookkeeping() -> None:
    """Throw away LiteLLM's report on each call to its callbacks: nobody listens, and it is 1.5 of 4 ms CPU per call.

    Usage and cost are read from the response. Remove when a setting turns it off, or when a callback of ours needs it.
    """
    worker: Any = importlib.import_module("litellm.litellm_core_utils.logging_worker").GLOBAL_LOGGING_WORKER

    def discard(async_coroutine: Coroutine[Any, Any, Any]) -> None:
        async_coroutine.close()

    worker.ensure_initialized_and_enqueue = discard
