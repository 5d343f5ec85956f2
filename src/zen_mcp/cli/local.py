"""`zen local`: fetch, list and remove local models, see which run, stop them."""

from __future__ import annotations

import argparse
import json
import os
import sys

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from zen_mcp.config.folders import cache_folder
from zen_mcp.errors import LocalModelError
from zen_mcp.providers.local import LocalPanel
from zen_mcp.providers.local_weights import DEFAULT_NAMES, WeightStore


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `zen local` takes."""
    parser.add_argument("action", choices=["pull", "list", "remove", "status", "stop"])
    parser.add_argument("names", nargs="*", help="weights; pull without a name fetches the default panel's")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Do one of the five."""
    cache = cache_folder(os.environ)
    store = WeightStore(cache)
    if arguments.action == "pull":
        return _pull(store, arguments.names or list(DEFAULT_NAMES))
    if arguments.action == "remove":
        return _remove(store, arguments.names)
    if arguments.action == "stop":
        return _print({"stopped": LocalPanel(cache_directory=cache).stop()}, arguments.json)
    if arguments.action == "status":
        running = [{"model": child.model, "pid": child.pid} for child in LocalPanel(cache_directory=cache).running()]
        return _print({"running": running}, arguments.json)
    return _list(store, as_json=arguments.json)


def _pull(store: WeightStore, names: list[str]) -> int:
    """Fetch each; one that cannot be had leaves the others working."""
    known = {weights.name: weights for weights in store.list()}
    console = Console(stderr=True)
    failed = 0
    with Progress(
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn(), console=console
    ) as bar:
        for name in names:
            weights = known.get(name)
            if weights is not None:
                console.print(f"{weights.model} · {weights.licence} · {weights.origin}", highlight=False)
            task = bar.add_task(name, total=weights.size_bytes if weights else None)
            try:
                store.pull(
                    name,
                    progress=lambda step, done, total, task=task: bar.update(
                        task, description=step, completed=done, total=total
                    ),
                )
            except LocalModelError as exc:
                failed += 1
                console.print(f"zen: {exc}", style="red", highlight=False)
    return 1 if failed else 0


def _remove(store: WeightStore, names: list[str]) -> int:
    if not names:
        raise LocalModelError("Which weights to remove?", "zen local list shows them.")
    for name in names:
        sys.stdout.write(f"{name}: {'removed' if store.remove(name) else 'was not here'}\n")
    return 0


def _list(store: WeightStore, *, as_json: bool) -> int:
    entries = [
        {
            "name": weights.name,
            "model": weights.model,
            "megabytes": round(weights.size_bytes / 1e6),
            "licence": weights.licence,
            "origin": weights.origin,
            "present": weights.present,
        }
        for weights in store.list()
    ]
    if as_json:
        return _print(entries, as_json)
    for entry in entries:
        mark = "here   " if entry["present"] else "not yet"
        size = f"{entry['megabytes']:>5} MB"
        sys.stdout.write(
            f"{mark}  {entry['name']:<20} {size}  {entry['licence']}  {entry['model']} ({entry['origin']})\n"
        )
    return 0


def _print(value: object, as_json: bool) -> int:
    if as_json or not isinstance(value, dict):
        sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")
    else:
        for name, entry in value.items():  # pyright: ignore[reportUnknownVariableType]
            sys.stdout.write(f"{name}: {json.dumps(entry)}\n")
    return 0
