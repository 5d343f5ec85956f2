"""The child process of one local model: `python -m zen_mcp.providers.local_server`. Ends itself when nobody asks.

Its settings come as JSON in one environment variable, the key among them, so that no process list shows it.
"""

from __future__ import annotations

import http.client
import importlib
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

SETTINGS_VARIABLE = "ZEN_LOCAL_SERVER"
PARALLEL_REQUESTS = 2
_CHECK_SECONDS = 5.0
_HTTP_SECONDS = 5.0


def main() -> int:
    """Load the model, tell where it serves, wait until it is no longer needed."""
    settings: dict[str, Any] = json.loads(os.environ.pop(SETTINGS_VARIABLE))
    signals = _hold_signals()
    server = _start(settings)
    address = str(server.listening_address)
    port = int(address.rsplit(":", 1)[1].strip("/"))
    state = Path(settings["state"])
    place = {"pid": os.getpid(), "port": port, "key": settings["key"], "model": settings["name"]}
    _tell(state, place)
    while not _may_end(settings, state, _wait(settings, port, signals)):
        _tell(state, place)
    # llama.cpp's threads do not end in any hurry; there is nothing to save.
    os._exit(0)


def _hold_signals() -> set[int]:
    """Block the ending signals before any C++ thread is born, which would inherit and swallow them."""
    if sys.platform == "win32":
        return set()
    held = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, held)
    return set(held)


def _start(settings: dict[str, Any]) -> Any:
    # After the signals are held; it is an extra and has no types.
    xllamacpp: Any = importlib.import_module("xllamacpp")
    parameters = xllamacpp.CommonParams()
    parameters.model.path = settings["weights"]
    parameters.model_alias = {settings["name"]}
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.api_keys = [settings["key"]]
    parameters.n_parallel = PARALLEL_REQUESTS
    parameters.n_ctx = settings["context_window"] * PARALLEL_REQUESTS
    parameters.n_predict = settings["context_window"] // 2
    parameters.cache_ram_mib = 0
    parameters.ui = False
    parameters.warmup = False
    parameters.cpuparams.n_threads = settings["threads"]
    parameters.cpuparams_batch.n_threads = settings["threads"]
    return xllamacpp.Server(parameters)


def _tell(state: Path, values: dict[str, Any]) -> None:
    """Write the state file in one step, readable to the user alone."""
    temporary = state.with_suffix(f".{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(values, file)
    temporary.replace(state)


def _may_end(settings: dict[str, Any], state: Path, last_beat: float | None) -> bool:
    """Take the state file away; false when somebody asked for us between the last look and that."""
    if _state_pid(state) != os.getpid():
        return True
    state.unlink(missing_ok=True)
    return last_beat is None or _beat(settings) == last_beat or state.exists()


def _beat(settings: dict[str, Any]) -> float:
    """When somebody last asked for this model; each asker touches the file before it reads the state file."""
    try:
        return Path(settings["beat"]).stat().st_mtime
    except OSError:
        return 0.0


def _wait(settings: dict[str, Any], port: int, signals: set[int]) -> float | None:
    """Return None on a signal or when another process has our place, and the last beat when nobody asks any more."""
    used = time.monotonic()
    never = threading.Event()
    last_beat = 0.0
    idle_seconds = float(settings["idle_seconds"])
    pause = min(_CHECK_SECONDS, max(idle_seconds / 4, 0.1))
    while True:
        if signals:
            if signal.sigtimedwait(signals, pause) is not None:
                return None
        else:
            never.wait(pause)
        if _state_pid(Path(settings["state"])) != os.getpid():
            return None
        touched = _beat(settings)
        if touched != last_beat or _busy(port, settings["key"]):
            last_beat, used = touched, time.monotonic()
        elif time.monotonic() - used > idle_seconds:
            return last_beat


def _state_pid(state: Path) -> int | None:
    try:
        return json.loads(state.read_text(encoding="utf-8"))["pid"]
    except (OSError, ValueError, KeyError):
        return None


def _busy(port: int, key: str) -> bool:
    """Whether a request is being answered; unknown counts as yes."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_HTTP_SECONDS)
    try:
        connection.request("GET", "/slots", headers={"Authorization": f"Bearer {key}"})
        slots = json.loads(connection.getresponse().read())
        return any(slot.get("is_processing") for slot in slots)
    except (OSError, ValueError, AttributeError):
        return True
    finally:
        connection.close()


if __name__ == "__main__":
    raise SystemExit(main())
