"""The metrics of several processes as those of one; what a process that ended has counted stays counted."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Where the library looks, when it is imported and whenever it opens a file."""
_LIVE_GAUGES = "gauge_live*_{pid}.db"
_EARLIEST = frozenset({"process_start_time_seconds"})
"""What is not summed."""


def share_values(folder: Path) -> None:
    """Keep the values in files of a folder from now on; to be called before the first is counted."""
    os.environ[_FOLDER] = str(folder)


def forget_process(folder: Path, pid: int) -> None:
    """Take what a process that ended had under way out of the gauges."""
    for file in folder.glob(_LIVE_GAUGES.format(pid=pid)):
        file.unlink(missing_ok=True)


def merged_registry(folder: Path) -> Any:
    """A registry that reads all processes' values: counters and histograms summed, gauges as each is declared."""
    client: Any = import_module("prometheus_client")
    registry = client.CollectorRegistry()
    import_module("prometheus_client.multiprocess").MultiProcessCollector(registry, path=str(folder))
    registry.register(_Processes(client, folder))
    return registry


class _Processes:
    """CPU, memory and files of all living processes together."""

    def __init__(self, client: Any, folder: Path) -> None:
        self._client = client
        self._folder = folder

    def collect(self) -> Iterable[Any]:
        """The families, as the library wants them."""
        merged: dict[str, Any] = {}
        pids = {file.stem.rpartition("_")[2] for file in self._folder.glob(_LIVE_GAUGES.format(pid="*"))}
        for pid in sorted(pids):
            found: Mapping[str, Any] = {one.name: one for one in self._of(pid)}
            for name, family in found.items():
                known = merged.setdefault(name, family)
                if known is not family:
                    known.samples = [_both(*pair) for pair in zip(known.samples, family.samples, strict=True)]
        return merged.values()

    def _of(self, pid: str) -> Iterable[Any]:
        return self._client.ProcessCollector(pid=lambda: pid, registry=None).collect()


def _both(one: Any, other: Any) -> Any:
    how = min if one.name in _EARLIEST else sum
    return one._replace(value=how((one.value, other.value)))
